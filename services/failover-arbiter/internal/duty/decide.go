// Package duty decides what the failover's state asks of the hands of one region, beside opening and closing: to promote, to hand over, to take back, to rejoin
// (protocol.md, Boot, promotion, return). It is one pure function; doing it twice does no harm.
package duty

import (
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Duty is what has to be done.
type Duty string

// The duties.
const (
	None     Duty = "none"
	Promote  Duty = "promote"   // make a primary of the standby; it opens nothing
	HandOver Duty = "hand over" // stop the fenced primary, so that the standby has all of it
	Start    Duty = "start"     // start what the arbiter has stopped
	Rejoin   Duty = "rejoin"    // make a standby of the other region out of what is here
	Confirm  Duty = "confirm"   // say that this region is a standby again, or find out why it does not follow
)

// Situation is what a decision rests on.
type Situation struct {
	Region   events.Region
	Failover *state.Failover // nil: not known
	Seen     events.Epoch    // the highest that this region has seen; a state from before it is not obeyed

	Promotion *state.Promotion // the last answer
	Receipt   *events.Receipt  // the last one, after a hand-over only
	Rejoined  *state.Rejoined

	Running bool // the database answers
	Standby bool // it is in recovery
	Fenced  bool // it is known that nobody can commit

	Cluster    bool // there are files of one
	Signal     bool // which start as a standby
	InProgress bool // a copy was begun
	Stopped    bool // by the arbiter, which has not started it since
}

// Decide says what has to be done now.
func Decide(s Situation) Duty {
	f := s.Failover
	if f == nil || f.Active == "" || reach(f) < s.Seen {
		return None
	}
	i, granted := f.Intent, f.Phase == state.PhaseSteady || f.Phase == state.PhasePromoted || f.Phase == state.PhaseSwitched
	switch {
	case f.Phase == state.PhaseFenced && i.To == s.Region:
		if s.Promotion != nil && s.Promotion.Epoch == i.Epoch {
			return None
		}
		return Promote
	case !granted && i.From == s.Region && i.Cause == events.CauseSwitchover && i.To != s.Region:
		if s.Receipt != nil && s.Receipt.Epoch == f.Epoch || !s.Fenced && s.Running {
			return None // handed over, or not yet fenced
		}
		return HandOver
	case f.Active == s.Region && s.Stopped:
		return Start
	case f.Active == s.Region || !granted:
		return None
	case !s.Cluster || s.InProgress || s.Running && !s.Standby || !s.Running && !s.Signal:
		return Rejoin
	case s.Stopped:
		return Start
	case f.Rejoin != nil && f.Rejoin.Region == s.Region && (s.Rejoined == nil || s.Rejoined.Epoch != f.Epoch):
		return Confirm
	}
	return None
}

// reach is the highest epoch that the state speaks of.
func reach(f *state.Failover) events.Epoch {
	if f.Intent != nil {
		return max(f.Epoch, f.Intent.Epoch)
	}
	return f.Epoch
}
