package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// do carries one action out. Each may have been done before, wholly or in part, by this or another process.
func (t *term) do(ctx context.Context, action rotation.Action) (rotation.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	switch a := action.(type) {
	case rotation.Mint, rotation.Test, rotation.Stage, rotation.Look, rotation.Burn:
		return t.bear(ctx, a)
	case rotation.Renew:
		asked := time.Now()
		granted, gone, err := t.hands.Renew(ctx, a.Lease, a.TTL)
		return outcome(rotation.Renewed{Number: a.Number, TTL: granted, At: asked.UTC(), Gone: gone}, err)
	case rotation.Shorten:
		asked := time.Now()
		granted, gone, err := t.hands.Renew(ctx, a.Lease, a.TTL)
		return outcome(rotation.Shortened{Number: a.Number, TTL: granted, At: asked.UTC(), Gone: gone}, err)
	case rotation.Apply:
		problem, err := t.hands.Apply(ctx, a.Number)
		return outcome(rotation.Applied{Number: a.Number, Problem: problem}, err)
	case rotation.Verify:
		problem, err := t.hands.Verify(ctx, a.Number)
		return outcome(rotation.Verified{Number: a.Number, Epoch: a.Epoch, Problem: problem}, err)
	case rotation.End:
		ended, err := t.hands.End(ctx, a)
		return outcome(ended, err)
	}
	return nil, fmt.Errorf("do %T: nobody knows how", action)
}

// bear does what brings a version from its making into KV v2, with the secret in memory.
func (t *term) bear(ctx context.Context, action rotation.Action) (rotation.Outcome, error) {
	switch a := action.(type) {
	case rotation.Mint:
		asked := time.Now()
		lease, err := t.hands.Mint(ctx, a.Number)
		if err != nil {
			return nil, err
		}
		t.held, t.holds = lease, a.Number
		return rotation.Minted{
			Number: a.Number, Lease: lease.ID, User: lease.User, Fingerprint: lease.Fingerprint, TTL: lease.TTL, MaxTTL: lease.MaxTTL, At: asked.UTC(),
		}, nil
	case rotation.Test:
		problem, err := t.hands.Test(ctx, t.held)
		return outcome(rotation.Tested{Number: a.Number, Problem: problem}, err)
	case rotation.Stage:
		err := t.store.Stage(ctx, a.Number, t.held, t.fence)
		if err != nil && !errors.Is(err, vault.ErrTaken) {
			return nil, err
		}
		t.stored = max(t.stored, a.Number)
		return rotation.Staged{Number: a.Number, Taken: err != nil}, nil
	case rotation.Look:
		ours, err := t.store.Holds(ctx, a.Number, a.User)
		return outcome(rotation.Found{Number: a.Number, Staged: ours}, err)
	case rotation.Burn:
		if err := t.store.Burn(ctx, a.Number); err != nil {
			return nil, err
		}
		t.stored = max(t.stored, a.Number)
	}
	return nil, nil // a number that was used up is seen in KV v2
}

// outcome is what came of an action, unless it failed.
func outcome(of rotation.Outcome, err error) (rotation.Outcome, error) {
	if err != nil {
		return nil, err
	}
	return of, nil
}
