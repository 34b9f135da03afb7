package failover

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// synchronize moves the switch of synchronous replication (protocol.md, Boot, promotion, return). The primary lets no commit go without the standby from when it
// reads SyncJoining until it reads SyncOff, whatever it sees itself: so that what SyncOn promises is true for whoever reads it.
func (s State) synchronize(now Instant) *Swap {
	f := s.view.Failover
	peer := f.Active.Peer()
	if f.Phase != state.PhaseSteady || f.SyncWanted != state.SyncOn && !f.Sync.Waits() {
		return nil
	}
	switch lasted := now.Boot - s.mirror.since; {
	case !f.Sync.Waits() && s.mirror.kind == following && lasted >= s.calm():
		return s.switched(state.SyncJoining, peer, "standby-back", nil, now)
	case f.Sync == state.SyncJoining && s.mirror.kind == mirrored:
		return s.switched(state.SyncOn, peer, "complete", nil, now)
	case f.Sync.Waits() && s.mirror.kind == apartFrom && lasted >= s.settings.SyncPatience && (f.Sync == state.SyncJoining || !s.settings.SyncStrict):
		return s.switched(state.SyncOff, "", "standby-away", nil, now)
	}
	return nil
}

// mirror is how the standby of the active region follows, and since when.
type mirror struct {
	kind  footing
	since time.Duration // on the boot clock
}

// footing is one of the kinds of a mirror.
type footing int

const (
	unseen    footing = iota // nobody says so
	apartFrom                // the primary answers, and the standby does not stream
	following                // it streams, and is not far behind
	mirrored                 // commits wait for it, and it has all that was acknowledged before
)

// near is how far behind a standby may be for commits to begin to wait for it.
const near = 16 << 20

// reflect looks how the standby follows, as both regions say.
func (s State) reflect(now Instant) State {
	kind := unseen
	f := s.view.Failover
	if f != nil && f.Active != "" {
		kind = s.follows(f, now)
	}
	if kind != s.mirror.kind {
		s.mirror = mirror{kind, now.Boot}
	}
	return s
}

func (s State) follows(f *state.Failover, now Instant) footing {
	primary, fresh := s.report(f.Active, now)
	if !fresh || primary.Database.Condition != state.DatabasePrimary {
		return unseen
	}
	standby, fresh := s.report(f.Active.Peer(), now)
	d := standby.Database
	rejoins := f.Rejoin != nil && f.Rejoin.Region == f.Active.Peer()
	switch {
	case !fresh || rejoins || d.Condition != state.DatabaseStandby || !d.Streaming || d.Timeline != primary.Database.Timeline:
		return apartFrom
	case primary.Database.Mirrored:
		return mirrored
	case f.Sync == state.SyncOn:
		return apartFrom // the primary does not see it
	case primary.Database.FlushLSN > d.FlushLSN+near:
		return unseen // it comes nearer, or it will not stream for long
	}
	return following
}

// switched is the transaction that moves the switch, and its event.
func (s State) switched(mode state.SyncMode, standby events.Region, cause string, act *events.Act, now Instant) *Swap {
	swap := s.swap("synchronous replication is " + string(mode) + ": " + cause)
	swap.Next.Sync, swap.Next.SyncStandby = mode, standby
	swap.Announce = append(swap.Announce, Announcement{Payload: s.told(swap.Next, cause, act, now)})
	return swap
}

func (s State) told(f state.Failover, cause string, act *events.Act, now Instant) events.FailoverSynchronized {
	mode := f.Sync
	if mode == "" {
		mode = state.SyncOff
	}
	return events.FailoverSynchronized{
		Epoch: f.Epoch, Active: f.Active, Standby: f.SyncStandby, Mode: string(mode), Wanted: f.SyncWanted == state.SyncOn, Cause: cause, At: now.Wall, Leader: s.settings.Region, Act: act,
	}
}

// desynchronize is what a promotion does to the switch: degrade lets the new owner write alone, strict lets it wait for the other region.
func (s State) desynchronize(swap *Swap, now Instant) {
	next := &swap.Next
	if !next.Sync.Waits() {
		return
	}
	if next.Sync == state.SyncOn && s.settings.SyncStrict {
		next.SyncStandby = next.Active.Peer()
		return
	}
	next.Sync, next.SyncStandby = state.SyncOff, ""
	swap.Announce = append(swap.Announce, Announcement{Cause: next.Intent.Decision, Payload: s.told(*next, "failover", nil, now)})
}

// switchSync is an operator's turn of the switch. Off is in force at once; on is when the standby follows.
func (s State) switchSync(mode state.SyncMode, act events.Act, now Instant) verdict {
	f := s.view.Failover
	wanted := f.SyncWanted == state.SyncOn
	switch {
	case f.Phase != state.PhaseSteady:
		return refused("a failover is in phase %s", f.Phase)
	case wanted == (mode == state.SyncOn):
		return refused("it is %s already", mode)
	}
	swap := s.swap("synchronous replication is wanted " + string(mode) + " by " + act.Actor)
	swap.Next.SyncWanted = mode
	if mode == state.SyncOff {
		swap.Next.Sync, swap.Next.SyncStandby = state.SyncOff, ""
	}
	payload := s.told(swap.Next, "asked", &act, now)
	swap.Announce = []Announcement{{Payload: payload}}
	return obeyed(swap, s.messageID(payload))
}
