package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func heldBy(r events.Region, epoch events.Epoch, since float64) state.Failover {
	return state.Failover{Active: r, Epoch: epoch, Phase: state.PhaseSteady, Since: after(since)}
}

// movedCourse is a failover from a to b: decided at 12, fenced at 15, promoted at 16.
func movedCourse() course {
	intent := func(steps ...state.Step) *state.Intent {
		return &state.Intent{Epoch: 2, From: "a", To: "b", Steps: steps}
	}
	decided, fenced, promoted := state.Step{Phase: state.PhaseIntent, At: after(12)}, state.Step{Phase: state.PhaseFenced, At: after(15)}, state.Step{Phase: state.PhasePromoted, At: after(16)}
	var c course
	c.add(heldBy("a", 1, 0))
	c.add(state.Failover{Active: "a", Epoch: 1, Phase: state.PhaseIntent, Intent: intent(decided)})
	c.add(state.Failover{Active: "a", Epoch: 1, Phase: state.PhaseFenced, Intent: intent(decided, fenced)})
	c.add(state.Failover{Active: "b", Epoch: 2, Phase: state.PhasePromoted, Intent: intent(decided, fenced, promoted)})
	c.add(heldBy("b", 2, 17))
	return c
}

// goodFault is a partition a|bc from 10 to 30 in which everything went well: the third write of a is behind the fork.
func goodFault() faultEvidence {
	there := func() map[string]map[int64]bool {
		return map[string]map[int64]bool{"w": {1: true, 2: true, 4: true, 5: true, 6: true}}
	}
	return faultEvidence{
		Fault: "partition a|bc", Began: after(10), Ended: after(30), Stopped: after(32), Mandate: 5 * time.Second,
		Must:   expectation{moves: moved, maxOutage: 16 * time.Second, closed: []layout.Region{"a"}},
		Before: heldBy("a", 1, 0), After: heldBy("b", 2, 17), Course: movedCourse(), Forks: map[int64]events.LSN{1: 250},
		Acks: []acknowledged{ackAt(9, 1, "a", 100), ackAt(10.5, 2, "a", 200), ackAt(13, 3, "a", 300), ackAt(17, 4, "b", 400), ackAt(17.1, 5, "b", 500), ackAt(31, 6, "b", 600)},

		Stored: there(), Standby: there(), Address: "10.77.0.12", Want: "10.77.0.12",
	}
}

func failedFaultChecks(e faultEvidence) string {
	var bad []string
	for _, c := range judgeFault(e) {
		if !c.OK {
			bad = append(bad, c.What+" ("+c.Detail+")")
		}
	}
	return strings.Join(bad, "; ")
}

func TestAFaultThatWentWellPassesAndIsCounted(t *testing.T) {
	e := goodFault()
	if bad := failedFaultChecks(e); bad != "" {
		t.Errorf("failed: %s", bad)
	}
	if r := e.count(); r.Acknowledged["a"] != 3 || r.Acknowledged["b"] != 3 || r.LostTail != 1 || r.Outage != 13.9 {
		t.Errorf("counted %+v", r)
	}
}

func TestEachHarmOfAFaultIsFound(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(e *faultEvidence)
		says string
	}{
		{"a write behind the fence", func(e *faultEvidence) { e.Acks = append(e.Acks, ackAt(15.5, 7, "a", 350)) }, "behind a fence"},
		{"a write before the promotion", func(e *faultEvidence) { e.Acks[3] = ackAt(15.9, 4, "b", 400) }, "before a promotion"},
		{"the old owner writes while the new one does", func(e *faultEvidence) { e.Acks = append(e.Acks, ackAt(20, 7, "a", 350)) }, "behind a fence"},
		{"a write between mandate and fence", func(e *faultEvidence) { e.Acks[2], e.Began = ackAt(14.9, 3, "a", 300), after(9.5) }, "from the end of its mandate on"},
		{"both on one timeline", func(e *faultEvidence) { e.Acks[3].Timeline = 1 }, "both acknowledged on timeline 1"},
		{"a replicated write is gone", func(e *faultEvidence) { delete(e.Stored["w"], 2); delete(e.Standby["w"], 2) }, "1 are missing, the first is 2 of w"},
		{"a write of the new owner is gone", func(e *faultEvidence) { delete(e.Stored["w"], 5); delete(e.Standby["w"], 5) }, "on timeline 2"},
		{"where the timelines parted is not known", func(e *faultEvidence) { e.Forks = nil }, "not known"},
		{"a planned move loses one", func(e *faultEvidence) { e.Must.lossless = true }, "every acknowledged write is there"},
		{"the standby lacks one", func(e *faultEvidence) { delete(e.Standby["w"], 4) }, "lacks write 4"},
		{"the standby kept what it took by itself", func(e *faultEvidence) { e.Standby["w"][3] = true }, "which the active region has not"},
		{"nobody took over", func(e *faultEvidence) { e.After = heldBy("a", 1, 0) }, "one epoch later"},
		{"two took over", func(e *faultEvidence) { e.After.Epoch = 3 }, "under epoch 3"},
		{"the name stayed", func(e *faultEvidence) { e.Address = "10.77.0.11" }, "10.77.0.11, want"},
		{"writes stood still for long", func(e *faultEvidence) { e.Must.maxOutage = 12 * time.Second }, "13.90 s, at most 12.0 s"},
		{"it is not whole again", func(e *faultEvidence) { e.Unsettled = "a/nats is not ready" }, "a/nats"},
		{"nothing is written afterwards", func(e *faultEvidence) { e.Acks = e.Acks[:5] }, "go on afterwards"},
		{"it was too short to show a closed region", func(e *faultEvidence) { e.Ended = after(14) }, "nothing was shown"},
	} {
		e := goodFault()
		c.do(&e)
		if bad := failedFaultChecks(e); !strings.Contains(bad, c.says) {
			t.Errorf("%s: the judge finds %q", c.name, bad)
		}
	}
}

func TestAWokenRegionHasItsStatedHoleAndNoMore(t *testing.T) {
	e := goodFault()
	e.Must.closed, e.Must.woken = nil, "a"
	e.Acks = append(e.Acks, ackAt(30.5, 7, "a", 350)) // sent 0.49 s after it was woken; on timeline 1, behind the fork
	if bad := failedFaultChecks(e); bad != "" {
		t.Errorf("failed: %s", bad)
	}
	e.Acks = append(e.Acks, ackAt(31.5, 8, "a", 360))
	if bad := failedFaultChecks(e); !strings.Contains(bad, "write 8") {
		t.Errorf("the judge finds %q", bad)
	}
}

func TestTimeThatRedGatesHeldAFailoverBackIsNotItsOwnAndOtherRulesAre(t *testing.T) {
	for rule, want := range map[string]string{"gates": "", "loss-unknown": "13.90 s, at most 12.0 s"} {
		e := goodFault()
		e.Must.maxOutage = 12 * time.Second
		held := heldBy("a", 1, 0)
		held.Held = &state.Held{Rule: rule, Since: after(10)}
		e.Course.states = slices.Insert(e.Course.states, 1, held)
		if bad := failedFaultChecks(e); want == "" && bad != "" || !strings.Contains(bad, want) {
			t.Errorf("held by %s: the judge finds %q, want %q", rule, bad, want)
		}
	}
}

func TestAFaultThatMovesNothing(t *testing.T) {
	e := goodFault()
	e.Must, e.After, e.Forks = expectation{moves: stays, maxOutage: 30 * time.Second}, heldBy("a", 1, 0), nil
	e.Course = course{states: []state.Failover{e.Before}}
	e.Acks = []acknowledged{ackAt(9, 1, "a", 100), ackAt(9.5, 2, "a", 100), ackAt(31, 6, "a", 200)}
	if bad := failedFaultChecks(e); bad != "" {
		t.Errorf("failed: %s", bad)
	}
	e.After = heldBy("b", 2, 17)
	if bad := failedFaultChecks(e); !strings.Contains(bad, "stays active") {
		t.Errorf("a needless failover is %q", bad)
	}
}

func TestWritesThatWereGivenBackAreARightOfTheirOwn(t *testing.T) {
	c := movedCourse()
	c.states = append(c.states[:3], heldBy("a", 3, 20)) // b's promotion did not come: a has it again, two epochs later
	rights := rightsOf(c)
	if len(rights) != 2 || rights[0].To != after(15) || rights[1].Region != "a" || rights[1].Epoch != 3 || rights[1].From != after(20) {
		t.Errorf("rights are %s", rightsText(rights))
	}
}

func TestWhatAPartitionMustDoDependsOnWhoStillHearsTheActiveRegion(t *testing.T) {
	const long = 15 * time.Second
	for _, c := range []struct {
		active, cut string
		lasts       time.Duration
		moves       moves
		closed      int
	}{
		{"a", "a|bc", long, moved, 1},
		{"b", "b|ac", long, moved, 1},
		{"b", "a|bc", long, stays, 0},
		{"a", "b|ac", long, stays, 0},
		{"a", "ab|c", long, stays, 0},
		{"a", "a-b", long, stays, 0},
		{"a", "a>b", long, stays, 0},
		{"a", "a>bc", long, moved, 1},
		{"a", "b>a,a>c", long, moved, 1},
		{"a", "a|bc,b|ac", long, stays, 1}, // nobody is left who could decide
		{"a", "a|bc", time.Second, stays, 0},
		{"a", "a|bc", 6 * time.Second, either, 1},
	} {
		ways, err := netns.ParseCut(c.cut)
		if err != nil {
			t.Fatal(err)
		}
		f := faultContext{state: heldBy(events.Region(c.active), 1, 0), config: state.Config{Mandate: 5, Delta: 0.5}}
		if got := f.parted(ways, c.lasts); got.moves != c.moves || len(got.closed) != c.closed {
			t.Errorf("%s for %s while %s is active: %+v", c.cut, c.lasts, c.active, got)
		}
	}
}
