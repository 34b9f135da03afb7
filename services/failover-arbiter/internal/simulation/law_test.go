package simulation

import (
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// The invariants. Each is checked against the truth, which no region knows.
const (
	twoWriters    = "two-writers"     // two regions are able to commit
	afterFence    = "after-fence"     // a region is able to commit although its fence is recorded, or it is fenced while it is
	epochBack     = "epoch-back"      // the epoch of the state goes back
	nameBack      = "name-back"       // the epoch of the DNS name goes back
	otherHistory  = "other-history"   // a region is promoted whose database is no copy of the old one's
	lostWrites    = "lost-writes"     // a planned switchover loses what was acknowledged
	tooFarBehind  = "too-far-behind"  // more is lost than a failover may take without asking
	moreThanSaid  = "more-than-said"  // more is lost than the failover said could be at most
	withoutGround = "without-ground"  // a failover begins on observations that nobody lately made
	toTheSick     = "to-the-sick"     // a failover begins to a region that is as ill
	inCooldown    = "in-cooldown"     // a failover begins by itself right after another one
	whilePaused   = "while-paused"    // a failover begins by itself although an operator said no
	neverPromoted = "never-promoted"  // a region of priority 0 is
	overForeign   = "over-foreign"    // a failover begins although somebody else has written who is active
	notWhole      = "not-whole"       // a document does not hold together
	stuck         = "stuck"           // in the end nobody can commit and nobody is alarmed
	beyondFreeze  = "beyond-a-freeze" // a region that had stood still commits for longer than the dead man takes
)

// sight is an observer and what it looks at.
type sight struct{ observer, target events.Region }

// law is what the truth must remember between two steps.
type law struct {
	fenced    map[events.Region]bool // its fence is recorded, and nothing was granted to it since
	sure      map[sight]time.Duration
	completed time.Duration // the last failover that was, unless it was acknowledged
	ill       map[events.Region]time.Duration
}

// check looks at what must never be.
func (w *world) check() {
	able := 0
	for _, m := range w.holders {
		if !m.able() {
			continue
		}
		// A region that stood still as a whole and goes on does not know it yet: what is committed until its proxy has asked is the hole that the documents state.
		if since := w.now - m.woken; since < profile.Fence+profile.CheckInter {
			continue
		} else if since < time.Minute && w.law.fenced[m.region] {
			w.violate(beyondFreeze, "region %s can commit %.1f s after it woke", m.region, since.Seconds())
		}
		able++
		if w.law.fenced[m.region] {
			w.violate(afterFence, "region %s can commit", m.region)
		}
	}
	if able > 1 {
		w.violate(twoWriters, "%d regions can commit", able)
	}
}

// judge looks at a transaction of the leader that takes effect.
func (w *world) judge(was, next *state.Failover, a failover.Swap) {
	if next.Epoch < was.Epoch {
		w.violate(epochBack, "the epoch goes from %d to %d", was.Epoch, next.Epoch)
	}
	if len(w.data) == 2 && w.removed.swap == nil { // events and state know two regions with data
		if err := next.Validate(); err != nil {
			w.violate(notWhole, "%v", err)
		}
		for _, announcement := range a.Announce {
			if err := announcement.Payload.Validate(); err != nil {
				w.violate(notWhole, "%v", err)
			}
		}
	}
	began := next.Intent != nil && (was.Intent == nil || was.Intent.Epoch != next.Intent.Epoch)
	switch {
	case began && (next.Intent.Act == nil):
		w.judgeStart(was, next)
	case next.Phase == state.PhaseFenced && was.Phase == state.PhaseIntent:
		w.law.fenced[next.Intent.From] = true
	case next.Phase == state.PhasePromoted && was.Phase == state.PhaseFenced:
		w.judgePromotion(was, next)
		delete(w.law.fenced, next.Active)
	case next.Phase == state.PhaseSteady && was.Phase != state.PhaseSteady && next.Active == was.Active && next.Epoch > was.Epoch:
		w.tally.aborts++
		delete(w.law.fenced, next.Active)
	}
	for _, announcement := range a.Announce {
		switch p := announcement.Payload.(type) {
		case events.FailoverCompleted:
			w.tally.failovers++
			w.law.completed = w.now
			if p.Cause == events.CauseSwitchover {
				w.tally.switchovers++
			}
		case events.FailoverAcknowledged:
			w.law.completed = 0
		case events.FailoverHeld:
			w.tally.holds++
		}
	}
}

// judgeStart looks at a failover that nobody asked for.
func (w *world) judgeStart(was, next *state.Failover) {
	i := next.Intent
	if i.Cause == events.CauseDown {
		sure, decided := 0, w.now // a decision may wait a while before it takes effect
		if !w.jumped {
			decided = min(i.DecidedAt.Sub(began)+profile.Delta/10, w.now)
		}
		for _, observer := range w.regions {
			if at, ever := w.law.sure[sight{observer, i.From}]; ever && (w.jumped || decided-at <= profile.ProbeWindow+400*time.Millisecond) {
				sure++
			}
		}
		if sure <= len(w.regions)/2 {
			w.violate(withoutGround, "%d of %d observers have lately seen region %s fail", sure, len(w.regions), i.From)
		}
	}
	// A transaction may wait a while before it takes effect; the cooldown counts from when it was decided.
	if since := w.now - w.law.completed; w.law.completed > 0 && since < cooldown-4*time.Second && !w.jumped {
		w.violate(inCooldown, "the last failover was completed %.1f s ago", since.Seconds())
	}
	if p := was.Pause; p != nil && (p.Until == nil || p.Until.After(began.Add(w.now+time.Second))) && !w.jumped {
		w.violate(whilePaused, "paused by %s", p.Act.Actor)
	}
	if priority, named := w.priority[i.To]; named && priority == 0 {
		w.violate(neverPromoted, "region %s has priority 0", i.To)
	}
	if want := strings.ToUpper(string(was.Active)); w.store.active != want {
		w.violate(overForeign, "somebody has written %q, and region %s is active", w.store.active, was.Active)
	}
	from, to := w.machines[i.From].db, w.machines[i.To].db
	if lag := from.fresh - to.fresh; lag > maxLoss+profile.Mandate {
		w.violate(tooFarBehind, "region %s is %.1f s behind", i.To, lag.Seconds())
	}
	if since, ill := w.law.ill[i.To]; ill && w.now-since > profile.ProbeWindow+5*time.Second {
		w.violate(toTheSick, "region %s is ill for %.1f s", i.To, (w.now - since).Seconds())
	}
}

// judgePromotion looks at the database that is promoted.
func (w *world) judgePromotion(was, next *state.Failover) {
	i := next.Intent
	from, to := w.machines[i.From].db, w.machines[i.To].db
	if len(to.forks) == 0 || to.standby {
		w.violate(otherHistory, "the database of region %s was never promoted", i.To)
		return
	}
	begins := to.forks[len(to.forks)-1]
	if before := (database{branch: begins.branch, flush: begins.lsn}); !before.behind(from) && i.Cause != events.CauseOverride {
		w.violate(otherHistory, "the database of region %s has what that of region %s has not", i.To, i.From)
	}
	if i.Cause == events.CauseSwitchover && begins.lsn < from.flush && begins.branch == from.branch {
		w.violate(lostWrites, "region %s takes over %d bytes behind", i.To, from.flush-begins.lsn)
	}
	w.judgeLoss(i)
	_ = was
}

// judgeLoss holds what is really lost, now that nothing can be added to it, against the most that the failover said could be: the seconds up to the last renewal and all that
// its holder might commit after it. Nobody can say anything of the commits of a region that stood still as a whole and wakes; its documents do.
func (w *world) judgeLoss(i *state.Intent) {
	from, to := w.machines[i.From], w.machines[i.To].db
	begins := to.forks[len(to.forks)-1]
	if before := (database{branch: begins.branch, flush: begins.lsn}); !before.behind(from.db) || i.Loss.Exposed == nil {
		return
	}
	lost := max(from.committed-to.fresh, 0)
	w.tally.lost = max(w.tally.lost, lost)
	if said := *i.Loss.Exposed; lost.Seconds() > said {
		w.violate(moreThanSaid, "%.2f s of commits of region %s are lost, and %.2f s were to be the most", lost.Seconds(), i.From, said)
	}
}
