package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// check is one thing that a drill must show.
type check struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// drillEvidence is what a drill saw, as far as it is judged.
type drillEvidence struct {
	Lost, Survivor layout.Region
	Began          time.Time // of the loss
	Ended          time.Time // of the writers
	MaxOutage      time.Duration

	Fenced, Promoted time.Time // as the steps were recorded

	Acks   []acknowledged
	Stored map[string]map[int64]bool // by writer, read in the survivor afterwards
	Fork   events.LSN                // where the new timeline left the old one; 0 when unknown

	Active   string
	Epoch    uint64
	Before   uint64 // epoch before the loss
	Address  string // that the name has at the end
	Want     string
	Timeline []timelineEntry
	Moved    bool // whether the loss was to move the writes: the region was the active one

	Dead     time.Time // when nothing of the region ran any more
	Lossless bool      // commits waited for the standby: not one acknowledged write may be missing
	Waits    bool      // no write may be acknowledged until a standby is back
}

// writesReport counts the writes of a drill.
type writesReport struct {
	Acknowledged map[string]int `json:"acknowledged"` // by the region that served
	Refused      map[string]int `json:"refused"`      // by door
	Outage       float64        `json:"outage_seconds"`
	OutageFrom   time.Time      `json:"outage_from"`
	OutageTo     time.Time      `json:"outage_to"`
	LostTail     int            `json:"lost_tail"` // acknowledged by the lost region, and neither replicated nor there
}

// judge says what the evidence shows.
func judge(e drillEvidence) []check {
	checks := append([]check{e.actives(), e.names()}, e.goesOn()...)
	checks = append(checks, e.overlap(), e.replicated())
	if e.Moved {
		missing := addsUp(e.Timeline)
		checks = append(checks, e.order(), check{"the timeline adds up", len(e.Timeline) > 1 && math.Abs(missing) < 0.0005, fmt.Sprintf("%d marks, off by %.3f s", len(e.Timeline), missing)})
	}
	return checks
}

// goesOn demands that writes are taken again in time; where they are to wait for a standby, that none is.
func (e drillEvidence) goesOn() []check {
	there := "region " + string(e.Survivor)
	if e.Waits {
		n := countAfter(e.Acks, e.Dead)
		return []check{{"writes wait in " + there + " until a standby is back", n == 0, fmt.Sprintf("%d of those sent after the loss were acknowledged", n)}}
	}
	from, to, outage := longestGap(e.Acks, e.Ended)
	return []check{
		{"writes go on in " + there, servedAfter(e.Acks, e.Survivor, e.Began) > 0, fmt.Sprintf("%d acknowledged there after the loss", servedAfter(e.Acks, e.Survivor, e.Began))},
		{"the outage of writes is within its bound", outage > 0 && outage <= e.MaxOutage, fmt.Sprintf("%.2f s, at most %.1f s, from %s to %s", outage.Seconds(), e.MaxOutage.Seconds(), from.Format("15:04:05.000"), to.Format("15:04:05.000"))},
	}
}

func (e drillEvidence) actives() check {
	epoch := e.Before
	if e.Moved {
		epoch++
	}
	what := "region " + string(e.Survivor) + " is active, one epoch later"
	if !e.Moved {
		what = "region " + string(e.Survivor) + " stays active under its epoch"
	}
	return check{what, e.Active == string(e.Survivor) && e.Epoch == epoch, fmt.Sprintf("region %s under epoch %d, before: %d", or(e.Active, "none"), e.Epoch, e.Before)}
}

func (e drillEvidence) names() check {
	return check{"the name leads to region " + string(e.Survivor), e.Address == e.Want, fmt.Sprintf("%s, want %s", or(e.Address, "no answer"), e.Want)}
}

// order demands that nothing was acknowledged in the survivor before it owned the mandate, nor in the lost region behind the fence.
func (e drillEvidence) order() check {
	what := "region " + string(e.Survivor) + " wrote after its promotion only, region " + string(e.Lost) + " before the fence only"
	if e.Fenced.IsZero() || e.Promoted.IsZero() {
		return check{what, false, "fence or promotion was not seen"}
	}
	for _, a := range e.Acks {
		if a.ServedBy == e.Survivor && a.Received.Before(e.Promoted) {
			return check{what, false, fmt.Sprintf("write %d of %s was acknowledged %.3f s before the promotion", a.Seq, a.Writer, e.Promoted.Sub(a.Received).Seconds())}
		}
		if a.ServedBy == e.Lost && a.Sent.After(e.Fenced) {
			return check{what, false, fmt.Sprintf("write %d of %s was sent %.3f s behind the fence and acknowledged", a.Seq, a.Writer, a.Sent.Sub(e.Fenced).Seconds())}
		}
	}
	return check{what, true, fmt.Sprintf("fenced %.3f s before the promotion", e.Promoted.Sub(e.Fenced).Seconds())}
}

// overlap looks for a write that a region took after the other one had already acknowledged some under its own right: that would be two rights at a time.
func (e drillEvidence) overlap() check {
	what := "no write was acknowledged by both regions under overlapping rights"
	byLost, bySurvivor := e.by(e.Lost), e.by(e.Survivor)
	if !e.Moved || len(bySurvivor) == 0 {
		return check{what, len(byLost) == 0 || !e.Moved || e.Waits, fmt.Sprintf("%d by region %s, %d by region %s", len(byLost), e.Lost, len(bySurvivor), e.Survivor)}
	}
	first := slices.MinFunc(bySurvivor, func(a, b acknowledged) int { return a.Received.Compare(b.Received) })
	for _, a := range byLost {
		if a.Sent.After(first.Received) {
			return check{what, false, fmt.Sprintf("region %s took write %d of %s, sent %.3f s after region %s had acknowledged its first", e.Lost, a.Seq, a.Writer, a.Sent.Sub(first.Received).Seconds(), e.Survivor)}
		}
	}
	for _, b := range bySurvivor {
		if len(byLost) > 0 && b.Timeline <= byLost[0].Timeline {
			return check{what, false, fmt.Sprintf("region %s acknowledged write %d of %s on timeline %d, where region %s was on %d", e.Survivor, b.Seq, b.Writer, b.Timeline, e.Lost, byLost[0].Timeline)}
		}
	}
	last := "none"
	if len(byLost) > 0 {
		latest := slices.MaxFunc(byLost, func(a, b acknowledged) int { return a.Received.Compare(b.Received) })
		last = fmt.Sprintf("%.3f s before", first.Received.Sub(latest.Received).Seconds())
	}
	return check{what, true, fmt.Sprintf("%d by region %s, %d by region %s; the last of the first: %s the first of the other", len(byLost), e.Lost, len(bySurvivor), e.Survivor, last)}
}

// replicated demands every acknowledged write that had reached the survivor before the timelines parted, and every one that it took itself.
func (e drillEvidence) replicated() check {
	what := "every acknowledged write that had been replicated is there"
	if e.Lossless {
		what = "every acknowledged write is there"
	}
	if e.Moved && e.Fork == 0 {
		return check{what, false, "it is not known where the new timeline left the old one"}
	}
	demanded, missing := 0, 0
	var first acknowledged
	for _, a := range e.Acks {
		if e.Moved && a.ServedBy == e.Lost && a.LSN > e.Fork && !e.Lossless {
			continue // behind the fork: the tail, counted elsewhere
		}
		demanded++
		if !e.Stored[a.Writer][a.Seq] {
			if missing == 0 {
				first = a
			}
			missing++
		}
	}
	detail := fmt.Sprintf("%d of %d acknowledged", demanded-missing, len(e.Acks))
	if e.Moved {
		detail += ", region " + string(e.Lost) + "'s up to " + e.Fork.String()
	}
	if missing > 0 {
		detail += fmt.Sprintf("; %d are missing, the first is %d of %s, committed in region %s at %s", missing, first.Seq, first.Writer, first.ServedBy, first.LSN)
	}
	return check{what, missing == 0 && demanded > 0, detail}
}

func (e drillEvidence) by(r layout.Region) []acknowledged {
	var found []acknowledged
	for _, a := range e.Acks {
		if a.ServedBy == r {
			found = append(found, a)
		}
	}
	return found
}

// count makes the report of the writes.
func (e drillEvidence) count(refused map[layout.Region]int) writesReport {
	r := writesReport{Acknowledged: map[string]int{}, Refused: map[string]int{}}
	for _, a := range e.Acks {
		r.Acknowledged[string(a.ServedBy)]++
		if a.ServedBy == e.Lost && e.Moved && !e.Stored[a.Writer][a.Seq] {
			r.LostTail++
		}
	}
	for door, n := range refused {
		r.Refused[string(door)] = n
	}
	from, to, outage := longestGap(e.Acks, e.Ended)
	r.Outage, r.OutageFrom, r.OutageTo = seconds(outage), from, to
	return r
}

func servedAfter(acks []acknowledged, r layout.Region, since time.Time) int {
	n := 0
	for _, a := range acks {
		if a.ServedBy == r && a.Received.After(since) {
			n++
		}
	}
	return n
}

// longestGap is the longest time between two acknowledgements that followed each other, whoever gave them, or between the last one and the end.
func longestGap(acks []acknowledged, ended time.Time) (from, to time.Time, gap time.Duration) {
	var times []time.Time
	for _, a := range acks {
		times = append(times, a.Received)
	}
	slices.SortFunc(times, time.Time.Compare)
	times = append(times, ended)
	for n := 1; n < len(times); n++ {
		if d := times[n].Sub(times[n-1]); d > gap {
			from, to, gap = times[n-1], times[n], d
		}
	}
	return from, to, gap
}
