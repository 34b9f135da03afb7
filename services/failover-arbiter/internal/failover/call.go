package failover

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// call is what calls for a failover; without a cause nothing does.
type call struct {
	cause     events.Cause
	fired     string
	suspected *time.Time
	detected  *time.Time
	evidence  []events.Evidence
}

// call looks for a cause in the order of certainty: dead, sick, or without a mandate.
func (s State) call(now Instant) call {
	active := s.view.Failover.Active
	switch {
	case s.isDown(active, now):
		first, detected := s.firstFailure(active, now), s.down[active]
		return call{cause: events.CauseDown, fired: FiredMajority, suspected: &first, detected: &detected, evidence: s.evidence(now)}
	case s.redFor(active, now) >= s.settings.GatesRed:
		since := now.Wall.Add(-s.redFor(active, now))
		return call{cause: events.CauseGates, fired: FiredGates, suspected: &since, detected: &now.Wall, evidence: s.evidence(now)}
	case s.abandoned(now):
		last := s.view.Mandate.RenewedAt
		return call{cause: events.CauseMandate, fired: FiredMandate, suspected: &last, detected: &now.Wall, evidence: s.evidence(now)}
	}
	return call{}
}

// firstFailure is the earliest failed check of those that make the majority, on the observers' clocks.
func (s State) firstFailure(region events.Region, now Instant) time.Time {
	first := now.Wall
	for _, h := range s.look(region, now).failing {
		began := h.report.ObservedAt.Add(-time.Duration(h.report.FailuresInRow-1) * s.settings.Every)
		if began.Before(first) {
			first = began
		}
	}
	return first
}

// redFor is how long a majority has seen a region's gates red without a break; 0 when it does not.
func (s State) redFor(region events.Region, now Instant) time.Duration {
	since, red := s.red[region]
	if !red {
		return 0
	}
	return now.Boot - since
}

// abandoned says whether the mandate has ended although its holder could have renewed it: etcd has answered here all the while, and nothing but the holder's
// silence stood in its way. An outage of etcd and an intent that was given up begin the count anew.
func (s State) abandoned(now Instant) bool {
	m := s.view.Mandate
	if m == nil {
		return false
	}
	since := max(s.mandateSince.Boot, s.readingSince, s.phaseSince)
	return now.Boot >= since+s.settings.Validity+s.settings.Delta+s.settings.Renew+s.settings.Deadline
}

// evidence is what is heard of both data regions and still fresh, in a fixed order.
func (s State) evidence(now Instant) []events.Evidence {
	var list []events.Evidence
	for _, target := range s.settings.Data {
		heard, positioned := row(s, s.heard, target), row(s, s.positioned, target)
		for n, observer := range s.settings.Observers {
			if heard != nil && heard[n] != nil && heard[n].age(now) <= s.settings.Window {
				report := heard[n].report
				list = append(list, events.Evidence{
					Observer: observer, Incarnation: report.Incarnation, Number: report.Number, AgeSeconds: heard[n].age(now).Seconds(), Health: &report,
				})
			}
			if positioned != nil && positioned[n] != nil && positioned[n].age(now) <= s.settings.Window {
				p := positioned[n]
				report := p.report
				list = append(list, events.Evidence{
					Observer: observer, Incarnation: report.Incarnation, Number: report.Number, AgeSeconds: p.age(now).Seconds(), Replication: &report,
				})
			}
		}
	}
	return list
}

// loss is the most that a failover to a region would lose now. What is not known stays nil.
func (s State) loss(target events.Region, now Instant) events.LossBound {
	var bound events.LossBound
	m := s.view.Mandate
	report, fresh := s.report(target, now)
	if m == nil || !fresh {
		return bound
	}
	d := report.Database
	if m.FlushLSN > 0 && d.FlushLSN > 0 && m.Timeline == d.Timeline {
		bytes := int64(0)
		if m.FlushLSN > d.FlushLSN {
			bytes = int64(m.FlushLSN - d.FlushLSN)
		}
		bound.Bytes = &bytes
	}
	if r := s.view.Failover.Rejoin; r != nil && r.Region == target && r.ForkLSN != nil && r.Timeline == m.Timeline && m.FlushLSN >= *r.ForkLSN {
		bytes := int64(m.FlushLSN - *r.ForkLSN) // all that was written on the other timeline
		bound.Bytes = &bytes
	}
	bound.Seconds = s.behind(m, d)
	bound.Exposed = s.exposed(bound.Seconds)
	return bound
}

// exposed adds what the holder may commit after its last renewal, of which neither its position in etcd nor its heartbeat there knows: nobody sees it, and it ends with
// the mandate, M + delta after that renewal was sent. What is refused goes by the seconds alone: this part is the same in every failover without a receipt.
func (s State) exposed(behind *float64) *float64 {
	if behind == nil {
		return nil
	}
	seconds := *behind + (s.settings.Validity + s.settings.Delta).Seconds()
	return &seconds
}

// behind is how many seconds a standby's newest heartbeat is older than the last renewal, on the old primary's clock. A clock that was set back between the two would hide
// them, so that what the heartbeats' numbers say counts too: one is written every r. Without numbers, a heartbeat from after all that the mandate allowed is of such a clock.
func (s State) behind(m *state.Mandate, d state.DatabaseReport) *float64 {
	if d.HeartbeatAt == nil {
		return nil
	}
	seconds := m.RenewedAt.Sub(*d.HeartbeatAt).Seconds()
	switch numbered := m.HeartbeatNumber > 0 && d.HeartbeatNumber > 0; {
	case numbered:
		seconds = max(seconds, float64(m.HeartbeatNumber-d.HeartbeatNumber)*s.settings.Renew.Seconds())
	case -seconds > (s.settings.Validity + s.settings.Delta).Seconds():
		return nil
	}
	seconds = max(seconds, 0)
	return &seconds
}

// start records the intent. From its transaction on no renewal of the mandate can succeed. Nil: there is no mandate that it could end.
func (s State) start(c call, target events.Region, act *events.Act, now Instant) *Swap {
	f := s.view.Failover
	if s.view.Mandate == nil || s.view.MandateRevision == 0 {
		return nil
	}
	patience := s.settings.Validity + s.settings.Delta + 5*time.Second // longer than the mandate: it ends by itself
	if c.cause == events.CauseSwitchover {
		patience = s.settings.HandOver
	}
	i := state.Intent{
		Epoch: f.Epoch + 1, From: f.Active, To: target, Cause: c.cause, DecidedAt: now.Wall, Deadline: now.Wall.Add(patience),
		MandateRevision: s.view.MandateRevision, Loss: s.loss(target, now), Act: act,
		Steps: []state.Step{{Phase: state.PhaseIntent, At: now.Wall, Term: s.term}}, Suspected: c.suspected, Detected: c.detected,
	}
	started := events.FailoverStarted{
		Failover: name(i), DecidedAt: now.Wall, Rule: c.fired, Leader: s.settings.Region, Term: s.term,
		Loss: i.Loss, Gates: s.look(target, now).gates, Evidence: c.evidence, Act: act,
	}
	i.Decision = s.messageID(started)
	swap := s.swap("failover from " + string(i.From) + " to " + string(i.To) + ": " + c.fired)
	swap.Mandate = s.view.MandateRevision
	swap.Next.Phase, swap.Next.Since, swap.Next.Intent, swap.Next.Held = state.PhaseIntent, now.Wall, &i, nil
	if f.Intent != nil { // the one before could not be ended
		swap.Announce = append(swap.Announce, Announcement{Cause: f.Intent.Decision, Payload: events.FailoverAborted{
			Failover: name(*f.Intent), AbortedAt: now.Wall, Phase: string(state.PhasePromoted), Code: "superseded", Reason: "the next failover began before this one could be completed", NextEpoch: i.Epoch,
		}})
	}
	swap.Announce = append(swap.Announce, Announcement{Payload: started})
	return swap
}

// messageID is what an event of this arbiter's is known by.
func (s State) messageID(p events.Payload) string {
	return events.Source(s.settings.Region, events.ServiceArbiter) + "#" + events.ID(p)
}

// name is how the events of a failover call it.
func name(i state.Intent) events.Failover {
	return events.Failover{Epoch: i.Epoch, From: i.From, To: i.To, Cause: i.Cause}
}
