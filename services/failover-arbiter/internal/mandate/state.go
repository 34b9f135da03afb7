package mandate

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// State is what one arbiter knows about the mandate. It is a value: Decide gives the next one. Its zero value is not usable, see New.
type State struct {
	settings Settings

	seen    *Seen // the newest read, with this process's own renewals in it
	known   events.Epoch
	learned bool
	primary bool

	renewed bool          // this process has renewed before, so that no other one can be its predecessor
	sent    Instant       // of the last renewal that succeeded
	until   time.Duration // end of its validity on the boot clock; 0: none
	number  int64         // of the last renewal that was asked for or seen

	watched      int64 // mod revision of the mandate
	watchedSince Instant

	asking  bool          // a read, a renewal or a taking is under way
	askedAt time.Duration // when the last one was asked for
	askNext time.Duration

	begun   bool // the first decision is made
	open    bool
	stopped bool
	reason  string // why it is closed
}

// New is the state of a process that has just started: closed, and without any validity, whatever an earlier process had.
func New(settings Settings) State {
	return State{settings: settings, reason: "nothing is decided yet"}
}

// Answer is what /mandate may say without asking anybody, until it is replaced.
type Answer struct {
	Open   bool
	Epoch  events.Epoch
	Sent   Instant       // of the renewal that Until rests on
	Until  time.Duration // on the boot clock: the answer is no from here on, fence margin included
	Delta  time.Duration
	Reason string // why not
}

// Yes says whether anybody may commit at this moment; if not, why.
func (a Answer) Yes(now Instant) (bool, string) {
	switch {
	case !a.Open:
		return false, a.Reason
	case apart(a.Sent, now) > a.Delta:
		return false, "wall clock and boot clock moved apart"
	case now.Boot >= a.Until:
		return false, "the mandate was not renewed in time"
	}
	return true, ""
}

// Answer gives the answer that stands until the next decision.
func (s State) Answer() Answer {
	a := Answer{Open: s.open, Sent: s.sent, Until: s.until - s.settings.Fence, Delta: s.settings.Delta, Reason: s.reason}
	if s.seen != nil && s.seen.Failover != nil {
		a.Epoch = s.seen.Failover.Epoch
	}
	return a
}

// Seen is the newest view of etcd, nil before the first one. It must not be changed.
func (s State) Seen() *Seen { return s.seen }

// Remaining is how much validity is left, 0 for those who hold nothing.
func (s State) Remaining(now Instant) time.Duration { return max(s.until-now.Boot, 0) }

// Wake is when something is due by time alone: the next request, or the end of what may be committed under. It is far away when nothing is.
func (s State) Wake() time.Duration {
	wake := time.Duration(math.MaxInt64)
	if !s.asking && !s.stopped {
		wake = s.askNext
	}
	if s.open {
		wake = min(wake, s.until-s.settings.Fence)
	}
	return wake
}

// Known is the highest epoch that this region has seen anywhere.
func (s State) Known() events.Epoch { return s.known }

// EndedAt is when, on the boot clock, the mandate that was seen has ended for everyone, and its mod revision; 0 when none was seen.
func (s State) EndedAt() (revision int64, at time.Duration) {
	if s.watched == 0 {
		return 0, 0
	}
	return s.watched, s.watchedSince.Boot + s.settings.Validity + s.settings.Delta
}

// ended says whether the mandate that was seen has ended for everyone.
func (s State) ended(now Instant) bool {
	revision, at := s.EndedAt()
	return revision != 0 && now.Boot >= at
}

// refusal says why this region may not hold the mandate as it stands in etcd, or "". How long the last renewal is ago is not its matter.
func (s State) refusal() string {
	if s.stopped {
		return "the arbiter stops"
	}
	if s.seen == nil {
		return "etcd has not answered yet"
	}
	if !s.learned {
		return "the epochs that this region has seen are not known yet"
	}
	if c := s.seen.Config; c != nil && *c != s.settings.Shared {
		return fmt.Sprintf("timing rule R10: M %gs, delta %gs, drift %g here, but %gs, %gs, %g in etcd",
			s.settings.Shared.Mandate, s.settings.Shared.Delta, s.settings.Shared.Drift, c.Mandate, c.Delta, c.Drift)
	}
	failover, mandate := s.seen.Failover, s.seen.Mandate
	if failover == nil {
		return "nobody has ever held the mandate"
	}
	switch {
	case failover.Epoch < s.known:
		return fmt.Sprintf("etcd has epoch %d, but this region has seen epoch %d", failover.Epoch, s.known)
	case failover.Active != s.settings.Region:
		return fmt.Sprintf("region %s is active", failover.Active)
	case !granted(failover.Phase):
		return fmt.Sprintf("a failover is in phase %s", failover.Phase)
	case mandate == nil:
		return "there is no mandate"
	case mandate.Epoch > failover.Epoch, mandate.Epoch == failover.Epoch && mandate.Owner != s.settings.Region:
		return fmt.Sprintf("the mandate is region %s's of epoch %d", mandate.Owner, mandate.Epoch)
	}
	return ""
}

// granted says whether the state's owner may hold its mandate in this phase: until an intent ends it, and from the promotion on. A mandate of an earlier epoch
// then still stands in etcd; the leader that granted the new epoch has made sure that it is over.
func granted(phase state.Phase) bool {
	return phase == state.PhaseSteady || phase == state.PhasePromoted || phase == state.PhaseSwitched
}

// foreign says whether the mandate was written by another copy of this arbiter that may still live. An earlier process on the same data folder does not: it
// held the folder's lock, which this process holds now. The other region's mandate is not a copy's: a new epoch takes its place.
func (s State) foreign() bool {
	by := s.seen.Mandate.Incarnation
	if by == s.settings.Incarnation.String() || s.seen.Mandate.Owner != s.settings.Region {
		return false
	}
	folder, _, _ := strings.Cut(by, ".")
	return s.renewed || folder != s.settings.Incarnation.Folder
}
