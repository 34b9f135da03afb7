package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

func TestATimelineIsInOrderAndAddsUp(t *testing.T) {
	entries := timelineOf(began, mark{"killed", began}, mark{"promoted", after(7.2506)}, mark{"detected", after(1.9004)}, mark{"never", time.Time{}}, mark{"decided", after(2.1)})
	if len(entries) != 4 || entries[0].What != "killed" || entries[1].What != "detected" || entries[3].What != "promoted" {
		t.Fatalf("got %+v", entries)
	}
	if entries[3].Offset != 7.251 || entries[1].Took != 1.9 || math.Abs(addsUp(entries)) > 1e-9 {
		t.Errorf("got %+v, misses %f", entries, addsUp(entries))
	}
	early := timelineOf(began, mark{"suspected", after(-0.3)}, mark{"killed", began}, mark{"detected", after(1)})
	if early[0].Offset != -0.3 || early[0].Took != 0 || early[2].Offset != 1 || math.Abs(addsUp(early)) > 0.005 {
		t.Errorf("with a mark from before: %+v", early)
	}
	if addsUp(nil) != 0 || len(timelineOf(began)) != 0 {
		t.Error("nothing does not add up")
	}
	entries[2].Took += 0.5
	if math.Abs(addsUp(entries)) < 0.4 {
		t.Error("a part that was made longer adds up")
	}
	var out bytes.Buffer
	if err := printTimeline(&out, entries); err != nil || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("printed %s, %v", out.String(), err)
	}
}

func TestRecoveryIsSplitFromTheLossOn(t *testing.T) {
	f := moving(act("x", began), state.PhaseIntent, state.PhaseFenced, state.PhasePromoted, state.PhaseSwitched)
	suspected, detected := after(0.2), after(0.9)
	f.Intent.Suspected, f.Intent.Detected = &suspected, &detected
	seen := course{states: []state.Failover{steadyState("a", 1, began), f, steadyState("b", 2, after(5))}}
	r := recoveryOf(began, seen.intent(1), after(5.5))
	if *r.Detect != 0.9 || *r.Decide != 0.1 || *r.Fence != 1 || *r.Promote != 1 || *r.Switch != 1 || *r.LastStaleClient != 1.5 {
		t.Errorf("got %s", r)
	}
	if got := len(seen.marks(1)); got != 7 {
		t.Errorf("%d marks, want suspected, detected, four steps and completed", got)
	}
	if seen.intent(2) != nil || seen.marks(2) != nil {
		t.Error("an earlier failover is taken for this one")
	}
	if r := recoveryOf(began, nil, time.Time{}); r.Detect != nil || !strings.Contains(r.String(), "detect not measured") {
		t.Errorf("nothing seen is %s", r)
	}
}
