package main

import (
	"context"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// a dies, b takes over, and b dies before a has rejoined: a, which comes back, is a fenced primary with WAL of its own, and what an operator takes.
func TestARegionThatMustRejoinIsTakenAsItIsOnATimelineOfItsOwn(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	a.Super(t, "ofitec_prod", "INSERT INTO ledger VALUES (1)")
	await(t, 10*time.Second, "b has it", func() bool { return b.Super(t, "ofitec_prod", "SELECT count(*) FROM ledger") == "1" })
	a.stop()
	a.killAll(t)
	down := moving(events.RegionA, 1, state.PhaseFenced, events.RegionB, events.CauseDown)
	both(down, b)
	await(t, 20*time.Second, "b's answer", func() bool { return b.report().Promotion != nil && b.report().Promotion.Done })
	onB := granted(down, b.report().Promotion)
	both(onB, b)
	await(t, 15*time.Second, "b is open", b.open)
	b.Super(t, "ofitec_prod", "INSERT INTO ledger VALUES (2)")
	b.stop()
	b.killAll(t)

	must(t, a.boot())
	a.work(t)
	both(onB, a)
	await(t, 20*time.Second, "a is fenced", func() bool { return a.hands.Counts().Fences.Load() > 0 })
	time.Sleep(3 * time.Second) // longer than two attempts to rejoin what is not there
	if a.open() || a.Super(t, "postgres", "SELECT pg_is_in_recovery()") != "f" {
		t.Fatal("a is open, or no primary any more")
	}

	taken := moving(events.RegionB, 2, state.PhaseFenced, events.RegionA, events.CauseOverride)
	taken.Rejoin, taken.Intent.Diverged = onB.Rejoin, true
	both(taken, a)
	await(t, 40*time.Second, "a's answer", func() bool { return a.report().Promotion != nil && a.report().Promotion.Epoch == 3 })
	p := a.report().Promotion
	if !p.Done || p.Timeline != 3 || a.open() {
		t.Fatalf("promotion %+v, open %t", p, a.open())
	}
	onA := granted(taken, p)
	both(onA, a)
	await(t, 15*time.Second, "a is open", a.open)
	session, err := dialFrom(context.Background(), a.database)
	must(t, err)
	defer session.Close(context.Background())
	_, err = session.Exec(context.Background(), "INSERT INTO ledger VALUES (3)")
	must(t, err)

	// b was not off for good. It becomes a standby of a; what it alone had is kept beside it.
	must(t, b.boot())
	b.work(t)
	both(onA, a, b)
	await(t, 90*time.Second, "b is a standby", func() bool { return b.report().Rejoined != nil })
	if j := b.report().Rejoined; j.Manner != "rebuilt" || j.Timeline != 3 || b.kept("data.diverged") == 0 {
		t.Errorf("rejoined %+v", j)
	}
	if got := b.Super(t, "ofitec_prod", "SELECT string_agg(n::text, ',' ORDER BY n) FROM ledger"); got != "1,3" {
		t.Errorf("b has %s", got)
	}
}
