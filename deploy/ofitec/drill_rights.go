package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// faultEvidence is what a drill saw of a fault, as far as it is judged.
type faultEvidence struct {
	Fault                 string
	Began, Ended, Stopped time.Time     // of the fault; Stopped of the writers
	Mandate               time.Duration // M
	Must                  expectation

	Before, After state.Failover
	Course        course
	Forks         map[int64]events.LSN // by the timeline that was left

	Acks            []acknowledged
	Refused         map[layout.Region]int
	Stored, Standby map[string]map[int64]bool // by writer: in the active region at the end, and in the other one
	Address, Want   string                    // that the name has at the end
	Unsettled       string                    // why the stack is not whole again; empty when it is
}

// right is a time in which a region may commit: from its promotion to its fence, as the leader recorded them. A zero time is open.
type right struct {
	Region   layout.Region
	Epoch    uint64
	From, To time.Time
}

// rightsOf lists who might commit when. A fence is recorded after it was closed, a promotion before it is opened, so that both times err on the generous side.
func rightsOf(c course) []right {
	first := c.states[0]
	rights := []right{{Region: layout.Region(first.Active), Epoch: uint64(first.Epoch)}}
	for _, f := range c.states[1:] {
		now := &rights[len(rights)-1]
		if f.Intent != nil && now.To.IsZero() && layout.Region(f.Intent.From) == now.Region && f.Intent.Epoch > events.Epoch(now.Epoch) {
			now.To = stepTime(f.Intent, state.PhaseFenced)
		}
		if uint64(f.Epoch) <= now.Epoch {
			continue
		}
		from := f.Since // given back
		if f.Intent != nil && f.Intent.Epoch == f.Epoch {
			from = stepTime(f.Intent, state.PhasePromoted)
		}
		if now.To.IsZero() {
			now.To = from
		}
		rights = append(rights, right{Region: layout.Region(f.Active), Epoch: uint64(f.Epoch), From: from})
	}
	return rights
}

// covers says whether a commit that lies between the sending and the answer may have been made under the right.
func (r right) covers(a acknowledged) bool {
	return a.ServedBy == r.Region && (r.To.IsZero() || !a.Sent.After(r.To)) && (r.From.IsZero() || !a.Received.Before(r.From))
}

// judgeFault says what the evidence shows.
func judgeFault(e faultEvidence) []check {
	checks := []check{
		e.stands(), e.mandates(), e.timelines(), e.kept(), e.agree(),
		e.outage(),
		{"the name leads to the active region", e.Address != "" && e.Address == e.Want, fmt.Sprintf("%s, want %s", or(e.Address, "no answer"), e.Want)},
		{"everything is whole again", e.Unsettled == "", or(e.Unsettled, "the other region is a standby that streams, and what a failover needs is ready")},
		{"writes go on afterwards", countAfter(e.Acks, e.Ended) > 0, fmt.Sprintf("%d acknowledged after it was taken back", countAfter(e.Acks, e.Ended))},
	}
	for _, r := range e.Must.closed {
		checks = append(checks, e.closed(r))
	}
	return checks
}

// outage holds the longest time without a write against its bound. What the rule of the candidate's gates held the arbiters back is not theirs: the drill before has turned
// the error rate of the last five minutes red.
func (e faultEvidence) outage() check {
	from, to, outage := longestGap(e.Acks, e.Stopped)
	detail := fmt.Sprintf("%.2f s, at most %.1f s, from %s to %s", outage.Seconds(), e.Must.maxOutage.Seconds(), from.Format("15:04:05.000"), to.Format("15:04:05.000"))
	held := heldByGates(e.Course)
	if held > 0 {
		detail += fmt.Sprintf("; red gates of the candidate held it back for %.1f s of that", held.Seconds())
	}
	return check{"the outage of writes is within its bound", outage > 0 && outage <= e.Must.maxOutage+held, detail}
}

// heldByGates is how long before a failover the rule "gates" stood against it.
func heldByGates(c course) time.Duration {
	var since time.Time
	for _, f := range c.states {
		if decided := stepTime(f.Intent, state.PhaseIntent); !since.IsZero() && decided.After(since) {
			return decided.Sub(since)
		}
		since = time.Time{}
		if f.Held != nil && f.Held.Rule == "gates" {
			since = f.Held.Since
		}
	}
	return 0
}

func (e faultEvidence) stands() check {
	active, other := e.Before.Active, events.Region(layout.Region(e.Before.Active).Peer())
	detail := fmt.Sprintf("region %s under epoch %d, before: region %s under %d", or(string(e.After.Active), "none"), uint64(e.After.Epoch), active, uint64(e.Before.Epoch))
	stayed := e.After.Active == active && e.After.Epoch == e.Before.Epoch
	went := e.After.Active == other && e.After.Epoch == e.Before.Epoch+1
	switch e.Must.moves {
	case stays:
		return check{"region " + string(active) + " stays active under its epoch", stayed, detail}
	case moved:
		return check{"region " + string(other) + " is active, one epoch later", went, detail}
	default:
		return check{"the writes stay, or move once", stayed || went, detail}
	}
}

// wakes is how long after it was woken a region without the commit witness may still acknowledge: the proxy's detection and PostgreSQL's look at its client,
// D + C of the local profile (protocol.md, "Commit witness"). These writes are on the timeline that was left and are lost.
const wakes = 1250 * time.Millisecond

// mandates demands that every acknowledged write may have been committed under a right of the region that served it.
func (e faultEvidence) mandates() check {
	what := "no write was acknowledged behind a fence or before a promotion"
	rights := rightsOf(e.Course)
	inHole := 0
	for _, a := range e.Acks {
		if slices.ContainsFunc(rights, func(r right) bool { return r.covers(a) }) {
			continue
		}
		if a.ServedBy == e.Must.woken && a.Sent.Before(e.Ended.Add(wakes)) {
			inHole++
			continue
		}
		return check{what, false, fmt.Sprintf("write %d of %s, sent %s, was acknowledged by region %s at %s; rights: %s",
			a.Seq, a.Writer, a.Sent.Format("15:04:05.000"), a.ServedBy, a.Received.Format("15:04:05.000"), rightsText(rights))}
	}
	detail := rightsText(rights)
	if inHole > 0 {
		detail += fmt.Sprintf("; %d by region %s within %.2f s of its waking, the stated hole without the commit witness", inHole, e.Must.woken, wakes.Seconds())
	}
	return check{what, len(e.Acks) > 0, detail}
}

func rightsText(rights []right) string {
	text := ""
	for _, r := range rights {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s under %d", r.Region, r.Epoch)
		if !r.From.IsZero() {
			text += " from " + r.From.Format("15:04:05.000")
		}
		if !r.To.IsZero() {
			text += " to " + r.To.Format("15:04:05.000")
		}
	}
	return text
}

// timelines demands that what a region acknowledges under a later right is on a later timeline: its promotion made one.
func (e faultEvidence) timelines() check {
	what := "a region that took over writes on a timeline of its own"
	seen := map[layout.Region]map[int64]int{}
	for _, a := range e.Acks {
		if seen[a.ServedBy] == nil {
			seen[a.ServedBy] = map[int64]int{}
		}
		seen[a.ServedBy][a.Timeline]++
	}
	owner := map[int64]layout.Region{}
	for r, timelines := range seen {
		for t := range timelines {
			if other, taken := owner[t]; taken && other != r {
				return check{what, false, fmt.Sprintf("regions %s and %s both acknowledged on timeline %d", other, r, t)}
			}
			owner[t] = r
		}
	}
	parts := []string{}
	for _, r := range layout.DataRegions {
		for t, n := range seen[r] {
			parts = append(parts, fmt.Sprintf("%d by region %s on timeline %d", n, r, t))
		}
	}
	slices.Sort(parts)
	return check{what, len(parts) > 0, strings.Join(parts, ", ")}
}

// kept demands every acknowledged write that lies before the place where its timeline was left, or on the one that lives.
func (e faultEvidence) kept() check {
	what := "every acknowledged write that had been replicated is there"
	missing, tail := 0, 0
	var first acknowledged
	for _, a := range e.Acks {
		if e.Stored[a.Writer][a.Seq] {
			continue
		}
		if e.beyond(a) {
			tail++
			continue
		}
		if missing == 0 {
			first = a
		}
		missing++
	}
	detail := fmt.Sprintf("%d of %d acknowledged; %d were not replicated when the timelines parted, and are lost", len(e.Acks)-missing-tail, len(e.Acks), tail)
	if missing > 0 {
		detail += fmt.Sprintf("; %d are missing, the first is %d of %s, committed in region %s on timeline %d at %s", missing, first.Seq, first.Writer, first.ServedBy, first.Timeline, first.LSN)
	}
	if e.After.Epoch > e.Before.Epoch && len(e.Forks) == 0 {
		return check{what, false, "it is not known where the new timeline left the old one; " + detail}
	}
	if e.Must.lossless {
		return check{"every acknowledged write is there", missing == 0 && tail == 0 && len(e.Acks) > 0, detail}
	}
	return check{what, missing == 0 && len(e.Acks) > tail, detail}
}

// beyond says whether a write was committed behind the place where its timeline was left.
func (e faultEvidence) beyond(a acknowledged) bool {
	fork, left := e.Forks[a.Timeline]
	return left && a.LSN > fork
}

// agree demands that the standby has exactly what the active region has: nothing that it took by itself has survived.
func (e faultEvidence) agree() check {
	what := "both databases have the same writes"
	total := 0
	for writer, seqs := range e.Stored {
		total += len(seqs)
		for seq := range seqs {
			if !e.Standby[writer][seq] {
				return check{what, false, fmt.Sprintf("the standby lacks write %d of %s", seq, writer)}
			}
		}
		for seq := range e.Standby[writer] {
			if !seqs[seq] {
				return check{what, false, fmt.Sprintf("the standby has write %d of %s, which the active region has not", seq, writer)}
			}
		}
	}
	return check{what, total > 0, fmt.Sprintf("%d writes", total)}
}

// closed demands that a region acknowledges nothing that was sent between the end of its mandate and the end of the fault, unless it has got a new right meanwhile.
func (e faultEvidence) closed(r layout.Region) check {
	what := "region " + string(r) + " refuses writes from the end of its mandate on"
	until := e.Ended
	for _, right := range rightsOf(e.Course)[1:] {
		if right.Region == r && right.From.Before(until) {
			until = right.From
		}
	}
	var last acknowledged
	for _, a := range e.Acks {
		if a.ServedBy != r || a.Sent.After(until) {
			continue
		}
		if a.Sent.After(e.Began.Add(e.Mandate)) {
			return check{what, false, fmt.Sprintf("write %d of %s was sent %.3f s after the fault began, and acknowledged", a.Seq, a.Writer, a.Sent.Sub(e.Began).Seconds())}
		}
		if a.Received.After(last.Received) {
			last = a
		}
	}
	detail := "none was acknowledged"
	if !last.Received.IsZero() {
		detail = fmt.Sprintf("the last acknowledged one was sent %.3f s after the fault began", last.Sent.Sub(e.Began).Seconds())
	}
	if e.Ended.Before(e.Began.Add(e.Mandate)) {
		return check{what, false, "the fault was shorter than the mandate: nothing was shown"}
	}
	return check{what, true, detail}
}

// lastOf are the last write that a region acknowledged before its right ended, and the first of the one that took over.
func (e faultEvidence) lastOf(active events.Region) []mark {
	if e.After.Epoch == e.Before.Epoch {
		return nil
	}
	loss := drillEvidence{Lost: layout.Region(active), Survivor: layout.Region(e.After.Active), Acks: e.Acks}
	return firstAndLast(loss)
}

// count makes the report of the writes.
func (e faultEvidence) count() writesReport {
	r := writesReport{Acknowledged: map[string]int{}, Refused: map[string]int{}}
	for _, a := range e.Acks {
		r.Acknowledged[string(a.ServedBy)]++
		if !e.Stored[a.Writer][a.Seq] && e.beyond(a) {
			r.LostTail++
		}
	}
	for door, n := range e.Refused {
		r.Refused[string(door)] = n
	}
	from, to, outage := longestGap(e.Acks, e.Stopped)
	r.Outage, r.OutageFrom, r.OutageTo = seconds(outage), from, to
	return r
}

func countAfter(acks []acknowledged, since time.Time) int {
	n := 0
	for _, a := range acks {
		if a.Sent.After(since) {
			n++
		}
	}
	return n
}
