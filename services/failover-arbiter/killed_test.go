package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// killing is one arbiter's death at one point of a move.
type killing struct {
	role  string // leader, source or target: the arbiter of the region that writes are moved from or to
	point string
}

func (k killing) String() string { return "the " + k.role + " " + k.point }

// TestAnArbiterKilledAtAnyStepOfAMoveIsNoHarm moves the writes once and notes every step that an arbiter takes, the rejoin of the old primary included. Then it moves them again and
// again, and kills an arbiter with SIGKILL at one of these steps each time, while writers at both doors note what was acknowledged. Its successor, or the next leader, finishes or takes
// back what it left. The short form takes a few steps of each role; all of them are a drill.
func TestAnArbiterKilledAtAnyStepOfAMoveIsNoHarm(t *testing.T) {
	w := startThreeAs(t, writesDownSteps)
	stop := w.keepWriting()
	for _, points := range w.points {
		points.forget(t) // what the start took is no step of a move
	}
	await(t, 60*time.Second, "the rehearsal is accepted", w.asking("rehearsal", events.RegionB))
	w.settled()
	all := w.passed(events.RegionA, events.RegionB)
	if len(all) < 30 {
		t.Fatalf("only %d steps: %v", len(all), all)
	}
	chosen := all
	if !chassistest.Drill() {
		chosen = []killing{{"leader", "after " + string(state.PhaseIntent)}, {"source", "before stopping"}, {"target", "after promoting"}, {"source", "after following"}}
	}
	var finished, takenBack []string
	for _, k := range chosen {
		if !slices.Contains(all, k) {
			t.Fatalf("nobody was ever at %s; they were at %v", k, all)
		}
		if moved := w.moveWhileKilling(k); moved {
			finished = append(finished, k.String())
		} else {
			takenBack = append(takenBack, k.String())
		}
		if t.Failed() {
			t.Fatalf("after %s was killed", k)
		}
	}
	acknowledged := stop()
	active := w.current().Active
	has := w.rows(active)
	lost := 0
	for n := range acknowledged {
		if !has[n] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(acknowledged))
	}
	await(t, 20*time.Second, "both databases have the same", func() bool { return w.ledger(events.RegionA) == w.ledger(events.RegionB) })
	t.Logf("%d steps; finished: %d, taken back: %v; %d acknowledged writes, %d lost", len(chosen), len(finished), takenBack, len(acknowledged), lost)
	chassistest.Evidence(t, "killed-arbiter", "An arbiter that is killed at each step of a planned move", fmt.Sprintf(
		"Killed with SIGKILL, in a move each: %s.\n\nThe move was finished by whoever came next in %d of %d; it was taken back, under a new epoch, at: %s.\n\nAfter each, one region took writes and the other one followed it. %d writes were acknowledged at both doors meanwhile, %d of them are lost.",
		joined(chosen), len(finished), len(chosen), strings.Join(append(takenBack, "nothing else"), "; "), len(acknowledged), lost))
}

func joined(list []killing) string {
	texts := make([]string, len(list))
	for i, k := range list {
		texts[i] = k.String()
	}
	return strings.Join(texts, "; ")
}

func writesDownSteps(w *three) {
	w.points = map[events.Region]pointsOf{}
	for _, name := range events.Regions {
		w.points[name] = pointsOf(shortDir(w.t))
	}
}

// asking is a question to be put until it says yes: a request to move the writes was accepted. It asks again when one was refused, as it is while a region has only just come back.
func (w *three) asking(id string, to events.Region) (accepted func() bool) {
	current, n := "", 0
	return func() bool {
		if current != "" {
			a := w.answer(current)
			if a == nil || a.Accepted {
				return a != nil
			}
			w.t.Logf("%s: %s", current, a.Reason)
			time.Sleep(500 * time.Millisecond)
		}
		n++
		current = fmt.Sprintf("%s-%d", id, n)
		w.ask(current, state.Request{Verb: state.VerbSwitchover, To: to, Epoch: w.current().Epoch})
		return false
	}
}

// settled waits until one region is active, the other one follows, and all arbiters would move the writes.
func (w *three) settled() {
	w.t.Helper()
	await(w.t, 90*time.Second, "all is steady again", func() bool {
		f := w.current()
		return f.Phase == state.PhaseSteady && f.Intent == nil && f.Rejoin == nil && w.write(f.Active, 0) == nil
	})
}

// moveWhileKilling moves the writes once more. Who was killed is started again at once, as a supervisor does.
func (w *three) moveWhileKilling(k killing) (moved bool) {
	w.t.Helper()
	before := w.current()
	to := events.RegionB
	if before.Active == events.RegionB {
		to = events.RegionA
	}
	victim := map[string]events.Region{"source": before.Active, "target": to, "leader": w.leads()}[k.role]
	w.points[victim].dieAt(w.t, k.point)
	died := make(chan struct{})
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(died)
	}(w.arbiter[victim])
	accepted := w.asking("kill-"+strconv.FormatInt(int64(before.Epoch), 10), to)
	moving, dead := false, false
	await(w.t, 90*time.Second, "the move is accepted, and the arbiter of region "+string(victim)+" is killed "+k.point, func() bool {
		moving = moving || accepted()
		select {
		case <-died:
			if !dead {
				dead = true
				w.startArbiter(victim)
			}
		default:
		}
		return moving && dead
	})
	w.settled()
	after := w.current()
	if after.Epoch <= before.Epoch {
		w.t.Errorf("epoch %d, before %d", after.Epoch, before.Epoch)
	}
	other := events.RegionA
	if after.Active == events.RegionA {
		other = events.RegionB
	}
	if err := w.write(other, 0); err == nil {
		w.t.Errorf("region %s takes writes beside region %s", other, after.Active)
	}
	await(w.t, 20*time.Second, "the other database follows", func() bool { return len(w.rows(other)) >= len(w.rows(after.Active))-50 })
	return after.Active == to
}

// leads is the region whose arbiter is elected.
func (w *three) leads() (leader events.Region) {
	w.t.Helper()
	await(w.t, 20*time.Second, "somebody leads", func() bool {
		for _, name := range events.Regions {
			if status, ok := w.judgement(name); ok && status.Term != 0 && status.Trusted {
				leader = name
				return true
			}
		}
		return false
	})
	return leader
}

// passed are the points of a move from one region to another by role.
func (w *three) passed(source, target events.Region) (all []killing) {
	w.t.Helper()
	phases := []string{string(state.PhaseIntent), string(state.PhaseFenced), string(state.PhasePromoted), string(state.PhaseSwitched), string(state.PhaseSteady)}
	seen := map[killing]bool{}
	for _, name := range events.Regions {
		for _, point := range w.points[name].taken(w.t) {
			k := killing{map[events.Region]string{source: "source", target: "target"}[name], point}
			if _, what, _ := strings.Cut(point, " "); slices.Contains(phases, what) {
				k.role = "leader"
			}
			if k.role != "" && !seen[k] {
				seen[k] = true
				all = append(all, k)
			}
		}
	}
	return all
}

// keepWriting writes at both doors until it is stopped; it then gives what was acknowledged.
func (w *three) keepWriting() (stop func() map[int]bool) {
	var mu sync.Mutex
	acknowledged, ended := map[int]bool{}, make(chan struct{})
	var writers sync.WaitGroup
	for i, name := range events.DataRegions {
		writers.Go(func() {
			for n := 1 + i; ; n += 2 {
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
				}
				if w.write(name, n) == nil {
					mu.Lock()
					acknowledged[n] = true
					mu.Unlock()
				}
			}
		})
	}
	end := sync.OnceFunc(func() { close(ended); writers.Wait() })
	w.t.Cleanup(end)
	return func() map[int]bool { end(); return acknowledged }
}

// rows are the writers' rows that a region's database has.
func (w *three) rows(name events.Region) map[int]bool {
	rows := map[int]bool{}
	for text := range strings.SplitSeq(w.ledger(name), ",") {
		if n, err := strconv.Atoi(text); err == nil {
			rows[n] = true
		}
	}
	return rows
}
