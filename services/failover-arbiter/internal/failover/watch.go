package failover

import (
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// hear takes in what an observer says of a region's health.
func (s State) hear(report events.HealthObserved, now Instant) (State, []Action) {
	place := s.place(sight{report.Observer, report.Target})
	var last header
	if place >= 0 && s.heard != nil && s.heard[place] != nil {
		before := &s.heard[place].report
		last = header{before.Incarnation, before.Number, before.ObservedAt}
	}
	late, reason := s.accept(place, header{report.Incarnation, report.Number, report.ObservedAt}, last, now)
	if reason != "" {
		return s, []Action{Ignored{Observer: report.Observer, Reason: reason}}
	}
	s.heard = s.heard.put(s, place, &hearing{report: report, at: now.Boot, late: late})
	return s.judge(now), nil
}

// locate takes in what an observer says of a database's positions.
func (s State) locate(report events.ReplicationObserved, now Instant) (State, []Action) {
	place := s.place(sight{report.Observer, report.Target})
	var last header
	if place >= 0 && s.positioned != nil && s.positioned[place] != nil {
		before := &s.positioned[place].report
		last = header{before.Incarnation, before.Number, before.ObservedAt}
	}
	late, reason := s.accept(place, header{report.Incarnation, report.Number, report.ObservedAt}, last, now)
	if reason != "" {
		return s, []Action{Ignored{Observer: report.Observer, Reason: reason}}
	}
	s.positioned = s.positioned.put(s, place, &position{report: report, at: now.Boot, late: late})
	return s, nil
}

// header is what tells an observation from those before it.
type header struct {
	incarnation string
	number      int64
	at          time.Time
}

// accept says how old an observation is, or why it counts for nothing.
func (s State) accept(place int, h, last header, now Instant) (late time.Duration, reason Reason) {
	late = now.Wall.Sub(h.at)
	switch {
	case place < 0:
		return 0, ReasonStranger
	case late < -s.settings.Delta:
		return 0, ReasonFuture
	case late > s.settings.Window:
		return 0, ReasonStale
	case h.incarnation == last.incarnation && h.number <= last.number, h.incarnation != last.incarnation && h.at.Before(last.at):
		return 0, ReasonReplayed
	}
	return max(late, 0), ""
}

// seen is what the fresh observations of a region say.
type seen struct {
	fresh            int
	failing          []*hearing // enough failures in a row, in the order of the observers
	gatesOK, gatesNo int
	gates            *events.Gates // of the first observer that could read them
}

func (s State) look(target events.Region, now Instant) seen {
	var result seen
	for _, h := range row(s, s.heard, target) {
		if h == nil || h.age(now) > s.settings.Window {
			continue
		}
		result.fresh++
		if h.report.Verdict == events.OutcomeFailed && h.report.FailuresInRow >= s.settings.Failures {
			result.failing = append(result.failing, h)
		}
		gates := h.report.Gates
		if gates == nil {
			continue
		}
		switch gates.Healthy {
		case events.OutcomeOK:
			result.gatesOK++
		case events.OutcomeFailed:
			result.gatesNo++
		}
		if result.gates == nil || result.gates.Healthy == events.OutcomeUnknown {
			result.gates = gates
		}
	}
	return result
}

func (h *hearing) age(now Instant) time.Duration  { return h.late + now.Boot - h.at }
func (p *position) age(now Instant) time.Duration { return p.late + now.Boot - p.at }

// isDown is the majority's sentence, unless the region itself freshly says that its database is being restarted.
func (s State) isDown(region events.Region, now Instant) bool {
	return s.downBy(s.look(region, now), region, now)
}

func (s State) downBy(seen seen, region events.Region, now Instant) bool {
	if len(seen.failing) < s.settings.majority() {
		return false
	}
	since, restarting := s.restarting[region]
	return !restarting || !s.fresh(region, now) || now.Boot-since > s.settings.Restart
}

// gates is what a majority of all observers says of a region's gates.
func (s State) gates(region events.Region, now Instant) events.Outcome {
	return s.verdict(s.look(region, now))
}

func (s State) verdict(seen seen) events.Outcome {
	switch {
	case seen.gatesOK >= s.settings.majority():
		return events.OutcomeOK
	case seen.gatesNo >= s.settings.majority():
		return events.OutcomeFailed
	}
	return events.OutcomeUnknown
}

// judge remembers since when a region is down and its gates are red.
func (s State) judge(now Instant) State {
	for _, region := range s.settings.Data {
		seen := s.look(region, now)
		if !s.downBy(seen, region, now) {
			s.down = without(s.down, region)
		} else if _, known := s.down[region]; !known {
			s.down = with(s.down, region, now.Wall)
		}
		if s.verdict(seen) != events.OutcomeFailed {
			s.red = without(s.red, region)
		} else if _, known := s.red[region]; !known {
			s.red = with(s.red, region, now.Boot)
		}
	}
	return s
}

// read takes in what stands in etcd, and notes what is new there: it is from these moments that waiting is counted.
func (s State) read(o Read, now Instant) State {
	if s.view == nil || now.Boot-s.readAt > 2*s.settings.Renew {
		s.readingSince = now.Boot
	}
	changed := s.view == nil || s.view.MandateRevision != o.MandateRevision
	if changed || apart(s.mandateSince, now) > s.settings.Delta { // clocks that do not agree any more measure nothing
		s.mandateSince = now
	}
	if changed := s.view == nil || s.view.Failover == nil || o.Failover == nil ||
		s.view.Failover.Epoch != o.Failover.Epoch || s.view.Failover.Phase != o.Failover.Phase; changed {
		s.phaseSince = now.Boot
	}
	next := slices.IndexFunc(o.Requests, func(r Requested) bool { return r.Request.Answer == nil })
	if next >= 0 && s.asked.id != o.Requests[next].ID {
		s.asked = asking{o.Requests[next].ID, now.Boot}
	}
	if m := o.Mandate; m != nil && m.Epoch > s.opened.epoch {
		s.opened = opening{m.Epoch, now.Wall}
	}
	s.view, s.readAt = &o, now.Boot
	for region, reported := range o.Reports {
		if s.reports[region].revision == reported.Revision {
			continue
		}
		s.reports = with(s.reports, region, reporting{revision: reported.Revision, since: now.Boot})
		if reported.Report.Database.Condition != state.DatabaseRestarting {
			s.restarting = without(s.restarting, region)
		} else if _, known := s.restarting[region]; !known {
			s.restarting = with(s.restarting, region, now.Boot)
		}
	}
	return s.judge(now)
}

// ended says whether the mandate that was read has ended for everyone.
func (s State) ended(now Instant) bool {
	return now.Boot >= s.mandateSince.Boot+s.settings.Validity+s.settings.Delta
}

// report gives a region's newest report and whether it is fresh.
func (s State) report(region events.Region, now Instant) (state.Report, bool) {
	return s.view.Reports[region].Report, s.fresh(region, now)
}

func (s State) fresh(region events.Region, now Instant) bool {
	r, found := s.reports[region]
	return found && now.Boot-r.since <= s.settings.Fresh
}
