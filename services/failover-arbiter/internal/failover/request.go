package failover

import (
	"fmt"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// verdict is what becomes of a request: a transaction, or why not. What is passing may be otherwise in a moment.
type verdict struct {
	swap    *Swap
	event   string
	reason  string
	passing bool
}

func refused(format string, args ...any) verdict {
	return verdict{reason: fmt.Sprintf(format, args...)}
}

func obeyed(swap *Swap, event string) verdict { return verdict{swap: swap, event: event} }

// answer answers the oldest request that nobody has answered: with its effect in one transaction, or with why not. Nil: there is none, or what speaks against it may
// pass. Then it waits a little, and those behind it too.
func (s State) answer(now Instant) Action {
	for _, r := range s.view.Requests {
		if r.Request.Answer != nil {
			continue
		}
		v := s.obey(r, now)
		if v.swap != nil {
			if err := v.swap.check(); err != nil {
				v = refused("%s", err)
			}
		}
		if v.passing && now.Boot-s.asked.since < s.calm() {
			return nil
		}
		accepted := v.swap != nil
		if accepted {
			v.reason = "done"
		}
		if accepted && r.Request.DryRun {
			v = verdict{reason: "would be done"}
		}
		reply := Reply{Term: s.term, ID: r.ID, Revision: r.Revision, Request: r.Request}
		reply.Request.Answer = &state.Answer{Accepted: accepted, Reason: fmt.Sprintf("%.900s", v.reason), Event: v.event, At: now.Wall}
		if v.swap == nil {
			return reply
		}
		v.swap.Reply = &reply
		return *v.swap
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

// obey makes the transaction of a request, or says why not.
func (s State) obey(r Requested, now Instant) verdict {
	f := s.view.Failover
	act := r.Request.Act
	switch {
	case act.Request != r.ID:
		return refused("the act names request %q, and its key is %q", act.Request, r.ID)
	case r.Request.Epoch != f.Epoch:
		return refused("it is about epoch %d, and epoch %d is in force", r.Request.Epoch, f.Epoch)
	}
	manual := events.ManualFailover{Epoch: f.Epoch, Active: f.Active, Act: act}
	var swap *Swap
	var payload events.Payload
	switch r.Request.Verb {
	case state.VerbPause:
		if f.Pause != nil {
			return refused("it is paused already, by %s", f.Pause.Act.Actor)
		}
		if until := r.Request.Until; until != nil && !until.After(now.Wall) {
			return refused("the pause would end before it begins")
		}
		swap = s.swap("paused by " + act.Actor)
		swap.Next.Pause = &state.Pause{Act: act, Until: r.Request.Until}
		payload = events.FailoverPaused{ManualFailover: manual, Until: r.Request.Until}
	case state.VerbResume:
		if f.Pause == nil {
			return refused("it is not paused")
		}
		swap = s.swap("resumed by " + act.Actor)
		swap.Next.Pause = nil
		payload = events.FailoverResumed{ManualFailover: manual}
	case state.VerbAcknowledge:
		return s.acknowledge(manual, now)
	case state.VerbSynchronous:
		return s.switchSync(r.Request.Mode, act, now)
	case state.VerbSwitchover, state.VerbOverride:
		return s.move(r.Request, manual, now)
	}
	swap.Announce = []Announcement{{Payload: payload}}
	return obeyed(swap, s.messageID(payload))
}

// acknowledge ends the cooldown, and puts right what somebody else has written over.
func (s State) acknowledge(manual events.ManualFailover, now Instant) verdict {
	f := s.view.Failover
	swap := s.swap("acknowledged by " + manual.Act.Actor)
	about := f.Epoch
	_, foreign, _ := s.rule(call{}, now)
	cooling := f.Cooldown != nil && f.Cooldown.Acknowledged == nil
	if !cooling && foreign != RuleForeignWrite {
		return refused("there is nothing to acknowledge")
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
	return obeyed(swap, s.messageID(payload))
}

// move is a failover by hand: a switchover to a healthy standby, or an override of the rule that holds one back.
func (s State) move(r state.Request, manual events.ManualFailover, now Instant) verdict {
	f := s.view.Failover
	switch {
	case !s.settled(now):
		return refused("a failover is in phase %s", f.Phase)
	case r.To == f.Active:
		return refused("region %s is active", r.To)
	case f.Rejoin != nil && f.Rejoin.Region == r.To:
		return s.take(r, manual, now)
	}
	if rule, why := s.standby(r.To, now); rule != "" {
		return verdict{reason: why, passing: true}
	}
	act := manual.Act
	if r.Verb == state.VerbSwitchover {
		c := call{cause: events.CauseSwitchover, fired: FiredAsked, evidence: s.evidence(now)}
		if rule, why := s.candidate(c, r.To, now); rule != "" {
			return verdict{reason: rule + ": " + why, passing: s.patience(rule, true) > 0}
		}
		swap := s.start(c, r.To, &act, now)
		if swap == nil {
			return refused("there is no mandate that could be handed over")
		}
		return obeyed(swap, swap.Next.Intent.Decision)
	}
	c := s.call(now)
	held, why := s.unsound(c, now)
	if held == "" && c.cause != "" {
		held, why = s.against(c, r.To, now)
	}
	switch held {
	case "":
		return refused("no rule holds a failover back: ask for a switchover")
	case RulePriority, RuleSynchronous:
		return refused("%s: %s", held, why)
	}
	c.cause, c.fired, c.evidence = events.CauseOverride, FiredAsked, s.evidence(now)
	swap := s.start(c, r.To, &act, now)
	if swap == nil {
		return refused("there is no mandate that could be taken")
	}
	payload := events.FailoverOverridden{ManualFailover: manual, To: r.To, Rule: held, Loss: swap.Next.Intent.Loss}
	swap.Announce = append([]Announcement{{Payload: payload}}, swap.Announce...)
	return obeyed(swap, s.messageID(payload))
}
