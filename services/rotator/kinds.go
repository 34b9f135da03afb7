package main

import (
	"context"
	"errors"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// hands is what a kind of credential does with the servers that it is for. Everything may have been done before, wholly or in part. An error is worth another
// attempt; a problem is the version's own, or the server's refusal of it, and ends it.
type hands interface {
	// Mint makes the secret of a version.
	Mint(ctx context.Context, number int64) (vault.Secret, error)
	// Test uses it.
	Test(ctx context.Context, made vault.Secret) (problem string, err error)
	// Apply puts a staged version into force where that is an act of its own.
	Apply(ctx context.Context, number int64) (problem string, err error)
	// Renew asks for another life; gone: there is nothing to renew.
	Renew(ctx context.Context, lease string, ttl time.Duration) (granted time.Duration, gone bool, err error)
	// Verify tries the version in use.
	Verify(ctx context.Context, number int64) (problem string, err error)
	// End makes a version worthless, as far as that can be done.
	End(ctx context.Context, a rotation.End) (rotation.Ended, error)
	// Drop gives back what was made and never recorded.
	Drop(ctx context.Context, lease string) error
	// Reconcile compares what is with what is recorded, and ends what nobody has recorded.
	Reconcile(ctx context.Context, r recorded) (differences, error)
}

// kinds makes the hands of a kind, one file each.
var kinds = map[events.CredentialKind]func(r *rotator, c Credential, store *vault.Engine) hands{
	events.CredentialDatabase: newDatabase,
	events.CredentialKV:       newKV,
	events.CredentialSTS:      newSTS,
	events.CredentialRoot:     newRoot,
}

// leaseless is what kinds have in common that Vault has no lease of. Their secrets end by being replaced, or by the clock.
type leaseless struct {
	store *vault.Engine
}

var errNoLease = errors.New("it has no lease in Vault")

func (leaseless) Renew(context.Context, string, time.Duration) (time.Duration, bool, error) {
	return 0, false, errNoLease
}
func (leaseless) Apply(context.Context, int64) (string, error)  { return "", nil }
func (leaseless) Verify(context.Context, int64) (string, error) { return "", nil }
func (leaseless) Drop(context.Context, string) error            { return nil }
func (leaseless) Reconcile(context.Context, recorded) (differences, error) {
	return differences{}, nil
}

// End makes the version unreadable.
func (l leaseless) End(ctx context.Context, a rotation.End) (rotation.Ended, error) {
	return rotation.Ended{Number: a.Number}, destroy(ctx, l.store, a)
}

// destroy makes a version unreadable for good, if it is ours: under a number that was taken stands another writer's secret.
func destroy(ctx context.Context, store *vault.Engine, a rotation.End) error {
	ours, err := store.Holds(ctx, a.Number, a.User)
	if err == nil && ours {
		err = store.Destroy(ctx, a.Number)
	}
	return err
}
