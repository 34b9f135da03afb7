package main

import (
	"strings"
	"testing"
	"time"
)

func at(s float64) *float64 { return &s }

func run4(outage float64, starved bool) drilled {
	d := drilled{Times: &split{Detect: at(1.5), Decide: at(0), Fence: at(4), Promote: at(0.7), Switch: at(0.2)}}
	d.Writes.Outage, d.Machine.Starved = outage, starved
	return d
}

func TestFiguresAreMedianLeastAndMost(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   figures
	}{
		{[]float64{3, 1, 2}, figures{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, figures{2.5, 1, 4}},
		{[]float64{7}, figures{7, 7, 7}},
	} {
		if got, ok := figuresOf(c.values); !ok || got != c.want {
			t.Errorf("%v: %+v", c.values, got)
		}
	}
	if _, ok := figuresOf(nil); ok {
		t.Error("nothing has figures")
	}
}

func TestATargetIsMissedByWhatIsTooSlowAndNotByAStarvedMachine(t *testing.T) {
	planned, loss := variants[0], variants[1]
	for _, c := range []struct {
		name string
		v    variant
		runs []drilled
		met  bool
		says string
	}{
		{"all well", loss, []drilled{run4(6, false), run4(7, false), run4(8, false)}, true, "exceeded by 0 runs"},
		{"one over the computed worst case", loss, []drilled{run4(6, false), run4(7, false), run4(9, false)}, false, "exceeded by 1 runs"},
		{"the same, starved", loss, []drilled{run4(6, false), run4(7, false), run4(9, true)}, true, "1 of them starved"},
		{"the median is too slow", loss, []drilled{run4(8.1, true), run4(8.2, true)}, false, "median 8.15 s"},
		{"the worst is too slow, whatever the machine", loss, []drilled{run4(6, false), run4(6, false), run4(12.5, true)}, false, "worst 12.50 s"},
		{"a planned move", planned, []drilled{run4(1.9, false)}, true, "lost 0"},
		{"a slow planned move", planned, []drilled{run4(2.1, false)}, false, "missed"},
	} {
		var out strings.Builder
		if met := summary(&out, c.v, c.runs, 8600*time.Millisecond); met != c.met || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: met %v\n%s", c.name, met, out.String())
		}
	}
	lossy := run4(1, false)
	lossy.Writes.LostTail = 1
	var out strings.Builder
	if summary(&out, planned, []drilled{lossy}, time.Second) {
		t.Errorf("a planned move that loses a write meets its target\n%s", out.String())
	}
}
