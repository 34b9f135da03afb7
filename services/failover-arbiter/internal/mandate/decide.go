package mandate

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Decide takes one observation at a moment and gives the next state and what has to be done now, in this order. It must be told every outcome of what it asked
// for, and a Ticked often enough that a fence comes in time: at least every few tenths of a second. Moments must not go backwards.
func Decide(s State, o Observation, now Instant) (State, []Action) {
	s = s.distrust(now)
	switch o := o.(type) {
	case Seen:
		s = s.see(o, now)
	case Renewed:
		s = s.renew(o, now)
	case Failed:
		s.asking, s.askNext = false, max(now.Boot, s.askedAt+s.pace())
	case Learned:
		s.learned, s.primary, s.known = true, o.Primary, max(s.known, o.Epoch)
	case Stopped:
		s.stopped = true
	}
	s, actions := s.stand(now)
	s, ask := s.ask(now)
	if ask != nil {
		actions = append(actions, ask)
	}
	return s, actions
}

// distrust throws away what rests on two clocks that do not agree any more: the own validity is void, and the waiting for another's end begins anew.
func (s State) distrust(now Instant) State {
	if s.until != 0 && apart(s.sent, now) > s.settings.Delta {
		s.until = 0
	}
	if s.watched != 0 && apart(s.watchedSince, now) > s.settings.Delta {
		s.watchedSince = now
	}
	return s
}

// see takes in a read. What changed is acted on at once; what did not is looked at again after r.
func (s State) see(o Seen, now Instant) State {
	changed := s.seen == nil || s.seen.FailoverRevision != o.FailoverRevision || s.seen.MandateRevision != o.MandateRevision
	s.asking, s.askNext = false, max(now.Boot, s.askedAt+s.pace())
	if changed {
		s.askNext = now.Boot
	}
	s.seen = &o
	if o.Failover != nil {
		s.known = max(s.known, o.Failover.Epoch)
	}
	if o.Mandate != nil {
		s.known, s.number = max(s.known, o.Mandate.Epoch), max(s.number, o.Mandate.Renewal)
	}
	return s.watch(o.MandateRevision, now)
}

// pace is the time between two requests: a region that waits for its turn looks more often than one that renews.
func (s State) pace() time.Duration {
	moving := s.seen != nil && s.seen.Failover != nil && s.seen.Failover.Phase != state.PhaseSteady && s.seen.Failover.Active != s.settings.Region
	if moving && s.settings.Look > 0 {
		return s.settings.Look
	}
	return s.settings.Renew
}

func (s State) watch(revision int64, now Instant) State {
	if s.watched != revision {
		s.watched, s.watchedSince = revision, now
	}
	return s
}

// renew takes in a renewal that succeeded. Its validity began when it was sent, unless the clocks jumped since.
func (s State) renew(o Renewed, now Instant) State {
	s.asking, s.askNext = false, max(now.Boot, s.askedAt+s.pace())
	view := Seen{Failover: s.seen.Failover, Config: s.seen.Config, FailoverRevision: o.FailoverRevision, MandateRevision: o.Revision, ConfigRevision: s.seen.ConfigRevision}
	if view.Failover == nil { // this was the taking
		view.Failover = &state.Failover{Epoch: 1, Active: s.settings.Region, Phase: state.PhaseSteady, Since: o.Sent.Wall}
		view.Config, view.ConfigRevision = &s.settings.Shared, o.Revision
	}
	view.Mandate = &state.Mandate{
		Owner: s.settings.Region, Epoch: view.Failover.Epoch, Incarnation: s.settings.Incarnation.String(), Renewal: o.Number, RenewedAt: o.Sent.Wall,
	}
	s.seen, s.renewed, s.known = &view, true, max(s.known, view.Failover.Epoch)
	s = s.watch(o.Revision, now)
	if apart(o.Sent, now) <= s.settings.Delta {
		s.sent, s.until = o.Sent, o.Sent.Boot+s.settings.Validity
	}
	return s
}

// stand opens or closes. A validity that was lost for a reason other than time does not come back without a fresh renewal.
func (s State) stand(now Instant) (State, []Action) {
	reason := s.refusal()
	if reason == "" && s.foreign() {
		reason = fmt.Sprintf("another copy of this arbiter, %s, holds the mandate", s.seen.Mandate.Incarnation)
	}
	switch {
	case reason != "":
		s.until = 0
	case s.until == 0:
		reason = "no renewal of this process counts"
	case s.until-now.Boot <= s.settings.Fence:
		reason = "the mandate was not renewed in time"
	}
	wasOpen, begun := s.open, s.begun
	s.open, s.reason, s.begun = reason == "", reason, true
	switch {
	case s.open && !wasOpen:
		return s, []Action{Open{Epoch: s.seen.Failover.Epoch}}
	case !s.open && (wasOpen || !begun):
		return s, []Action{Close{Reason: reason}, Fence{Epoch: s.epoch()}}
	}
	return s, nil
}

// ask chooses what to ask etcd for, one thing at a time, every r.
func (s State) ask(now Instant) (State, Action) {
	if s.asking || s.stopped || now.Boot < s.askNext {
		return s, nil
	}
	s.asking, s.askedAt = true, now.Boot
	switch {
	case s.mayTake():
		s.number++
		return s, Take{Number: s.number, ConfigRevision: s.seen.ConfigRevision}
	case s.refusal() == "" && (!s.foreign() || s.ended(now)):
		s.number++
		return s, Renew{Epoch: s.seen.Failover.Epoch, Number: s.number, FailoverRevision: s.seen.FailoverRevision, MandateRevision: s.seen.MandateRevision}
	}
	return s, Read{}
}

// mayTake is true where nothing was ever held, as far as etcd, this region's files and its database can tell.
func (s State) mayTake() bool {
	nothing := s.seen != nil && s.seen.Failover == nil && s.seen.Mandate == nil && (s.seen.Config == nil || *s.seen.Config == s.settings.Shared)
	return nothing && s.learned && s.primary && s.known == 0 && s.settings.Region == s.settings.First
}

// epoch is the one under which a fence is made.
func (s State) epoch() events.Epoch { return s.known }
