package failover

import (
	"fmt"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// answer answers the oldest request that nobody has answered: with its effect in one transaction, or with why not. Nil: there is none.
func (s State) answer(now Instant) Action {
	for _, r := range s.view.Requests {
		if r.Request.Answer != nil {
			continue
		}
		swap, event, reason := s.obey(r, now)
		if swap != nil {
			if err := swap.check(); err != nil {
				swap, event, reason = nil, "", err.Error()
			}
		}
		accepted := swap != nil || reason == ""
		if accepted {
			reason = "done"
		}
		if accepted && r.Request.DryRun {
			swap, event, reason = nil, "", "would be done"
		}
		reply := Reply{Term: s.term, ID: r.ID, Revision: r.Revision, Request: r.Request}
		reply.Request.Answer = &state.Answer{Accepted: accepted, Reason: fmt.Sprintf("%.900s", reason), Event: event, At: now.Wall}
		if swap == nil {
			return reply
		}
		swap.Reply = &reply
		return *swap
	}
	return nil
}

// check says what is wrong with the events of a transaction: a request may hold what no event can say.
func (w *Swap) check() error {
	for _, a := range w.Announce {
		if err := a.Payload.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// obey makes the transaction of a request; without one the reason says why it is refused.
func (s State) obey(r Requested, now Instant) (swap *Swap, event, reason string) {
	f := s.view.Failover
	act := r.Request.Act
	switch {
	case act.Request != r.ID:
		return nil, "", fmt.Sprintf("the act names request %q, and its key is %q", act.Request, r.ID)
	case r.Request.Epoch != f.Epoch:
		return nil, "", fmt.Sprintf("it is about epoch %d, and epoch %d is in force", r.Request.Epoch, f.Epoch)
	}
	manual := events.ManualFailover{Epoch: f.Epoch, Active: f.Active, Act: act}
	var payload events.Payload
	switch r.Request.Verb {
	case state.VerbPause:
		if f.Pause != nil {
			return nil, "", "it is paused already, by " + f.Pause.Act.Actor
		}
		if until := r.Request.Until; until != nil && !until.After(now.Wall) {
			return nil, "", "the pause would end before it begins"
		}
		swap = s.swap(now, "paused by "+act.Actor)
		swap.Next.Pause = &state.Pause{Act: act, Until: r.Request.Until}
		payload = events.FailoverPaused{ManualFailover: manual, Until: r.Request.Until}
	case state.VerbResume:
		if f.Pause == nil {
			return nil, "", "it is not paused"
		}
		swap = s.swap(now, "resumed by "+act.Actor)
		swap.Next.Pause = nil
		payload = events.FailoverResumed{ManualFailover: manual}
	case state.VerbAcknowledge:
		return s.acknowledge(manual, now)
	case state.VerbSwitchover, state.VerbOverride:
		return s.move(r.Request, manual, now)
	}
	swap.Announce = []Announcement{{Payload: payload}}
	return swap, s.messageID(payload), ""
}

// acknowledge ends the cooldown, and puts right what somebody else has written over.
func (s State) acknowledge(manual events.ManualFailover, now Instant) (swap *Swap, event, reason string) {
	f := s.view.Failover
	swap = s.swap(now, "acknowledged by "+manual.Act.Actor)
	about := f.Epoch
	foreign, _ := s.rule(call{}, now)
	cooling := f.Cooldown != nil && f.Cooldown.Acknowledged == nil
	if !cooling && foreign != RuleForeignWrite {
		return nil, "", "there is nothing to acknowledge"
	}
	if cooling {
		cooldown := *f.Cooldown
		cooldown.Acknowledged = &manual.Act
		swap.Next.Cooldown, about = &cooldown, min(cooldown.Epoch, f.Epoch)
	}
	if foreign == RuleForeignWrite && f.Phase == state.PhaseSteady {
		swap.Active = f.Active
	}
	payload := events.FailoverAcknowledged{ManualFailover: manual, Failover: about}
	swap.Announce = []Announcement{{Payload: payload}}
	return swap, s.messageID(payload), ""
}

// move is a failover by hand: a switchover to a healthy standby, or an override of the rule that holds one back.
func (s State) move(r state.Request, manual events.ManualFailover, now Instant) (swap *Swap, event, reason string) {
	f := s.view.Failover
	switch {
	case !s.settled(now):
		return nil, "", fmt.Sprintf("a failover is in phase %s", f.Phase)
	case r.To == f.Active:
		return nil, "", fmt.Sprintf("region %s is active", r.To)
	case f.Rejoin != nil && f.Rejoin.Region == r.To:
		return nil, "", fmt.Sprintf("region %s is not a standby again since epoch %d", r.To, f.Rejoin.Epoch)
	}
	if rule, why := s.standby(r.To, now); rule != "" {
		return nil, "", why
	}
	act := manual.Act
	if r.Verb == state.VerbSwitchover {
		c := call{cause: events.CauseSwitchover, fired: FiredAsked, evidence: s.evidence(now)}
		if rule, why := s.candidate(c, r.To, now); rule != "" {
			return nil, "", rule + ": " + why
		}
		swap = s.start(c, &act, now)
		if swap == nil {
			return nil, "", "there is no mandate that could be handed over"
		}
		return swap, swap.Next.Intent.Decision, ""
	}
	held, _ := s.rule(s.call(now), now)
	if held == "" {
		return nil, "", "no rule holds a failover back: ask for a switchover"
	}
	c := s.call(now)
	c.cause, c.fired, c.evidence = events.CauseOverride, FiredAsked, s.evidence(now)
	swap = s.start(c, &act, now)
	if swap == nil {
		return nil, "", "there is no mandate that could be taken"
	}
	payload := events.FailoverOverridden{ManualFailover: manual, To: r.To, Rule: held, Loss: swap.Next.Intent.Loss}
	swap.Announce = append([]Announcement{{Payload: payload}}, swap.Announce...)
	return swap, s.messageID(payload), ""
}
