package simulation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// store is etcd: one member a region, strictly serializable while a majority is in touch, silent otherwise and while it chooses a leader.
type store struct {
	w        *world
	revision int64

	failover                          *state.Failover
	mandate                           *state.Mandate
	config                            *state.Config
	active                            string
	failoverRevision, mandateRevision int64
	reports                           map[events.Region]failover.Reported
	requests                          []failover.Requested

	term        int64 // create revision of the leader key; 0: vacant
	holder      events.Region
	lease       time.Duration // when it ends, in true time
	vacantSince time.Duration

	raft   events.Region // the member that leads
	chosen time.Duration // until when the members choose; 0: they have
	away   bool          // no member answers
}

func newStore(w *world) *store {
	return &store{w: w, reports: map[events.Region]failover.Reported{}, raft: w.regions[w.chance.IntN(len(w.regions))], revision: 10}
}

func (s *store) next() int64 { s.revision++; return s.revision }

// majority says whether a member is in touch with enough others to lead.
func (s *store) majority(region events.Region) bool {
	if s.w.machines[region].silent() {
		return false
	}
	count := 0
	for _, m := range s.w.list {
		if !m.silent() && s.w.talk(region, m.region) {
			count++
		}
	}
	return count > len(s.w.regions)/2
}

// serves says whether a region's request is answered now.
func (s *store) serves(from events.Region) bool {
	if s.away {
		return false
	}
	if !s.majority(s.raft) {
		if s.chosen == 0 {
			s.chosen = s.w.now + s.w.between(time.Second, profile.EtcdGap)
		}
		if s.w.now < s.chosen {
			return false
		}
		for _, region := range s.w.regions {
			if s.majority(region) {
				s.raft, s.chosen = region, 0
				s.lease = max(s.lease, s.w.now+profile.LeaderTTL) // etcd extends leases when its leader changes
				break
			}
		}
		if s.chosen != 0 {
			return false
		}
	}
	s.chosen = 0
	for _, m := range s.w.list {
		if !m.silent() && s.w.talk(from, m.region) && s.w.talk(m.region, s.raft) {
			return true
		}
	}
	return false
}

// expire ends the leader's lease.
func (s *store) expire() {
	if s.term != 0 && s.w.now >= s.lease {
		s.w.say("the lease of %s ends", s.holder)
		s.term, s.holder, s.vacantSince = 0, "", s.w.now
	}
}

// read is everything that decisions rest on.
func (s *store) read() failover.Read {
	return failover.Read{
		Failover: s.failover, Mandate: s.mandate, Config: s.config, Active: s.active, Reports: maps.Clone(s.reports), Requests: slices.Clone(s.requests),
		FailoverRevision: s.failoverRevision, MandateRevision: s.mandateRevision,
	}
}

// seen is what the keepers of the mandate read.
func (s *store) seen() mandate.Seen {
	seen := mandate.Seen{Failover: s.failover, Mandate: s.mandate, Config: s.config, FailoverRevision: s.failoverRevision, MandateRevision: s.mandateRevision}
	if s.config != nil {
		seen.ConfigRevision = 1
	}
	return seen
}

// take is the first mandate of all.
func (s *store) take(m *machine, a mandate.Take, sent mandate.Instant) mandate.Observation {
	if s.failover != nil || s.mandate != nil {
		return s.renewed(m, a.Number, sent)
	}
	shared := profile.Shared()
	s.config, s.active = &shared, strings.ToUpper(string(m.region))
	s.failover, s.failoverRevision = &state.Failover{Epoch: 1, Active: m.region, Phase: state.PhaseSteady, Since: sent.Wall}, s.next()
	return s.grant(m, 1, a.Number, sent)
}

// renew is the transaction of a renewal: it compares the mandate and the state.
func (s *store) renew(m *machine, a mandate.Renew, sent mandate.Instant) mandate.Observation {
	state := s.w.removed.renewalIgnoresState || a.FailoverRevision == s.failoverRevision
	own := s.w.removed.renewalIgnoresState && s.mandate != nil && s.mandate.Owner == m.region
	if !state || a.MandateRevision != s.mandateRevision && !own {
		return s.renewed(m, a.Number, sent)
	}
	return s.grant(m, a.Epoch, a.Number, sent)
}

// renewed is what a comparison that failed has read: perhaps the effect of another copy of the same request.
func (s *store) renewed(m *machine, number int64, sent mandate.Instant) mandate.Observation {
	if s.mandate != nil && s.mandate.Incarnation == m.incarnation() && s.mandate.Renewal == number {
		return mandate.Renewed{Number: number, Sent: sent, Revision: s.mandateRevision, FailoverRevision: s.failoverRevision}
	}
	return s.seen()
}

func (s *store) grant(m *machine, epoch events.Epoch, number int64, sent mandate.Instant) mandate.Observation {
	at := m.db.heartbeat
	s.mandate = &state.Mandate{
		Owner: m.region, Epoch: epoch, Incarnation: m.incarnation(), Renewal: number, RenewedAt: sent.Wall, FlushLSN: m.db.flush, Timeline: m.db.timeline, HeartbeatNumber: m.db.beat, HeartbeatAt: &at,
	}
	s.mandateRevision = s.next()
	return mandate.Renewed{Number: number, Sent: sent, Revision: s.mandateRevision, FailoverRevision: s.failoverRevision}
}

// swap is a leader's transaction; false: a comparison failed.
func (s *store) swap(by *machine, a failover.Swap) bool {
	removed := s.w.removed
	switch {
	case !removed.swapIgnoresTerm && a.Term != s.term:
		s.w.say("%s: %s: refused, its term is over", by.region, a.Why)
		return false
	case !removed.swapIgnoresRevision && a.Over != s.failoverRevision:
		s.w.say("%s: %s: refused, the state is another one", by.region, a.Why)
		return false
	case !removed.swapIgnoresMandate && a.Mandate != 0 && a.Mandate != s.mandateRevision:
		s.w.say("%s: %s: refused, the mandate is another one", by.region, a.Why)
		return false
	case a.Reply != nil && !s.answer(*a.Reply):
		return false
	}
	was, next := s.failover, a.Next
	s.failover, s.failoverRevision = &next, s.next()
	s.w.say("%s: %s (epoch %d, active %s, %s)", by.region, a.Why, next.Epoch, next.Active, next.Phase)
	s.w.judge(was, &next, a)
	if a.Active != "" {
		s.active = strings.ToUpper(string(a.Active))
	}
	return true
}

// answer writes a request's answer.
func (s *store) answer(a failover.Reply) bool {
	n := slices.IndexFunc(s.requests, func(r failover.Requested) bool { return r.ID == a.ID && r.Revision == a.Revision })
	if n < 0 {
		return false
	}
	s.requests = slices.Clone(s.requests)
	s.requests[n] = failover.Requested{ID: a.ID, Request: a.Request, Revision: s.next()}
	s.w.say("request %s %s: %s", a.Request.Verb, a.Request.To, a.Request.Answer.Reason)
	return true
}

// report stands unless a later one of the same process does.
func (s *store) report(r state.Report) {
	if last := s.reports[r.Region].Report; last.Incarnation == r.Incarnation && last.Number >= r.Number {
		return
	}
	s.reports[r.Region] = failover.Reported{Report: r, Revision: s.next()}
}

// authority is the DNS server; it stands outside all regions.
type authority struct {
	region, before events.Region
	epoch          events.Epoch
	changed        time.Duration
	away           bool
}

// set replaces the record, unless a later epoch stands there.
func (w *world) set(region events.Region, epoch events.Epoch) (problem string) {
	n := &w.name
	switch {
	case n.away:
		return "the name server does not answer"
	case epoch < n.epoch && !w.removed.nameIgnoresEpoch:
		return "it has a later epoch"
	case region != n.region:
		n.before, n.changed = n.region, w.now
	}
	if epoch < n.epoch {
		w.violate(nameBack, "the name goes back from epoch %d to %d", n.epoch, epoch)
	}
	n.region, n.epoch = region, epoch
	return ""
}

// resolve is what a resolver gives.
func (w *world) resolve() events.Region {
	if w.now-w.name.changed < profile.DNSTTL {
		return w.name.before
	}
	return w.name.region
}
