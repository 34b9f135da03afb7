package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// mark is something that happened.
type mark struct {
	What string
	At   time.Time
}

// timelineEntry is a mark in its place: seconds since the beginning and since the mark before.
type timelineEntry struct {
	What   string    `json:"what"`
	At     time.Time `json:"at"`
	Offset float64   `json:"offset_seconds"`
	Took   float64   `json:"took_seconds"`
}

// timelineOf puts marks into the order in which they happened. What each took is the difference of the offsets as they are printed, so that the parts add up to the
// whole. A mark without a time is left out, one from before the beginning stands with a negative offset ahead of it.
func timelineOf(began time.Time, marks ...mark) []timelineEntry {
	marks = slices.DeleteFunc(slices.Clone(marks), func(m mark) bool { return m.At.IsZero() })
	slices.SortStableFunc(marks, func(a, b mark) int { return a.At.Compare(b.At) })
	entries := []timelineEntry{}
	before := time.Duration(0)
	if len(marks) > 0 {
		before = min(0, marks[0].At.Sub(began).Round(time.Millisecond))
	}
	for _, m := range marks {
		offset := m.At.Sub(began).Round(time.Millisecond)
		entries = append(entries, timelineEntry{What: m.What, At: m.At.UTC(), Offset: seconds(offset), Took: seconds(offset - before)})
		before = offset
	}
	return entries
}

// seconds of a duration, to the millisecond.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

// addsUp says by how much the parts of a timeline miss the whole.
func addsUp(entries []timelineEntry) float64 {
	if len(entries) == 0 {
		return 0
	}
	sum := 0.0
	for _, e := range entries[1:] {
		sum += e.Took
	}
	return entries[len(entries)-1].Offset - entries[0].Offset - sum
}

func printTimeline(w io.Writer, entries []timelineEntry) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "offset\ttook\t")
	for _, e := range entries {
		_, _ = fmt.Fprintf(table, "%.3f\t%.3f\t  %s\n", e.Offset, e.Took, e.What)
	}
	return table.Flush()
}

// course is what was seen of the failover's state, one entry a revision, from the one before the change.
type course struct {
	states []state.Failover
	steady time.Time // when the last state was entered, on its leader's clock
}

// add takes the next revision.
func (c *course) add(f state.Failover) {
	c.states = append(c.states, f)
	if f.Phase == state.PhaseSteady {
		c.steady = f.Since
	}
}

// intent is the furthest one that was seen of an epoch; nil when none was.
func (c *course) intent(after uint64) *state.Intent {
	var last *state.Intent
	for _, f := range c.states {
		if f.Intent != nil && uint64(f.Intent.Epoch) > after {
			last = f.Intent
		}
	}
	return last
}

// marks are the steps of the change behind an epoch.
func (c *course) marks(after uint64) []mark {
	intent := c.intent(after)
	if intent == nil {
		return nil
	}
	var marks []mark
	if intent.Suspected != nil {
		marks = append(marks, mark{"first failed check", *intent.Suspected})
	}
	if intent.Detected != nil {
		marks = append(marks, mark{"detected: a majority has seen it", *intent.Detected})
	}
	words := map[state.Phase]string{
		state.PhaseIntent: "decided: the mandate can be renewed no more", state.PhaseFenced: "fenced: nobody can commit", state.PhasePromoted: "promoted: region " + string(intent.To) + " owns the mandate",
		state.PhaseSwitched: "switched: the authoritative server answers with region " + string(intent.To),
	}
	for _, step := range intent.Steps {
		what := words[step.Phase]
		if step.Phase == state.PhaseFenced {
			if intent.Receipt != nil {
				what += " (receipt)"
			} else {
				what += " (the mandate ended by everyone's clock)"
			}
		}
		marks = append(marks, mark{what, step.At})
	}
	if last := c.states[len(c.states)-1]; last.Phase == state.PhaseSteady && uint64(last.Epoch) > after {
		marks = append(marks, mark{"completed", last.Since})
	}
	return marks
}

// recovery splits the time without writes, as failover.completed does.
type recovery struct {
	Detect          *float64 `json:"detect"`
	Decide          *float64 `json:"decide"`
	Fence           *float64 `json:"fence"`
	Promote         *float64 `json:"promote"`
	Switch          *float64 `json:"switch"`
	LastStaleClient *float64 `json:"last_stale_client"` // after the switch
}

// recoveryOf measures from the loss itself, which no arbiter knows.
func recoveryOf(began time.Time, intent *state.Intent, lastStale time.Time) recovery {
	var r recovery
	if intent == nil {
		return r
	}
	at := func(p state.Phase) time.Time { return stepTime(intent, p) }
	between := func(from, to time.Time) *float64 {
		if from.IsZero() || to.IsZero() {
			return nil
		}
		took := max(seconds(to.Sub(from)), 0)
		return &took
	}
	detected := at(state.PhaseIntent) // with nothing observed, deciding is detecting
	if intent.Detected != nil {
		detected = *intent.Detected
	}
	r.Detect = between(began, detected)
	r.Decide = between(detected, at(state.PhaseIntent))
	r.Fence = between(at(state.PhaseIntent), at(state.PhaseFenced))
	r.Promote = between(at(state.PhaseFenced), at(state.PhasePromoted))
	r.Switch = between(at(state.PhasePromoted), at(state.PhaseSwitched))
	r.LastStaleClient = between(at(state.PhaseSwitched), lastStale)
	return r
}

// stepTime is when a step was recorded; the zero time when it was not.
func stepTime(intent *state.Intent, phase state.Phase) time.Time {
	if intent == nil {
		return time.Time{}
	}
	for _, step := range intent.Steps {
		if step.Phase == phase {
			return step.At
		}
	}
	return time.Time{}
}

func (r recovery) String() string {
	text := ""
	for _, part := range []struct {
		name  string
		value *float64
	}{{"detect", r.Detect}, {"decide", r.Decide}, {"fence", r.Fence}, {"promote", r.Promote}, {"switch", r.Switch}, {"last stale client", r.LastStaleClient}} {
		if text != "" {
			text += ", "
		}
		if part.value == nil {
			text += part.name + " not measured"
		} else {
			text += fmt.Sprintf("%s %.2f s", part.name, *part.value)
		}
	}
	return text
}
