package hands

import (
	"errors"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/supervisor"
)

// The world's region is a: failing over from it is giving up, to it taking over.
func failover(active events.Region, epoch events.Epoch, phase state.Phase, i *state.Intent) *state.Failover {
	return &state.Failover{Active: active, Epoch: epoch, Phase: phase, Intent: i}
}

func intent(from, to events.Region, epoch events.Epoch, cause events.Cause) *state.Intent {
	return &state.Intent{From: from, To: to, Epoch: epoch, Cause: cause}
}

func standbyLook() (postgres.Condition, error) {
	return postgres.Condition{Standby: true, FlushLSN: 100, Timeline: 1, Receiving: true, StartedAt: time.Unix(1, 0)}, nil
}

func TestAFenceGivesAReceiptOnlyOnceTheIntentIsSeenAndALoginWasRefused(t *testing.T) {
	w := &world{lets: errors.New("it was let in"), found: cluster.Condition{Exists: true}, failover: failover(events.RegionA, 1, state.PhaseSteady, nil)}
	run(t, w)
	await(t, w, "a login is tried", func() bool { return w.has("try a login") })
	w.set(func() {
		w.failover = failover(events.RegionA, 1, state.PhaseIntent, intent(events.RegionA, events.RegionB, 2, events.CauseDown))
	})
	time.Sleep(50 * time.Millisecond)
	if r := w.said().Receipt; r != nil {
		t.Fatalf("a receipt without a refused login: %+v", r)
	}
	w.set(func() { w.lets, w.failover = nil, failover(events.RegionA, 1, state.PhaseSteady, nil) })
	time.Sleep(50 * time.Millisecond)
	if r := w.said().Receipt; r != nil {
		t.Fatalf("a receipt without an intent: %+v", r)
	}
	w.set(func() {
		w.failover = failover(events.RegionA, 1, state.PhaseIntent, intent(events.RegionA, events.RegionB, 2, events.CauseDown))
	})
	await(t, w, "the receipt", func() bool { return w.said().Receipt != nil })
	if r := w.said().Receipt; r.Epoch != 1 || !r.Refused || r.Stopped || r.FlushLSN != 100 || r.Timeline != 1 || len(r.Counts) != 2 {
		t.Errorf("receipt %+v", r)
	}
}

func TestAReceiptIsGoneWhenTheRegionOpensAgain(t *testing.T) {
	w := &world{found: cluster.Condition{Exists: true}, failover: failover(events.RegionA, 1, state.PhaseIntent, intent(events.RegionA, events.RegionB, 2, events.CauseDown))}
	h := run(t, w)
	await(t, w, "the receipt", func() bool { return w.said().Receipt != nil })
	w.set(func() { w.failover = failover(events.RegionA, 3, state.PhaseSteady, nil) })
	h.Open(3)
	await(t, w, "no receipt", func() bool { return w.has("open db/local") && w.said().Receipt == nil })
}

func TestAPromotionIsAnsweredOnceAndOpensNothing(t *testing.T) {
	w := &world{found: cluster.Condition{Exists: true, Standby: true}, failover: failover(events.RegionB, 1, state.PhaseSteady, nil), look: standbyLook}
	run(t, w)
	await(t, w, "readers are let in", func() bool { return w.has("open read/local") })
	w.set(func() {
		w.failover = failover(events.RegionB, 1, state.PhaseFenced, intent(events.RegionB, events.RegionA, 2, events.CauseDown))
	})
	await(t, w, "the answer", func() bool { return w.said().Promotion != nil })
	if p := w.said().Promotion; !p.Done || p.Epoch != 2 || p.Timeline != 2 || p.LSN != 7 {
		t.Errorf("promotion %+v", p)
	}
	if !w.has("close read/local") || !w.has("withdraw") || !w.has("slot region_b") || w.has("open db/local") {
		t.Errorf("done: %v", w.acts)
	}
	await(t, w, "a checkpoint", func() bool { return w.has("checkpoint") })
}

func TestAPrimaryThatTheIntentDidNotMakeIsRefused(t *testing.T) {
	w := &world{found: cluster.Condition{Exists: true}, failover: failover(events.RegionB, 1, state.PhaseFenced, intent(events.RegionB, events.RegionA, 2, events.CauseDown))}
	run(t, w)
	await(t, w, "the refusal", func() bool { return w.said().Promotion != nil })
	if p := w.said().Promotion; p.Done || p.Refused == "" || w.has("promote") {
		t.Errorf("promotion %+v, done %v", p, w.acts)
	}
}

func TestASwitchoverStopsTheFencedDatabaseAndStartsItWhenTheMandateReturns(t *testing.T) {
	w := &world{found: cluster.Condition{Exists: true}, failover: failover(events.RegionA, 1, state.PhaseIntent, intent(events.RegionA, events.RegionB, 2, events.CauseSwitchover))}
	run(t, w)
	await(t, w, "the receipt", func() bool { return w.said().Receipt != nil })
	if r := w.said().Receipt; !r.Stopped || !r.Refused || r.FlushLSN != 90 || r.Epoch != 1 {
		t.Errorf("receipt %+v", r)
	}
	if !w.has("fence") || !w.has("note stop") || !w.has("stop fast") || w.has("start") {
		t.Errorf("done: %v", w.acts)
	}
	w.set(func() { w.found.Stopped, w.failover = true, failover(events.RegionA, 3, state.PhaseSteady, nil) })
	await(t, w, "it is started again", func() bool { return w.has("start") && w.has("forget stop") })
}

func TestAFenceForAHandOverProvesNothingForAFailover(t *testing.T) {
	w := &world{found: cluster.Condition{Exists: true}, failover: failover(events.RegionA, 1, state.PhaseIntent, intent(events.RegionA, events.RegionB, 2, events.CauseSwitchover)), stuckStop: errors.New("it does not stop")}
	run(t, w)
	await(t, w, "it is fenced and would be stopped", func() bool { return w.has("fence at once") && w.has("stop fast") })
	if w.said().Receipt != nil {
		t.Fatalf("receipt %+v before the database has ended", w.said().Receipt)
	}
	w.set(func() {
		w.acts, w.failover = nil, failover(events.RegionA, 1, state.PhaseIntent, intent(events.RegionA, events.RegionB, 2, events.CauseDown))
	})
	await(t, w, "the receipt", func() bool { return w.said().Receipt != nil })
	if !w.has("fence") || w.has("fence at once") {
		t.Errorf("done: %v", w.acts)
	}
}

func TestALostRegionFollowsIfItCanIsRewoundIfNotAndCopiedAtLast(t *testing.T) {
	for _, c := range []struct {
		fork      events.LSN
		stuck     error
		manner    string
		discarded int64
		kept      string
	}{
		{90, nil, "followed", 0, ""}, {89, nil, "rewound", 11, "wal"}, {89, errors.New("a segment is missing"), "rebuilt", 11, "kept"}, {0, nil, "rebuilt", 0, "kept"},
	} {
		w := &world{found: cluster.Condition{Exists: true}, failover: failover(events.RegionB, 2, state.PhaseSteady, nil), ahead: postgres.Branch{Timeline: 2, LSN: c.fork}, stuck: c.stuck}
		now := postgres.Condition{FlushLSN: 100, Timeline: 1}
		w.look = func() (postgres.Condition, error) { w.mu.Lock(); defer w.mu.Unlock(); return now, nil }
		w.failover.Rejoin = &state.Rejoin{Region: events.RegionA, Epoch: 1, Timeline: 2}
		run(t, w)
		await(t, w, "it is started", func() bool { return w.has("start") })
		w.set(func() {
			w.found.Standby = true
			now = postgres.Condition{Standby: true, Receiving: true, FlushLSN: 100, Timeline: 2}
		})
		await(t, w, "the rejoin is reported", func() bool { return w.said().Rejoined != nil })
		if w.has("rewind") && (w.noted == nil || w.noted.Manner != "rewound" || w.noted.Discarded != c.discarded) {
			t.Errorf("what a rewind gives up was not noted before it began: %+v", w.noted)
		}
		if r := w.said().Rejoined; r.Manner != c.manner || r.Epoch != 2 || r.Timeline != 2 || r.Discarded != c.discarded || r.Kept != c.kept {
			t.Errorf("fork at %s: %+v", c.fork, r)
		}
		if !w.has("stop fast") || w.has("copy") != (c.manner == "rebuilt") || w.has("follow") != (c.manner == "followed") || !w.has("drop slots") {
			t.Errorf("done: %v", w.acts)
		}
	}
}

func TestRestartingIsSaidOnlyOfWhatRanAndIsStartedAgain(t *testing.T) {
	w := &world{found: cluster.Condition{Exists: true, Standby: true}, status: supervisor.Status{State: "starting"}}
	silent := true
	w.look = func() (postgres.Condition, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if silent {
			return postgres.Condition{}, errors.New("no answer")
		}
		return standbyLook()
	}
	run(t, w)
	is := func(want state.DatabaseCondition) {
		t.Helper()
		await(t, w, string(want), func() bool { return w.said().Database.Condition == want })
	}
	is(state.DatabaseDown)
	w.set(func() { silent = false })
	is(state.DatabaseStandby)
	w.set(func() { silent = true })
	is(state.DatabaseRestarting)
	w.set(func() { w.status = supervisor.Status{State: "ready"} })
	is(state.DatabaseUnknown)
	w.set(func() { w.status = supervisor.Status{State: "held", Reason: "no cluster"} })
	is(state.DatabaseDown)
}
