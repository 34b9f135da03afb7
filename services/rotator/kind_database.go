package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/rotator/internal/postgres"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// databaseHands make users of the database in Vault, try them, and see them out.
type databaseHands struct {
	engine  *vault.Engine
	fencers *fencers
	try     func(ctx context.Context, user string, password config.Secret) (problem string, err error)
	name    string
	role    string
	group   string // whose members its users are
	users   *prometheus.GaugeVec
	log     *slog.Logger
}

func newDatabase(r *rotator, c Credential, store *vault.Engine) hands {
	h := &databaseHands{engine: store, fencers: r.fencers, try: r.database.Try, name: c.Name, role: c.role(), group: postgres.Owner, users: r.metrics.users, log: r.log}
	if c.Reads != (Reads{}) {
		h.group = c.Reads.Group
		h.try = func(ctx context.Context, user string, password config.Secret) (string, error) {
			return r.database.TryReader(ctx, c.Reads.Database, c.Reads.Group, user, password)
		}
	}
	return h
}

func (h *databaseHands) Mint(ctx context.Context, _ int64) (vault.Secret, error) {
	return h.engine.Mint(ctx)
}

func (h *databaseHands) Test(ctx context.Context, made vault.Secret) (string, error) {
	return h.try(ctx, made.User, made.Fields[vault.FieldPassword])
}

func (h *databaseHands) Apply(context.Context, int64) (string, error) { return "", nil }

func (h *databaseHands) Renew(ctx context.Context, lease string, ttl time.Duration) (time.Duration, bool, error) {
	return h.engine.Renew(ctx, lease, ttl)
}

func (h *databaseHands) Drop(ctx context.Context, lease string) error {
	return h.engine.Revoke(ctx, lease)
}

// Verify tries the login that is in use, as it stands in KV v2.
func (h *databaseHands) Verify(ctx context.Context, number int64) (string, error) {
	login, err := h.engine.Read(ctx, number)
	if err != nil {
		return "", err
	}
	if login[vault.FieldUser] == "" {
		return "KV v2 has no login under its number", nil
	}
	return h.try(ctx, login[vault.FieldUser].Reveal(), login[vault.FieldPassword])
}

// deadMan is what a lease is shortened to before its user is seen out: Vault ends it by itself if this process dies now.
const deadMan = time.Minute

// End sees a user out: no login, no session, no lease, no session that outlived it, and no password that anybody could read.
func (h *databaseHands) End(ctx context.Context, a rotation.End) (rotation.Ended, error) {
	if _, _, err := h.engine.Renew(ctx, a.Lease, deadMan); err != nil {
		h.log.WarnContext(ctx, "the old lease could not be shortened", "lease", a.Lease, "error", err)
	}
	ended := rotation.Ended{Number: a.Number}
	return ended, h.fencers.with(ctx, func(fencer *postgres.Fencer) error {
		farewell, err := fencer.Fence(ctx, a.User)
		if err != nil {
			return err
		}
		passed("fenced")
		if err := h.engine.Revoke(ctx, a.Lease); err != nil {
			return err
		}
		passed("revoked")
		swept, err := fencer.Sweep(ctx)
		if err != nil {
			return err
		}
		ended.Sessions, ended.Orphan, ended.Drained = farewell.Sessions+swept, farewell.Owned, farewell.Zero
		if users, err := fencer.Users(ctx, h.group, h.role); err == nil {
			h.users.WithLabelValues(h.name).Set(float64(len(users)))
		}
		return destroy(ctx, h.engine, a)
	})
}

// Reconcile compares three lists: the role's leases in Vault, its users in the database, and the book. A lease that nobody has recorded was made by a process that
// died before it could do so: nobody knows its password, and it is ended rather than left to its ttl. A user without a lease is one that Vault has forgotten, as
// after a restore: it may log in no more. Young ones are left alone, so that none is taken away from a leader that is about to record it.
func (h *databaseHands) Reconcile(ctx context.Context, r recorded) (differences, error) {
	var d differences
	leases, err := h.engine.Leases(ctx)
	if err != nil {
		return d, err
	}
	known, err := r.read(ctx) // after the list
	if err != nil {
		return d, err
	}
	for _, lease := range leases {
		if _, ok := known[lease]; ok {
			d.leases++
			continue
		}
		issued, gone, err := h.engine.Issued(ctx, lease)
		switch {
		case err != nil:
			return d, err
		case gone:
			continue
		case r.now.Sub(issued) < r.stray:
			d.leases++
			continue
		}
		if err := h.engine.Revoke(ctx, lease); err != nil {
			return d, err
		}
		d.strays++
		h.log.WarnContext(ctx, "ended a lease that nobody had recorded", "lease", lease, "issued", issued)
	}
	for lease := range known {
		if slices.Contains(leases, lease) {
			continue
		}
		_, gone, err := h.engine.Issued(ctx, lease) // what is in use is replaced on no list's word alone
		if err != nil {
			return d, err
		}
		if gone {
			d.lost = append(d.lost, lease)
		}
	}
	if !r.users {
		return d, nil
	}
	return d, h.compareUsers(ctx, r, known, &d)
}

func (h *databaseHands) compareUsers(ctx context.Context, r recorded, known map[string]string, d *differences) error {
	return h.fencers.with(ctx, func(fencer *postgres.Fencer) error {
		users, err := fencer.Users(ctx, h.group, h.role)
		if err != nil {
			return err
		}
		d.users = len(users)
		if known, err = r.read(ctx); err != nil {
			return err
		}
		owned := map[string]bool{}
		for _, user := range known {
			owned[user] = true
			if !slices.ContainsFunc(users, func(u postgres.User) bool { return u.Name == user }) {
				d.lostUsers++
			}
		}
		for _, user := range users {
			if owned[user.Name] || r.now.Sub(user.Made) < r.stray || !user.Login {
				continue
			}
			if _, err := fencer.Fence(ctx, user.Name); err != nil {
				return err
			}
			d.orphans++
			h.log.WarnContext(ctx, "fenced a user that nobody had recorded", "user", user.Name, "made", user.Made)
		}
		return nil
	})
}
