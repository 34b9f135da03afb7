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
		if err != nil {
			return nil, err
		}
		return rotation.Tested{Number: a.Number, Problem: problem}, nil
	case rotation.Stage:
		err := t.store.Stage(ctx, a.Number, t.held, t.fence)
		if err != nil && !errors.Is(err, vault.ErrTaken) {
			return nil, err
		}
		t.stored = max(t.stored, a.Number)
		return rotation.Staged{Number: a.Number, Taken: err != nil}, nil
	case rotation.Look:
		ours, err := t.store.Holds(ctx, a.Number, a.User)
		if err != nil {
			return nil, err
		}
		return rotation.Found{Number: a.Number, Staged: ours}, nil
	case rotation.Burn:
		if err := t.store.Burn(ctx, a.Number); err != nil {
			return nil, err
		}
		t.stored = max(t.stored, a.Number)
		return nil, nil
	case rotation.Renew:
		asked := time.Now()
		granted, gone, err := t.hands.Renew(ctx, a.Lease, a.TTL)
		if err != nil {
			return nil, err
		}
		return rotation.Renewed{Number: a.Number, TTL: granted, At: asked.UTC(), Gone: gone}, nil
	case rotation.Apply:
		problem, err := t.hands.Apply(ctx, a.Number)
		if err != nil {
			return nil, err
		}
		return rotation.Applied{Number: a.Number, Problem: problem}, nil
	case rotation.Verify:
		problem, err := t.hands.Verify(ctx, a.Number)
		if err != nil {
			return nil, err
		}
		return rotation.Verified{Number: a.Number, Epoch: a.Epoch, Problem: problem}, nil
	case rotation.Shorten:
		asked := time.Now()
		granted, gone, err := t.hands.Renew(ctx, a.Lease, a.TTL)
		if err != nil {
			return nil, err
		}
		return rotation.Shortened{Number: a.Number, TTL: granted, At: asked.UTC(), Gone: gone}, nil
	case rotation.End:
		ended, err := t.hands.End(ctx, a)
		if err != nil {
			return nil, err
		}
		return ended, nil
	}
	return nil, fmt.Errorf("do %T: nobody knows how", action)
}
