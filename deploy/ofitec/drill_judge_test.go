package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// ackAt is a write that was sent 10 ms before it was acknowledged.
func ackAt(s float64, seq int64, r layout.Region, lsn events.LSN) acknowledged {
	timeline := int64(1)
	if r == layout.B {
		timeline = 2
	}
	return acknowledged{Writer: "w", Seq: seq, Sent: after(s - 0.01), Received: after(s), ServedBy: r, LSN: lsn, Timeline: timeline}
}

// goodLoss is a loss of region a in which everything went well: three writes by a, the third behind the fork, and two by b.
func goodLoss() drillEvidence {
	return drillEvidence{
		Lost: layout.A, Survivor: layout.B, Began: after(10), Ended: after(18), MaxOutage: 12 * time.Second, Moved: true,
		Acks:   []acknowledged{ackAt(9, 1, "a", 100), ackAt(9.5, 2, "a", 200), ackAt(9.9, 3, "a", 300), ackAt(17, 4, "b", 400), ackAt(17.1, 5, "b", 500)},
		Stored: map[string]map[int64]bool{"w": {1: true, 2: true, 4: true, 5: true}},
		Fenced: after(15), Promoted: after(16.5),
		Fork: 250, Active: "b", Epoch: 2, Before: 1, Address: "127.0.0.12", Want: "127.0.0.12",
		Timeline: timelineOf(after(10), mark{"lost", after(10)}, mark{"promoted", after(16.5)}, mark{"first", after(17)}),
	}
}

func failedChecks(e drillEvidence) string {
	var bad []string
	for _, c := range judge(e) {
		if !c.OK {
			bad = append(bad, c.What+" ("+c.Detail+")")
		}
	}
	return strings.Join(bad, "; ")
}

func TestALossThatWentWellPassesAndIsCounted(t *testing.T) {
	e := goodLoss()
	if bad := failedChecks(e); bad != "" {
		t.Errorf("failed: %s", bad)
	}
	r := e.count(map[layout.Region]int{"a": 7})
	if r.Acknowledged["a"] != 3 || r.Acknowledged["b"] != 2 || r.Refused["a"] != 7 || r.LostTail != 1 || r.Outage != 7.1 {
		t.Errorf("counted %+v", r)
	}
}

func TestEachHarmIsFound(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(e *drillEvidence)
		says string
	}{
		{"a replicated write is gone", func(e *drillEvidence) { delete(e.Stored["w"], 2) }, "1 are missing, the first is 2 of w"},
		{"a write of the survivor is gone", func(e *drillEvidence) { delete(e.Stored["w"], 5) }, "committed in region b"},
		{"where the timelines parted is not known", func(e *drillEvidence) { e.Fork = 0 }, "not known"},
		{"the lost region goes on writing", func(e *drillEvidence) { e.Acks = append(e.Acks, ackAt(17.5, 6, "a", 350)) }, "overlapping"},
		{"the survivor writes on the old timeline", func(e *drillEvidence) { e.Acks[3].Timeline = 1 }, "on timeline 1"},
		{"nobody took over", func(e *drillEvidence) { e.Active, e.Epoch = "a", 1 }, "region a under epoch 1"},
		{"it took over twice", func(e *drillEvidence) { e.Epoch = 3 }, "under epoch 3"},
		{"the name stayed", func(e *drillEvidence) { e.Address = "127.0.0.11" }, "127.0.0.11, want 127.0.0.12"},
		{"writes stood still for long", func(e *drillEvidence) { e.MaxOutage = 7 * time.Second }, "7.10 s, at most 7.0 s"},
		{"no write was taken any more", func(e *drillEvidence) { e.Acks = e.Acks[:3] }, "writes go on in region b"},
		{"a write in the survivor before its promotion", func(e *drillEvidence) { e.Promoted = after(17.05) }, "0.050 s before the promotion"},
		{"a write behind the fence", func(e *drillEvidence) { e.Fenced = after(9.8) }, "behind the fence"},
		{"the steps were not seen", func(e *drillEvidence) { e.Promoted = time.Time{} }, "not seen"},
		{"writes stopped for good", func(e *drillEvidence) { e.Ended = after(60) }, "42.90 s, at most 12.0 s"},
		{"the timeline has a hole", func(e *drillEvidence) { e.Timeline[1].Took -= 0.4 }, "timeline adds up"},
	} {
		e := goodLoss()
		c.do(&e)
		if bad := failedChecks(e); !strings.Contains(bad, c.says) {
			t.Errorf("%s: the judge finds %q", c.name, bad)
		}
	}
}

func TestTheLossOfARegionThatWasNotActiveMovesNothing(t *testing.T) {
	e := goodLoss()
	e.Lost, e.Survivor, e.Moved, e.Active, e.Epoch, e.Fork = layout.B, layout.A, false, "a", 1, 0
	e.Acks, e.Ended = []acknowledged{ackAt(9, 1, "a", 100), ackAt(11, 2, "a", 200)}, after(12)
	if bad := failedChecks(e); bad != "" {
		t.Errorf("failed: %s", bad)
	}
	e.Active, e.Epoch = "b", 2
	if bad := failedChecks(e); !strings.Contains(bad, "stays active") {
		t.Errorf("a needless failover is %q", bad)
	}
}

func TestARestoresStepsAreTimed(t *testing.T) {
	s := restoreSteps{began: began, since: began}
	for _, c := range []struct {
		said    string
		at      float64
		printed bool
	}{
		{"etcd member", 0, true}, {"etcd member", 1, false}, {"database", 2, true}, {"database: it does not run yet", 3, true}, {"readiness", 7, true}, {"", 8, false},
	} {
		if got := s.enter(c.said, after(c.at)); got != c.printed {
			t.Errorf("%q printed: %v", c.said, got)
		}
	}
	want := []restoreStepTime{{"etcd member", 2}, {"database", 5}, {"readiness", 1}}
	if len(s.done) != len(want) {
		t.Fatalf("got %+v", s.done)
	}
	for n := range want {
		if s.done[n] != want[n] {
			t.Errorf("step %d is %+v, want %+v", n, s.done[n], want[n])
		}
	}
}

func TestALostRegionIsTold(t *testing.T) {
	loss := control.Loss{LossRequest: control.LossRequest{Destroy: true}, At: began}
	if got := lostWords("a", loss); !strings.Contains(got, "folders removed") || !strings.Contains(got, "ofitec drill restore a") {
		t.Errorf("got %s", got)
	}
	loss.Restoring = "database"
	if got := lostWords("a", loss); !strings.Contains(got, "being restored: database") {
		t.Errorf("got %s", got)
	}
}

func TestDrillsRefuseWrongUse(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"drill", "region-loss", "d", "--yes"}, "must be a, b or c"},
		{[]string{"drill", "region-loss"}, "arg"},
		{[]string{"drill", "restore", "x"}, "must be a, b or c"},
		{[]string{"drill", "region-loss", "a", "--yes", "-o", "xml"}, "-o"},
	} {
		root := newRoot()
		root.SetArgs(c.args)
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		var wrong wrongUse
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v says %v", c.args, err)
		}
	}
}
