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
		lease, err := t.vault.Mint(ctx)
		if err != nil {
			return nil, err
		}
		t.held, t.holds = lease, a.Number
		return rotation.Minted{
			Number: a.Number, Lease: lease.ID, User: lease.Login.User, Fingerprint: lease.Fingerprint, TTL: lease.TTL, MaxTTL: lease.MaxTTL, At: asked.UTC(),
		}, nil
	case rotation.Test:
		problem, err := t.database.Try(ctx, t.held.Login.User, t.held.Login.Password)
		if err != nil {
			return nil, err
		}
		return rotation.Tested{Number: a.Number, Problem: problem}, nil
	case rotation.Stage:
		err := t.vault.Stage(ctx, a.Number, t.held.Login, t.fence)
		if err != nil && !errors.Is(err, vault.ErrTaken) {
			return nil, err
		}
		t.stored = max(t.stored, a.Number)
		return rotation.Staged{Number: a.Number, Taken: err != nil}, nil
	case rotation.Look:
		ours, err := t.vault.Holds(ctx, a.Number, a.User)
		if err != nil {
			return nil, err
		}
		return rotation.Found{Number: a.Number, Staged: ours}, nil
	case rotation.Burn:
		if err := t.vault.Burn(ctx, a.Number); err != nil {
			return nil, err
		}
		t.stored = max(t.stored, a.Number)
		return nil, nil
	case rotation.Renew:
		asked := time.Now()
		granted, gone, err := t.vault.Renew(ctx, a.Lease, a.TTL)
		if err != nil {
			return nil, err
		}
		return rotation.Renewed{Number: a.Number, TTL: granted, At: asked.UTC(), Gone: gone}, nil
	case rotation.Verify:
		return t.verify(ctx, a)
	case rotation.Shorten:
		asked := time.Now()
		granted, gone, err := t.vault.Renew(ctx, a.Lease, a.TTL)
		if err != nil {
			return nil, err
		}
		return rotation.Shortened{Number: a.Number, TTL: granted, At: asked.UTC(), Gone: gone}, nil
	case rotation.End:
		return t.end(ctx, a)
	}
	return nil, fmt.Errorf("do %T: nobody knows how", action)
}

// verify tries the login that is in use, as it stands in KV v2.
func (t *term) verify(ctx context.Context, a rotation.Verify) (rotation.Outcome, error) {
	login, err := t.vault.Login(ctx, a.Number)
	if err != nil {
		return nil, err
	}
	problem := "KV v2 has no login under its number"
	if login.User != "" {
		if problem, err = t.database.Try(ctx, login.User, login.Password); err != nil {
			return nil, err
		}
	}
	return rotation.Verified{Number: a.Number, Epoch: a.Epoch, Problem: problem}, nil
}

// deadMan is what a lease is shortened to before its user is seen out: Vault ends it by itself if this process dies now.
const deadMan = time.Minute

// end sees a user out: no login, no session, no lease, no session that outlived it, and no password that anybody could read.
func (t *term) end(ctx context.Context, a rotation.End) (rotation.Outcome, error) {
	if _, _, err := t.vault.Renew(ctx, a.Lease, deadMan); err != nil {
		t.log.WarnContext(ctx, "the old lease could not be shortened", "lease", a.Lease, "error", err)
	}
	login, err := t.vault.MintFencer(ctx)
	if err != nil {
		return nil, err
	}
	defer t.dismiss(ctx, login)
	fencer, err := t.database.OpenFencer(ctx, login.Login.User, login.Login.Password)
	if err != nil {
		return nil, err
	}
	defer fencer.Close(ctx)
	farewell, err := fencer.Fence(ctx, a.User)
	if err != nil {
		return nil, err
	}
	passed("fenced")
	if err := t.vault.Revoke(ctx, a.Lease); err != nil {
		return nil, err
	}
	passed("revoked")
	swept, err := fencer.Sweep(ctx)
	if err != nil {
		return nil, err
	}
	ours, err := t.vault.Holds(ctx, a.Number, a.User) // under a number that was taken stands another writer's secret
	if err == nil && ours {
		err = t.vault.Destroy(ctx, a.Number)
	}
	if err != nil {
		return nil, err
	}
	if users, err := fencer.Users(ctx); err == nil {
		t.metrics.users.WithLabelValues(t.policy.Name).Set(float64(len(users)))
	}
	return rotation.Ended{Number: a.Number, Sessions: farewell.Sessions + swept, Orphan: farewell.Owned, Drained: farewell.Zero}, nil
}

// dismiss ends the user of minutes now.
func (t *term) dismiss(ctx context.Context, login vault.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := t.vault.Revoke(ctx, login.ID); err != nil {
		t.log.WarnContext(ctx, "the fencer's lease is left to its ttl", "lease", login.ID, "error", err)
	}
}
