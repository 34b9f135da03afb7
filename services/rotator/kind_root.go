package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/rotator/internal/postgres"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// rootHands change the password of the login by which Vault makes users. It is not left to Vault's rotate-root: then nobody would know the password before, and a
// failover that loses the change would lock Vault out of the new primary for good. Here the new one stands in KV v2 before it is in force, the one before stays
// beside it for the overlap, and what a failover has lost is put into force again.
type rootHands struct {
	leaseless
	generate, connection string
	life                 time.Duration
	server               postgres.Server
	log                  *slog.Logger
}

func newRoot(r *rotator, c Credential, store *vault.Engine) hands {
	return &rootHands{leaseless{store}, c.Generate, c.Connection, c.Life, r.database, r.log}
}

func (h *rootHands) Mint(ctx context.Context, number int64) (vault.Secret, error) {
	before, err := h.store.Read(ctx, 0)
	if err != nil {
		return vault.Secret{}, err
	}
	if before[vault.FieldUser] == "" {
		session, login, err := h.earlier(ctx, number)
		if err != nil {
			return vault.Secret{}, err
		}
		session.Close(ctx)
		before = login
	}
	password, err := h.store.Generate(ctx, h.generate)
	if err != nil {
		return vault.Secret{}, err
	}
	return generated(ctx, h.store, "root", number, h.life, map[string]config.Secret{vault.FieldUser: before[vault.FieldUser], vault.FieldPassword: password})
}

// Test refuses what could not be put into force: a password that is no password, and a login that no stored password opens.
func (h *rootHands) Test(ctx context.Context, made vault.Secret) (string, error) {
	if n := len(made.Fields[vault.FieldPassword]); n < leastSecret {
		return fmt.Sprintf("password policy %s makes %d characters, want %d or more", h.generate, n, leastSecret), nil
	}
	stored, err := h.store.Stored(ctx)
	if err != nil {
		return "", err
	}
	session, _, err := h.earlier(ctx, stored+1)
	switch {
	case errors.Is(err, errNothingOpens):
		return err.Error(), nil
	case err != nil:
		return "", err
	}
	session.Close(ctx)
	return "", nil
}

// Apply changes the password where it is checked, when a standby has replayed all that was before, and tells Vault when the standby has the change too.
func (h *rootHands) Apply(ctx context.Context, number int64) (string, error) {
	if err := h.force(ctx, number, true); err != nil {
		return "", err
	}
	passed("forced")
	login, err := h.store.Read(ctx, number)
	if err != nil {
		return "", err
	}
	return "", h.store.SetRoot(ctx, h.connection, login[vault.FieldPassword])
}

// Verify puts the password that Vault has into force again where a failover has lost it.
func (h *rootHands) Verify(ctx context.Context, number int64) (string, error) {
	err := h.force(ctx, number, false)
	if errors.Is(err, errNothingOpens) {
		return err.Error(), nil
	}
	return "", err
}

func (h *rootHands) force(ctx context.Context, number int64, standby bool) error {
	login, err := h.store.Read(ctx, number)
	if err != nil {
		return err
	}
	name, password := login[vault.FieldUser].Reveal(), login[vault.FieldPassword]
	if name == "" || password == "" {
		return fmt.Errorf("put version %d into force: KV v2 has no login under it", number)
	}
	opens, err := h.server.Opens(ctx, name, password)
	if err != nil || opens {
		return err
	}
	session, _, err := h.earlier(ctx, number)
	if err != nil {
		return err
	}
	defer session.Close(ctx)
	if standby {
		if err := session.AwaitStandby(ctx); err != nil {
			return err
		}
	}
	if err := session.SetPassword(ctx, password); err != nil {
		return err
	}
	if err := session.AwaitLogin(ctx, password); err != nil { // the one before is kept aside: what is lost now can be put into force again
		h.log.WarnContext(ctx, "no standby has the engine's new login yet", "error", err)
	}
	return nil
}

// kept is how many earlier numbers are looked at for a password that is still in force.
const kept = 20

var errNothingOpens = errors.New("no stored password opens the database as the engine's own user")

// earlier logs in with the newest version before a number that is in force, and gives its fields.
func (h *rootHands) earlier(ctx context.Context, number int64) (*postgres.Session, map[string]config.Secret, error) {
	for before := number - 1; before > 0 && before >= number-kept; before-- {
		login, err := h.store.Read(ctx, before)
		if err != nil {
			return nil, nil, err
		}
		if login[vault.FieldUser] == "" {
			continue
		}
		session, problem, err := h.server.Open(ctx, login[vault.FieldUser].Reveal(), login[vault.FieldPassword])
		if err != nil {
			return nil, nil, err
		}
		if problem == "" {
			return session, login, nil
		}
	}
	return nil, nil, errNothingOpens
}
