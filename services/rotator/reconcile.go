package main

import (
	"context"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
)

// comparing is what failures of a comparison are counted under.
const comparing = "leases"

// recorded is how a kind reads the book while it compares.
type recorded struct {
	read  func(ctx context.Context) (map[string]string, error) // users by lease, of versions that have not ended
	users bool                                                 // whether the database is compared too
	stray time.Duration
	now   time.Time
}

// differences are what a comparison has found, and ended.
type differences struct {
	leases    int      // living, in Vault
	strays    int      // that nobody had recorded
	lost      []string // leases that are recorded, and not in Vault
	users     int      // in the database
	orphans   int      // that nobody had recorded
	lostUsers int      // recorded, and not in the database
}

// reconcile compares what is with what is recorded: leases every while, users too at the leader's start and each hour.
func (t *term) reconcile(ctx context.Context, now time.Time) {
	const what = comparing
	if now.Sub(t.looked) < t.stray || now.Before(t.failures[what].until) || t.vault.Ready(ctx) != nil {
		return
	}
	free := tryEnter(t.endings)
	if free == nil {
		return // it stays due, and is looked for again soon
	}
	users := now.Sub(t.compared) >= t.compare
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	found, err := t.hands.Reconcile(ctx, recorded{read: t.known, users: users, stray: t.stray, now: now})
	free()
	t.metrics.strays.Add(float64(found.strays))
	t.metrics.orphans.Add(float64(found.orphans))
	if err != nil {
		t.failed(what, "cannot compare leases", err, "credential", t.policy.Name)
		return
	}
	t.well(what)
	t.looked, t.stored = now, -1 // a Vault that was restored meanwhile has fewer versions
	if users {
		t.compared = now
	}
	t.metrics.compared(t.policy.Name, found, users, now)
	t.miss(ctx, found.lost)
}

// untilComparison is how long no comparison is due. One that is due and could not be made, since Vault is away, is looked for again soon.
func (t *term) untilComparison() time.Duration {
	at := t.looked.Add(t.stray)
	if until := t.failures[comparing].until; until.After(at) {
		at = until
	}
	if left := time.Until(at); left > 0 {
		return left
	}
	return look
}

// miss brings a lease that Vault has no more to the next decision, as a renewal would: a token that somebody revoked has taken its leases along, and a restored
// Vault knows none that is younger than its snapshot.
func (t *term) miss(ctx context.Context, lost []string) {
	if len(lost) == 0 {
		return
	}
	page, err := t.book.Read(ctx)
	if err != nil {
		return // the next comparison finds it again
	}
	for _, v := range page.State.Content.Versions {
		if v.Stage == state.StageCurrent && slices.Contains(lost, v.Lease) {
			t.outcome = rotation.Renewed{Number: v.Number, Gone: true}
			t.call()
		}
	}
}

// known are the versions in the book whose leases should live. What this process holds and has not recorded yet is among them.
func (t *term) known(ctx context.Context) (map[string]string, error) {
	page, err := t.book.Read(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	if t.held.ID != "" {
		known[t.held.ID] = t.held.User
	}
	for _, v := range page.State.Content.Versions {
		if v.Lease != "" && v.Stage != state.StageRevoked {
			known[v.Lease] = v.User
		}
	}
	return known, nil
}
