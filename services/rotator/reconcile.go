package main

import (
	"context"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// reconcile compares Vault's leases with the book, now and then. A lease that nobody has recorded was made by a process that died before it could do so: nobody
// knows its password, and it is ended rather than left to its ttl. The book is read after the list, and a young lease is left alone, so that none is taken away
// from a leader that is about to record it.
func (t *term) reconcile(ctx context.Context, now time.Time) {
	const what = "leases"
	if now.Sub(t.reconciled) < t.stray || now.Before(t.failures[what].until) || t.vault.Ready(ctx) != nil {
		return
	}
	living, strays, err := t.endStrays(ctx, now)
	if err != nil {
		t.failed(what, "cannot compare leases", err)
		return
	}
	t.well(what)
	t.reconciled = now
	t.metrics.leases.WithLabelValues(t.policy.Name).Set(float64(living))
	t.metrics.strays.Add(float64(strays))
}

func (t *term) endStrays(ctx context.Context, now time.Time) (living, ended int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	leases, err := t.vault.Leases(ctx)
	if err != nil {
		return 0, 0, err
	}
	page, err := t.book.Read(ctx)
	if err != nil {
		return 0, 0, err
	}
	recorded := map[string]bool{t.held.ID: true}
	for _, v := range page.State.Content.Versions {
		recorded[v.Lease] = v.Stage != state.StageRevoked
	}
	for _, lease := range leases {
		if recorded[lease] {
			living++
			continue
		}
		issued, gone, err := t.vault.Issued(ctx, lease)
		switch {
		case err != nil:
			return 0, 0, err
		case gone:
			continue
		case now.Sub(issued) < t.stray:
			living++
			continue
		}
		if err := t.vault.Revoke(ctx, lease); err != nil {
			return 0, 0, err
		}
		ended++
		t.log.WarnContext(ctx, "ended a lease that nobody had recorded", "lease", lease, "issued", issued)
	}
	return living, ended, nil
}
