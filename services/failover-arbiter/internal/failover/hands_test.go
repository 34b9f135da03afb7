package failover

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// keep gives an observation to a region's keeper and carries its orders out; etcd answers at once.
func (w *world) keep(p *place, o mandate.Observation) {
	var actions []mandate.Action
	p.keeper, actions = mandate.Decide(p.keeper, o, mandate.Instant(w.instant()))
	for _, action := range actions {
		switch a := action.(type) {
		case mandate.Read:
			w.keep(p, w.look(p))
		case mandate.Take:
			if !w.reaches(p.region) {
				w.keep(p, mandate.Failed{})
				continue
			}
			w.revision++
			shared := testSettings(p.region).Shared
			w.failover = Read{
				Failover:         &state.Failover{Epoch: 1, Active: p.region, Phase: state.PhaseSteady, Since: began.Add(w.now)},
				FailoverRevision: w.revision, Config: &shared, Active: "A",
			}
			w.grant(p, 1, a.Number)
		case mandate.Renew:
			switch {
			case !w.reaches(p.region):
				w.keep(p, mandate.Failed{})
			case a.FailoverRevision != w.failover.FailoverRevision || a.MandateRevision != w.failover.MandateRevision:
				w.keep(p, w.look(p))
			default:
				w.grant(p, a.Epoch, a.Number)
			}
		case mandate.Open:
			w.say("%s opens under epoch %d", p.region, a.Epoch)
			p.opened, p.receipt, p.fencing = true, nil, 0
		case mandate.Close:
			if p.opened {
				w.say("%s closes: %s", p.region, a.Reason)
			}
			p.opened = false
		case mandate.Fence:
			p.fencing = w.now + 1200*time.Millisecond
		}
	}
}

func (w *world) look(p *place) mandate.Observation {
	if !w.reaches(p.region) {
		return mandate.Failed{}
	}
	f := w.failover
	return mandate.Seen{
		Failover: f.Failover, Mandate: f.Mandate, Config: f.Config, FailoverRevision: f.FailoverRevision, MandateRevision: f.MandateRevision, ConfigRevision: 1,
	}
}

func (w *world) grant(p *place, epoch events.Epoch, number int64) {
	w.revision++
	w.failover.MandateRevision = w.revision
	at := began.Add(p.heartbeat)
	w.failover.Mandate = &state.Mandate{
		Owner: p.region, Epoch: epoch, Incarnation: "f" + string(p.region) + ".p1", Renewal: number, RenewedAt: began.Add(w.now),
		FlushLSN: p.flush, Timeline: p.timeline, HeartbeatAt: &at,
	}
	w.keep(p, mandate.Renewed{
		Number: number, Sent: mandate.Instant(w.instant()), Revision: w.revision, FailoverRevision: w.failover.FailoverRevision,
	})
}

// handle is what the hands of a region do by themselves: end a fence, promote, rejoin.
func (w *world) handle(p *place) {
	if p.fencing != 0 && w.now >= p.fencing {
		p.fencing = 0
		if f := p.keeper.Seen(); !p.opened && f != nil && f.Failover != nil && p.keeper.Known() > 0 && !p.crashed && !p.standby {
			p.yesAt = never
			p.receipt = &events.Receipt{
				Region: p.region, Epoch: p.keeper.Known(), Counts: []int{1, 0, 0}, Refused: true, FlushLSN: p.flush, Timeline: p.timeline, WrittenAt: began.Add(w.now),
			}
		}
	}
	seen := p.keeper.Seen()
	if seen == nil || seen.Failover == nil || p.crashed {
		return
	}
	f := seen.Failover
	if f.Phase == state.PhaseFenced && f.Intent.To == p.region && (p.standby || f.Intent.Diverged) && (p.promotion == nil || p.promotion.Epoch != f.Intent.Epoch) && p.promising == 0 {
		p.promising, p.noted = w.now+p.promotes, max(p.noted, f.Intent.Epoch)
		if p.promotes < 0 {
			p.promising = 0
			p.promotion = &state.Promotion{Epoch: f.Intent.Epoch, Refused: "the disk is full", At: began.Add(w.now)}
			w.report(p)
		}
	}
	if p.promising != 0 && w.now >= p.promising {
		p.promising = 0
		p.standby, p.timeline = false, p.timeline+1
		if f.Intent != nil && f.Intent.Diverged && f.Rejoin != nil {
			p.timeline = f.Rejoin.Timeline + 1
		}
		if f.Phase == state.PhaseFenced && f.Intent.To == p.region {
			p.promotion = &state.Promotion{Epoch: f.Intent.Epoch, Done: true, Timeline: p.timeline, LSN: max(p.flush, 1), At: began.Add(w.now)}
			if w.reaches(p.region) {
				w.report(p)
			}
		} else {
			w.say("%s's database is promoted, too late", p.region)
		}
	}
	w.rejoin(p, f)
}

func (w *world) rejoin(p *place, f *state.Failover) {
	owner := w.places[f.Active]
	if f.Rejoin == nil || f.Rejoin.Region != p.region || owner.dead || !w.linked(p.region, f.Active) || f.Phase == state.PhaseIntent || f.Phase == state.PhaseFenced {
		p.rejoining = 0
		return
	}
	if p.rejoined != nil && p.rejoined.Epoch == f.Epoch {
		return
	}
	if p.rejoining == 0 {
		p.rejoining = w.now + 3*time.Second
	}
	if w.now >= p.rejoining {
		discarded := int64(0)
		if fork := f.Rejoin.ForkLSN; fork != nil && p.flush > *fork {
			discarded = int64(p.flush - *fork)
		}
		p.rejoining, p.standby, p.timeline, p.receipt, p.promotion = 0, true, owner.timeline, nil, nil
		p.rejoined = &state.Rejoined{Epoch: f.Epoch, Manner: "rewound", Timeline: p.timeline, ForkLSN: max(owner.flush, 1), Discarded: discarded, At: began.Add(w.now)}
	}
}

// streams says whether a standby gets the other region's WAL.
func (w *world) streams(p *place) bool {
	peer := w.places[p.region.Peer()]
	return p.standby && !p.dead && !p.crashed && !peer.dead && !peer.crashed && !peer.standby && w.linked(p.region, peer.region) && p.rejoining == 0
}

// report writes what a region says of itself.
func (w *world) report(p *place) {
	p.number++
	w.revision++
	at := began.Add(p.heartbeat)
	r := state.Report{
		Region: p.region, Incarnation: "f" + string(p.region) + ".p1", Number: p.number, At: began.Add(w.now),
		Database: state.DatabaseReport{Condition: state.DatabasePrimary, Timeline: p.timeline, FlushLSN: p.flush, HeartbeatAt: &at},
		Receipt:  p.receipt, Promotion: p.promotion, Rejoined: p.rejoined,
	}
	switch {
	case p.restarts:
		r.Database.Condition = state.DatabaseRestarting
	case p.crashed:
		r.Database.Condition, r.Database.Reason = state.DatabaseDown, "no socket"
	case p.rejoining != 0:
		r.Database.Condition = state.DatabaseRejoining
	case p.standby:
		r.Database.Condition = state.DatabaseStandby
		r.Database.Streaming = w.streams(p)
	default:
		seen := p.keeper.Seen()
		r.Database.Mirrored = seen != nil && seen.Failover != nil && seen.Failover.Sync.Waits() && w.streams(w.places[seen.Failover.SyncStandby])
	}
	if err := r.Validate(); err != nil {
		w.violate("a report does not hold together: %v", err)
	}
	w.reports[p.region] = Reported{Report: r, Revision: w.revision}
}

// tellEvent says in a line what an event says.
func tellEvent(p events.Payload) string {
	bound := func(b events.LossBound) string {
		if !b.Known() {
			return "loss unknown"
		}
		said := fmt.Sprintf("loss %.1f s and %d bytes at most", *b.Seconds, *b.Bytes)
		if b.Exposed != nil && *b.Exposed > 0 {
			said += fmt.Sprintf(" (%.1f s exposed)", *b.Exposed)
		}
		return said
	}
	switch e := p.(type) {
	case events.FailoverStarted:
		return fmt.Sprintf("says failover.started: %s by %s, %s, on %d observations", e.Cause, e.Rule, bound(e.Loss), len(e.Evidence))
	case events.FailoverFenced:
		return fmt.Sprintf("says failover.fenced: %s after %.1f s, %s", e.Manner, e.Waited, bound(e.Loss))
	case events.FailoverSynchronized:
		return fmt.Sprintf("says failover.synchronized: %s, %s", e.Mode, e.Cause)
	case events.FailoverPromoted:
		return fmt.Sprintf("says failover.promoted: timeline %d", e.Timeline)
	case events.FailoverSwitched:
		return fmt.Sprintf("says failover.switched: %s is %s", e.Name, e.Address)
	case events.FailoverCompleted:
		t := e.Times
		stale := "not measured"
		if t.LastStaleClient != nil {
			stale = fmt.Sprintf("%.1f", *t.LastStaleClient)
		}
		return fmt.Sprintf("says failover.completed: detect %.1f, decide %.1f, fence %.1f, promote %.1f, switch %.1f, last stale client %s, total %.1f s, cooldown %.0f s",
			t.Detect, t.Decide, t.Fence, t.Promote, t.Switch, stale, t.Total, e.CooldownSeconds)
	case events.FailoverAborted:
		return fmt.Sprintf("says failover.aborted: %s in phase %s, next epoch %d", e.Code, e.Phase, e.NextEpoch)
	case events.FailoverHeld:
		return fmt.Sprintf("says failover.held: %s, %s, on %d observations", e.Rule, bound(e.Loss), len(e.Evidence))
	case events.FailoverRejoined:
		return fmt.Sprintf("says failover.rejoined: %s %s, %d bytes discarded", e.Region, e.Manner, e.Discarded)
	case events.FailoverOverridden:
		said := fmt.Sprintf("says failover.overridden: rule %s by %s (%s), %s", e.Rule, e.Act.Actor, e.Act.Reason, bound(e.Loss))
		if e.Attested != "" {
			said += ", attested: " + e.Attested
		}
		return said
	}
	return "says " + p.Type().Domain() + "." + p.Type().Fact()
}
