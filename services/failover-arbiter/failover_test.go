package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// completed waits until a region is active and nothing is under way.
func (w *three) completed(active events.Region, epoch events.Epoch, limit time.Duration) {
	w.t.Helper()
	await(w.t, limit, "the failover is completed", func() bool {
		f := w.current()
		return f.Phase == state.PhaseSteady && f.Active == active && f.Epoch == epoch
	})
}

func TestARegionDiesAndTheOtherOneTakesOver(t *testing.T) {
	w := startThree(t)
	must(t, w.write(events.RegionA, 1))
	if status, body := says(w.address[events.RegionB], "/mandate"); status != 503 || body.Reason != "region a is active" {
		t.Errorf("b's /mandate answers %d %+v before", status, body)
	}
	await(t, 5*time.Second, "b has the row", func() bool { return w.ledger(events.RegionB) == "1" })
	w.kill(events.RegionA)
	died := time.Now()
	await(t, 60*time.Second, "b takes writes", w.writes(events.RegionB, 2))
	took := time.Since(died)
	t.Logf("b takes writes %s after a's death; the longest by the profile is %s", took, timing.WorstOutage(timing.Local()).DeadByProxy)
	w.completed(events.RegionB, 2, 20*time.Second)
	if status, _ := says(w.address[events.RegionB], "/mandate"); status != 200 {
		t.Errorf("b's /mandate answers %d", status)
	}
	if got := w.ledger(events.RegionB); got != "1,2" {
		t.Errorf("b has %s", got)
	}
	if got := w.active(); got != "B" {
		t.Errorf("%s is %q", state.KeyActive, got)
	}
	f := w.current()
	if f.Rejoin == nil || f.Rejoin.Region != events.RegionA || f.Cooldown == nil || f.Cooldown.Epoch != 2 {
		t.Errorf("rejoin %+v, cooldown %+v", f.Rejoin, f.Cooldown)
	}
	await(t, 10*time.Second, "all is told", func() bool { return slices.Contains(w.facts(), "completed") })
	if got := strings.Join(w.facts(), " "); got != "started fenced promoted completed" {
		t.Errorf("told: %s", got)
	}
	started, _ := payload[events.FailoverStarted](w)
	if started.Cause != events.CauseDown || len(started.Evidence) < 4 || !started.Loss.Known() || started.Epoch != 2 {
		t.Errorf("started %+v", started)
	}
	fenced, _ := payload[events.FailoverFenced](w)
	if fenced.Manner != "expired" || fenced.Receipt != nil {
		t.Errorf("fenced %+v", fenced)
	}
	completed, _ := payload[events.FailoverCompleted](w)
	t.Logf("times %+v", completed.Times)

	// a comes back: it opens nothing, and becomes a standby.
	must(t, w.sides[events.RegionA].boot())
	w.regions[events.RegionA].startProxy(t)
	w.startArbiter(events.RegionA)
	w.quiet[events.RegionA].Store(false)
	w.down[events.RegionA].Store(false)
	await(t, 90*time.Second, "a is a standby again", func() bool { return w.current().Rejoin == nil })
	if status, _ := says(w.address[events.RegionA], "/mandate"); status != 503 || w.regions[events.RegionA].open() {
		t.Errorf("a's /mandate answers %d after its return", status)
	}
	await(t, 10*time.Second, "a has what b wrote", func() bool { return w.ledger(events.RegionA) == "1,2" })
	await(t, 10*time.Second, "the rejoin is told", func() bool { return slices.Contains(w.facts(), "rejoined") })
	w.explained()
}

// explained takes every decision that was told once more, from its event as it came over the bus.
func (w *three) explained() {
	w.t.Helper()
	var recording strings.Builder
	w.mu.Lock()
	for _, event := range w.told {
		data, err := event.Encode()
		must(w.t, err)
		recording.Write(append(data, '\n'))
	}
	told := len(w.told)
	w.mu.Unlock()
	var out bytes.Buffer
	must(w.t, explain([]string{"-o", "json"}, strings.NewReader(recording.String()), &out))
	var list []explanation
	must(w.t, json.Unmarshal(out.Bytes(), &list))
	for _, e := range list {
		if e.Again != "same" || e.Term == 0 {
			w.t.Errorf("%s of epoch %d under term %d: %s, instead %.2000s", e.Type, e.Epoch, e.Term, e.Again, e.Instead)
		}
	}
	if len(list) != told || told < 5 {
		w.t.Errorf("%d of %d decisions are explained", len(list), told)
	}
	w.t.Logf("%d decisions of real arbiters, the same again", len(list))
}

func TestTheNextLeaderFinishesWhatADeadOneHasBegun(t *testing.T) {
	w := startThree(t)
	w.kill(events.RegionA)
	await(t, 30*time.Second, "the intent is recorded", func() bool { return w.current().Phase == state.PhaseIntent })
	end(w.arbiter[events.RegionC])
	w.finishedBy(events.RegionB)
}

func TestALeaderThatStoodStillChangesNothingWhenItGoesOn(t *testing.T) {
	w := startThree(t)
	w.kill(events.RegionA)
	await(t, 30*time.Second, "the intent is recorded", func() bool { return w.current().Phase == state.PhaseIntent })
	must(t, w.arbiter[events.RegionC].Process.Signal(syscall.SIGSTOP))
	w.finishedBy(events.RegionB)
	before := w.current()
	must(t, w.arbiter[events.RegionC].Process.Signal(syscall.SIGCONT))
	await(t, 20*time.Second, "it knows that it does not lead", func() bool {
		status, ok := w.judgement(events.RegionC)
		return ok && status.Term == 0 && status.Failover != nil && status.Failover.Epoch == 2
	})
	time.Sleep(time.Second)
	if after := w.current(); after.Epoch != before.Epoch || after.Phase != before.Phase || after.Since != before.Since {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if got := strings.Join(w.facts(), " "); got != "started fenced promoted completed" {
		t.Errorf("told: %s", got)
	}
}

// finishedBy waits for the end of the failover to b that another leader has begun.
func (w *three) finishedBy(leader events.Region) {
	w.t.Helper()
	first := w.current().Intent.Steps[0].Term
	w.completed(events.RegionB, 2, 60*time.Second)
	await(w.t, 10*time.Second, "b takes writes", w.writes(events.RegionB, 1)) // its proxy opens a moment after the mandate is held
	await(w.t, 10*time.Second, "all is told", func() bool { return slices.Contains(w.facts(), "completed") })
	if got := strings.Join(w.facts(), " "); got != "started fenced promoted completed" {
		w.t.Errorf("told: %s", got)
	}
	status, ok := w.judgement(leader)
	if !ok || status.Term <= first {
		w.t.Errorf("term %d began it, and term %d ended it", first, status.Term)
	}
}

func TestASwitchoverLosesNoAcknowledgedWrite(t *testing.T) {
	w := startThree(t)
	w.ask("dry", state.Request{Verb: state.VerbSwitchover, To: events.RegionB, Epoch: 1, DryRun: true})
	await(t, 10*time.Second, "the dry run is answered", func() bool { return w.answer("dry") != nil })
	if a := w.answer("dry"); !a.Accepted || w.current().Phase != state.PhaseSteady {
		t.Fatalf("the dry run was answered with %+v", a)
	}
	acknowledged, stop := make(chan int, 10000), make(chan struct{})
	go func() {
		defer close(acknowledged)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if w.write(events.RegionA, n) == nil {
				acknowledged <- n
			}
		}
	}()
	time.Sleep(time.Second) // a few rows
	w.ask("move", state.Request{Verb: state.VerbSwitchover, To: events.RegionB, Epoch: 1})
	w.completed(events.RegionB, 2, 60*time.Second)
	close(stop)
	await(t, 5*time.Second, "b takes writes", func() bool { return w.write(events.RegionB, 0) == nil })
	have, last := ","+w.ledger(events.RegionB)+",", 0
	for n := range acknowledged {
		last++
		if !strings.Contains(have, ","+strconv.Itoa(n)+",") {
			t.Errorf("write %d was acknowledged and is lost", n)
		}
	}
	t.Logf("%d writes were acknowledged, none is lost", last)
	await(t, 10*time.Second, "all is told", func() bool { return slices.Contains(w.facts(), "completed") })
	if fenced, _ := payload[events.FailoverFenced](w); fenced.Manner != "receipt" || *fenced.Loss.Bytes != 0 {
		t.Errorf("fenced %+v", fenced)
	}
	await(t, 60*time.Second, "a is a standby again", func() bool { return w.current().Rejoin == nil })
	if rejoined, _ := payload[events.FailoverRejoined](w); rejoined.Manner != "followed" && rejoined.Manner != "" {
		t.Errorf("rejoined %+v", rejoined)
	}
}

// The observers go on saying that a is well: its database answers them. Nobody can commit there all the same, and its mandate ends.
func TestAnArbiterThatStandsStillLosesTheMandateAndNothingIsWrittenTwice(t *testing.T) {
	w := startThree(t)
	must(t, w.write(events.RegionA, 1))
	conn, err := w.sides[events.RegionA].login(context.Background(), w.regions[events.RegionA].proxy.Bind)
	must(t, err)
	defer conn.Close(context.Background())
	must(t, w.arbiter[events.RegionA].Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	await(t, 30*time.Second, "b owns the mandate", func() bool { return w.current().Active == events.RegionB })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, "INSERT INTO ledger VALUES (100)"); err == nil {
		t.Error("a session of a committed after a's arbiter had stood still")
	}
	await(t, 60*time.Second, "b takes writes", w.writes(events.RegionB, 2))
	t.Logf("b takes writes %s after a's arbiter stood still", time.Since(stopped))
	if err := w.write(events.RegionA, 101); err == nil {
		t.Error("a takes writes beside b")
	}
	must(t, w.arbiter[events.RegionA].Process.Signal(syscall.SIGCONT))
	w.completed(events.RegionB, 2, 20*time.Second)
	await(t, 90*time.Second, "a is a standby again", func() bool { return w.current().Rejoin == nil })
	if started, _ := payload[events.FailoverStarted](w); started.Cause != events.CauseMandate {
		t.Errorf("started %+v", started)
	}
	await(t, 10*time.Second, "both have the same", func() bool { return w.ledger(events.RegionA) == "1,2" && w.ledger(events.RegionB) == "1,2" })
}

func TestAnOutageOfEtcdMovesNothing(t *testing.T) {
	w := startThree(t)
	must(t, w.write(events.RegionA, 1))
	w.etcd.stop()
	await(t, 15*time.Second, "a is fenced", func() bool { return !w.regions[events.RegionA].open() })
	time.Sleep(6 * time.Second) // by now its mandate has ended for everyone
	if status, body := says(w.address[events.RegionB], "/mandate"); status != 503 {
		t.Errorf("b's /mandate answers %d %+v", status, body)
	}
	w.etcd.start(t)
	await(t, 30*time.Second, "a is open again", w.regions[events.RegionA].open)
	must(t, w.write(events.RegionA, 2))
	time.Sleep(7 * time.Second) // longer than a leader waits for a holder that does not renew
	if f := w.current(); f.Epoch != 1 || f.Active != events.RegionA || f.Phase != state.PhaseSteady || f.Rejoin != nil {
		t.Errorf("after the outage: %+v", f)
	}
	if told := w.facts(); slices.Contains(told, "started") {
		t.Errorf("told: %v", told)
	}
}

// A writer on each side counts what is acknowledged. The one in a writes through one session that was open before the cut.
func TestARegionThatIsCutOffStopsBeforeTheOtherBegins(t *testing.T) {
	w := startThree(t)
	session, err := w.sides[events.RegionA].login(context.Background(), w.regions[events.RegionA].proxy.Bind)
	must(t, err)
	defer session.Close(context.Background())
	type ended struct {
		acknowledged int
		last         time.Time
		err          error
	}
	writer := make(chan ended)
	go func() {
		var e ended
		for e.err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, e.err = session.Exec(ctx, "INSERT INTO ledger VALUES ("+strconv.Itoa(e.acknowledged+1)+")")
			cancel()
			if e.err == nil {
				e.acknowledged, e.last = e.acknowledged+1, time.Now()
			}
			time.Sleep(20 * time.Millisecond)
		}
		writer <- e
	}()
	time.Sleep(time.Second) // some writes before the cut
	w.cable.pulled.Store(true)
	w.down[events.RegionA].Store(true) // to b and c; a's own observer is cut off too
	w.quiet[events.RegionA].Store(true)
	pulled := time.Now()
	await(t, 60*time.Second, "b takes writes", w.writes(events.RegionB, 1000000))
	first := time.Now()
	e := <-writer
	t.Logf("a acknowledged %d writes, the last %s after the cut, %s before b's first; its session ended with %v", e.acknowledged, e.last.Sub(pulled), first.Sub(e.last), e.err)
	if e.acknowledged == 0 || !e.last.Before(first) {
		t.Errorf("a acknowledged %d writes, the last one %s after b's first", e.acknowledged, e.last.Sub(first))
	}
	if f, ok := payload[events.FailoverPromoted](w); ok && e.last.After(f.PromotedAt) {
		t.Errorf("a acknowledged a write %s after the promotion", e.last.Sub(f.PromotedAt))
	}
	if err := w.write(events.RegionA, 1000001); err == nil {
		t.Error("a takes writes while it is cut off")
	}
	if fenced, ok := payload[events.FailoverFenced](w); !ok || fenced.Manner != "expired" {
		t.Errorf("fenced %+v", fenced)
	}
	lost, _ := strconv.Atoi(w.sides[events.RegionB].Super(t, "ofitec_prod", "SELECT "+strconv.Itoa(e.acknowledged)+" - count(*) FROM ledger WHERE n < 1000000"))
	t.Logf("%d of a's writes had not been replicated", lost)
}
