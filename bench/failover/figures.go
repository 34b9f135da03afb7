package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// The targets of issue 4.
const (
	lossMedian       = 8 * time.Second
	lossWorst        = 12 * time.Second
	switchoverMedian = 2 * time.Second
)

// figures of several runs.
type figures struct{ median, least, most float64 }

// figuresOf gives false when nothing was measured.
func figuresOf(values []float64) (figures, bool) {
	if len(values) == 0 {
		return figures{}, false
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		middle = (middle + sorted[len(sorted)/2-1]) / 2
	}
	return figures{middle, sorted[0], sorted[len(sorted)-1]}, true
}

// parts are the steps of a recovery, in order, and the whole.
var parts = []struct {
	name string
	of   func(drilled) *float64
}{
	{"detect", func(d drilled) *float64 { return d.Times.Detect }},
	{"decide", func(d drilled) *float64 { return d.Times.Decide }},
	{"fence", func(d drilled) *float64 { return d.Times.Fence }},
	{"promote", func(d drilled) *float64 { return d.Times.Promote }},
	{"switch", func(d drilled) *float64 { return d.Times.Switch }},
	{"last stale client, after the switch", func(d drilled) *float64 { return d.Times.LastStale }},
	{"without a write", func(d drilled) *float64 { return &d.Writes.Outage }},
}

func valuesOf(runs []drilled, of func(drilled) *float64) []float64 {
	var values []float64
	for _, run := range runs {
		if value := of(run); value != nil {
			values = append(values, *value)
		}
	}
	return values
}

// summary prints a variant's figures and says whether its targets are met. Starved runs count for the table, and not against the computed worst case: on a machine that
// does not run the processes, their timings say nothing.
func summary(out io.Writer, v variant, runs []drilled, worst time.Duration) (met bool) {
	starved, lost, over := 0, 0, 0
	for _, run := range runs {
		lost += run.Writes.LostTail
		switch {
		case run.Machine.Starved:
			starved++
		case v.lost && run.Writes.Outage > worst.Seconds():
			over++
		}
	}
	fmt.Fprintf(out, "\n%s, %d runs, %d of them starved; seconds\n", v.name, len(runs), starved)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "median\tleast\tworst\t")
	for _, part := range parts {
		if f, measured := figuresOf(valuesOf(runs, part.of)); measured {
			fmt.Fprintf(table, "%.2f\t%.2f\t%.2f\t  %s\n", f.median, f.least, f.most, part.name)
		}
	}
	_ = table.Flush()
	waited, _ := figuresOf(valuesOf(runs, func(d drilled) *float64 { s := d.Waited.Seconds(); return &s }))
	fmt.Fprintf(out, "before a run, until the arbiters would move the writes: median %.0f s, worst %.0f s, not counted above\n", waited.median, waited.most)
	whole, _ := figuresOf(valuesOf(runs, parts[len(parts)-1].of))
	if !v.lost {
		met = whole.median < switchoverMedian.Seconds() && lost == 0
		fmt.Fprintf(out, "acknowledged writes lost %d (want 0), median %.2f s (want under %.0f): %s\n", lost, whole.median, switchoverMedian.Seconds(), verdict(met))
		return met
	}
	met = whole.median < lossMedian.Seconds() && whole.most < lossWorst.Seconds() && over == 0
	fmt.Fprintf(out, "median %.2f s (want under %.0f), worst %.2f s (want under %.0f); the checker computes at most %.1f s, exceeded by %d runs that were not starved (want 0): %s\n",
		whole.median, lossMedian.Seconds(), whole.most, lossWorst.Seconds(), worst.Seconds(), over, verdict(met))
	fmt.Fprintf(out, "acknowledged writes that had not been replicated, all runs: %d\n", lost)
	return met
}
