package failover

import (
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Decide takes one observation at a moment and gives the next state and what has to be done now. Moments must not go backwards.
func Decide(s State, o Observation, now Instant) (State, []Action) {
	switch o := o.(type) {
	case Heard:
		return s.hear(o.Report, now)
	case Positioned:
		return s.locate(o.Report, now)
	case Led:
		s.term, s.trouble = o.Term, trouble{} // what an earlier term was about to say is forgotten
	case Deposed:
		s.term, s.trouble = 0, trouble{}
	case Named:
		s.named = o
	case Read:
		s = s.read(o, now).reflect(now)
		if s.term == 0 || !s.trusted() {
			return s, nil
		}
		return s.decide(now)
	}
	return s, nil
}

// lead does the one thing that comes next: the step that is due, an answer, or a decision.
func (s State) lead(now Instant) (State, []Action) {
	rule, reason, called := "", "", false
	if s.view.Failover.Phase != state.PhaseSteady {
		if swap := s.step(now); swap != nil {
			return s, []Action{*swap}
		}
		rule, reason = s.stuck(now)
	}
	if action := s.answer(now); action != nil {
		return s, []Action{action}
	}
	if s.settled(now) {
		if swap := s.tidy(now); swap != nil {
			return s, []Action{*swap}
		}
		call := s.call(now)
		target, held, why := s.rule(call, now)
		if held == "" && call.cause != "" {
			if swap := s.start(call, target, nil, now); swap != nil {
				return s, []Action{*swap}
			}
		}
		if swap := s.synchronize(now); swap != nil { // also while a failover is held back: writes that wait for a standby may be what calls for it
			return s, []Action{*swap}
		}
		if rule == "" || held != "" && call.cause != "" {
			rule, reason, called = held, why, call.cause != ""
		}
	}
	return s.hold(rule, reason, called, now)
}

// settled says whether a new decision may be taken: nothing is under way, or what is cannot be ended by anybody here, and its owner has the mandate all the same.
func (s State) settled(now Instant) bool {
	rule, _ := s.stuck(now)
	return s.view.Failover.Phase == state.PhaseSteady || rule != ""
}

// tidy ends what has run out or is done: a pause, a rejoin.
func (s State) tidy(now Instant) *Swap {
	f := s.view.Failover
	if p := f.Pause; p != nil && p.Until != nil && !now.Wall.Before(*p.Until) {
		swap := s.swap("the pause has run out")
		swap.Next.Pause = nil
		swap.Announce = []Announcement{{Payload: events.FailoverResumed{ManualFailover: events.ManualFailover{Epoch: f.Epoch, Active: f.Active, Act: p.Act}}}}
		return swap
	}
	if f.Rejoin == nil {
		return nil
	}
	report, fresh := s.report(f.Rejoin.Region, now)
	if !fresh || report.Rejoined == nil || report.Rejoined.Epoch != f.Epoch || report.Database.Condition != state.DatabaseStandby {
		return nil
	}
	r := report.Rejoined
	swap := s.swap("region " + string(report.Region) + " is a standby again")
	swap.Next.Rejoin = nil
	swap.Announce = []Announcement{{Payload: events.FailoverRejoined{
		Epoch: f.Epoch, Region: report.Region, RejoinedAt: r.At, Manner: r.Manner, Timeline: r.Timeline, ForkLSN: r.ForkLSN, Discarded: r.Discarded, Kept: r.Kept,
	}}}
	return swap
}

// swap begins a transaction that leaves the state as it was read.
func (s State) swap(why string) *Swap {
	return &Swap{Term: s.term, Next: *s.view.Failover, Over: s.view.FailoverRevision, Why: why}
}
