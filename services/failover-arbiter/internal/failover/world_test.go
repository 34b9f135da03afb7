package failover

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// world is three regions at play: an etcd, two databases with their hands and real keepers of the mandate, three observers and three arbiters that are State values.
// One step is a tenth of a second. What is said of it is a story; what must never be is counted.
type world struct {
	out io.Writer
	now time.Duration

	revision   int64
	failover   Read // its documents and revisions, without reports and requests
	reports    map[events.Region]Reported
	requests   []Requested
	etcdDown   bool
	cut        map[[2]events.Region]bool
	arbiters   map[events.Region]*mind
	places     map[events.Region]*place
	leader     events.Region
	term       int64
	vacant     time.Duration // since when the leader's lease is not renewed; 0: it is
	elected    bool          // by itself; else the story says who leads
	nameBroken bool
	address    string // what the name server has
	named      time.Duration
	resolved   string // what resolvers give

	onSwap func(events.Region, Swap) // nil: nobody looks

	violations []string
	highest    events.Epoch
}

// mind is one arbiter's judgement. While it is stopped nothing reaches it.
type mind struct {
	state   State
	stopped bool
	stale   *Read // what it read last
}

// place is a data region: its database, its hands and its keeper of the mandate.
type place struct {
	region   events.Region
	dead     bool // with everything in it
	crashed  bool // the database only
	red      bool // its gates
	blind    bool // nobody can read its gates
	unprobed bool // its observer is silent
	restarts bool // its arbiter says so
	mute     bool // its arbiter does not report

	keeper mandate.State
	opened bool
	yesAt  time.Duration // when anybody could commit last; -1 hour: never, or proven that not any more

	standby   bool
	flush     events.LSN
	heartbeat time.Duration // time of the newest one that the database shows
	behind    time.Duration // how far its replication hangs back
	timeline  int
	fencing   time.Duration // when a fence that was ordered will be done; 0: none
	receipt   *events.Receipt
	promotes  time.Duration // how long a promotion takes; negative: it is refused
	promising time.Duration // when the promotion under way will be done; 0: none
	promotion *state.Promotion
	rejoining time.Duration
	rejoined  *state.Rejoined
	noted     events.Epoch // the highest that its hands have noted
	number    int64
	rows      map[events.Region]int // its observer's failures in a row, by target
	seen      map[events.Region]int64
}

var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const never = -time.Hour

func testSettings(region events.Region) Settings {
	return Settings{
		Region: region, Observers: events.Regions, Shared: state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001},
		Validity: 5 * time.Second, Delta: 500 * time.Millisecond, Renew: 500 * time.Millisecond, Deadline: 400 * time.Millisecond,
		Every: 500 * time.Millisecond, Failures: 3, Window: 1500 * time.Millisecond,
		Restart: 3 * time.Second, Fresh: 2 * time.Second, GatesRed: 20 * time.Second, MaxLoss: 900 * time.Second, Cooldown: 2 * time.Minute,
		HandOver: 15 * time.Second, PromoteIn: 10 * time.Second, SwitchIn: 10 * time.Second, Names: true,
		SyncPatience: 3 * time.Second,
	}
}

func newWorld(out io.Writer, adjust func(*Settings)) *world {
	w := &world{
		out: out, now: time.Second, term: 1, leader: events.RegionC, elected: true, cut: map[[2]events.Region]bool{},
		reports: map[events.Region]Reported{}, arbiters: map[events.Region]*mind{}, places: map[events.Region]*place{},
	}
	for _, region := range events.Regions {
		settings := testSettings(region)
		if adjust != nil {
			adjust(&settings)
		}
		w.arbiters[region] = &mind{state: New(settings)}
		w.places[region] = &place{region: region, yesAt: never, timeline: 1, promotes: time.Second, rows: map[events.Region]int{}, seen: map[events.Region]int64{}}
	}
	for _, region := range events.DataRegions {
		p := w.places[region]
		p.standby = region == events.RegionB
		p.keeper = mandate.New(mandate.Settings{
			Region: region, First: events.RegionA, Incarnation: mandate.Incarnation{Folder: "f" + string(region), Process: "p1"},
			Validity: 5 * time.Second, Delta: 500 * time.Millisecond, Fence: 1500 * time.Millisecond, Renew: 500 * time.Millisecond,
			Look: 100 * time.Millisecond, Shared: state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001},
		})
		w.keep(p, mandate.Learned{Primary: !p.standby})
	}
	w.lead(events.RegionC)
	return w
}

func (w *world) instant() Instant { return Instant{Boot: w.now, Wall: began.Add(w.now)} }

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(w.out, "  %.1f "+format+"\n", append([]any{(w.now - time.Second).Seconds()}, args...)...)
}

func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf("%.1f: ", (w.now-time.Second).Seconds()) + fmt.Sprintf(format, args...)
	w.violations = append(w.violations, text)
}

func (w *world) linked(a, b events.Region) bool {
	return a == b || !w.cut[[2]events.Region{a, b}] && !w.cut[[2]events.Region{b, a}]
}

// reaches says whether a region gets an answer from etcd: it and another member, both alive, in touch.
func (w *world) reaches(from events.Region) bool {
	if w.etcdDown || w.places[from].dead {
		return false
	}
	members := 0
	for _, region := range events.Regions {
		if !w.places[region].dead && w.linked(from, region) {
			members++
		}
	}
	return members >= 2
}

// step lets a tenth of a second pass.
func (w *world) step() {
	w.now += 100 * time.Millisecond
	tenth := int(w.now / (100 * time.Millisecond))
	if w.now-w.named >= 700*time.Millisecond { // the name is kept for a while
		w.resolved = w.address
	}
	for n, region := range events.Regions {
		if p := w.places[region]; !p.dead && !p.unprobed && tenth%5 == n {
			w.observe(p)
		}
	}
	for _, region := range events.DataRegions {
		p := w.places[region]
		if p.dead {
			continue
		}
		if !w.arbiters[region].stopped {
			w.keep(p, mandate.Ticked{})
			w.handle(p)
			if tenth%5 == 3 && w.reaches(region) && !p.mute {
				w.report(p)
			}
		}
		w.replicate(p)
	}
	w.elect()
	for _, region := range events.Regions {
		every := 5
		if region == w.leader {
			every = 2
		}
		if tenth%every == 0 {
			w.judge(region)
		}
	}
	w.check()
}

// check counts what must never be.
func (w *world) check() {
	able := 0
	for _, region := range events.DataRegions {
		p := w.places[region]
		yes, _ := p.keeper.Answer().Yes(mandate.Instant(w.instant()))
		if yes && !p.dead && !w.arbiters[region].stopped && p.opened {
			p.yesAt = w.now
		}
		if p.dead {
			p.yesAt = never
		}
		if w.now-p.yesAt <= 1500*time.Millisecond { // F: what the dead man may take
			able++
		}
	}
	if able > 1 {
		w.violate("both regions can commit")
	}
	if f := w.failover.Failover; f != nil {
		if f.Epoch < w.highest {
			w.violate("the epoch went from %d to %d", w.highest, f.Epoch)
		}
		w.highest = max(w.highest, f.Epoch)
		if err := f.Validate(); err != nil {
			w.violate("the state does not hold together: %v", err)
		}
	}
}

// replicate moves the database on: a primary that may commit writes, a standby receives what its peer has.
func (w *world) replicate(p *place) {
	peer := w.places[p.region.Peer()]
	switch {
	case p.crashed:
	case !p.standby && w.now-p.yesAt < 200*time.Millisecond:
		p.flush, p.heartbeat = p.flush+100, w.now
	case p.standby && !peer.dead && !peer.crashed && !peer.standby && w.linked(p.region, peer.region) && p.timeline == peer.timeline:
		p.flush, p.heartbeat = peer.flush, peer.heartbeat-p.behind
	}
}

// observe is one round of a region's observer, and what comes of it at the arbiters.
func (w *world) observe(p *place) {
	for _, target := range events.DataRegions {
		q := w.places[target]
		reached := !q.dead && w.linked(p.region, target)
		p.seen[target]++
		report := events.HealthObserved{
			Observer: p.region, Incarnation: "i1", Number: p.seen[target], Target: target, ObservedAt: began.Add(w.now), Verdict: events.OutcomeOK,
			Checks: events.Checks{HTTP: &events.CheckResult{Outcome: events.OutcomeOK}},
			Gates:  &events.Gates{Healthy: events.OutcomeUnknown, Reason: "no answer"},
		}
		if p.region != events.RegionA { // that region's resolver does not work
			report.Resolved = w.resolved
		}
		if reached && !q.blind {
			zero, up := 0.0, true
			report.Gates = &events.Gates{Healthy: events.OutcomeOK, P95Seconds: &zero, ErrorRate: &zero, OdooUp: &up, ReplicationLag: &zero}
			if q.red {
				slow := 3.0
				report.Gates.Healthy, report.Gates.Reason, report.Gates.P95Seconds = events.OutcomeFailed, "odoo:p95_5m is 3", &slow
			}
		}
		if reached && !q.crashed {
			p.rows[target] = 0
			report.SuccessesInRow = 1
		} else {
			p.rows[target]++
			report.Verdict, report.FailuresInRow = events.OutcomeFailed, p.rows[target]
			report.Checks.HTTP = &events.CheckResult{Outcome: events.OutcomeFailed, Reason: "no answer"}
		}
		for _, arbiter := range events.Regions {
			if !w.places[arbiter].dead && w.linked(p.region, arbiter) {
				w.tell(arbiter, Heard{report})
			}
		}
	}
}

// tell gives an observation to an arbiter that runs.
func (w *world) tell(region events.Region, o Observation) {
	m := w.arbiters[region]
	if m.stopped {
		return
	}
	var actions []Action
	m.state, actions = Decide(m.state, o, w.instant())
	for _, action := range actions {
		w.act(region, action)
	}
}

// judge is one read of an arbiter and what it makes of it; the leader also works on the name.
func (w *world) judge(region events.Region) {
	if w.arbiters[region].stopped || !w.reaches(region) {
		return
	}
	read := w.failover
	read.Reports = map[events.Region]Reported{}
	for r, reported := range w.reports {
		read.Reports[r] = reported
	}
	read.Requests = slices.Clone(w.requests)
	read.Known = w.places[region].noted
	w.arbiters[region].stale = &read
	if to, epoch, ok := w.arbiters[region].state.Wanted(); ok {
		named := Named{Epoch: epoch, Name: "erp.ofitec.test", Address: "10.0.0." + string(to), TTL: 1, Provider: "rfc2136"}
		if w.nameBroken {
			named.Problem = "the name server does not answer"
		} else if w.address != named.Address {
			w.address, w.named = named.Address, w.now
		}
		w.tell(region, named)
	}
	w.tell(region, read)
}

// act is etcd: it takes an action of this term over this revision, or nothing.
func (w *world) act(region events.Region, action Action) {
	switch a := action.(type) {
	case Ignored:
		w.say("%s ignores an observation of %s: %s", region, a.Observer, a.Reason)
	case Reply:
		if a.Term != w.term || region != w.leader {
			w.say("%s answers in a term that is over: refused", region)
			return
		}
		w.reply(region, a)
	case Swap:
		if a.Term != w.term || region != w.leader {
			w.say("%s would write in a term that is over (%s): refused", region, a.Why)
			return
		}
		if a.Over != w.failover.FailoverRevision || a.Mandate != 0 && a.Mandate != w.failover.MandateRevision {
			w.say("%s: %s: conflict", region, a.Why)
			return
		}
		w.swap(region, a)
	}
}

func (w *world) reply(region events.Region, a Reply) {
	for n, r := range w.requests {
		if r.ID == a.ID && r.Revision == a.Revision {
			w.revision++
			w.requests[n] = Requested{ID: a.ID, Request: a.Request, Revision: w.revision}
			verdict := "refused"
			if a.Request.Answer.Accepted {
				verdict = "accepted"
			}
			w.say("%s answers %s: %s, %s", region, a.ID, verdict, a.Request.Answer.Reason)
		}
	}
}

func (w *world) swap(region events.Region, a Swap) {
	if w.onSwap != nil {
		w.onSwap(region, a)
	}
	was, next := w.failover.Failover, a.Next
	w.revision++
	w.failover.Failover, w.failover.FailoverRevision = &next, w.revision
	if a.Active != "" {
		w.failover.Active = strings.ToUpper(string(a.Active))
	}
	w.say("%s: %s", region, a.Why)
	if next.Epoch != was.Epoch || next.Phase != was.Phase {
		w.say("   epoch %d, active %s, phase %s", next.Epoch, next.Active, next.Phase)
	}
	for _, announcement := range a.Announce {
		if _, err := events.New(events.Origin{Region: region, Service: events.ServiceArbiter}, began.Add(w.now), announcement.Payload); err != nil {
			w.violate("an event does not hold together: %v", err)
		}
		w.say("   %s", tellEvent(announcement.Payload))
	}
	if a.Reply != nil {
		w.reply(region, *a.Reply)
	}
	if next.Phase == state.PhasePromoted && was.Phase != state.PhasePromoted && w.now-w.places[next.Intent.From].yesAt <= 1500*time.Millisecond {
		w.violate("region %s is granted the mandate while region %s can commit", next.Active, next.Intent.From)
	}
}

// elect gives the lead to the first arbiter that can have it, c before the others and the active one last, when the leader's lease is over.
func (w *world) elect() {
	if w.leader != "" && !w.arbiters[w.leader].stopped && w.reaches(w.leader) {
		w.vacant = 0
		return
	}
	if w.vacant == 0 {
		w.vacant = w.now
	}
	if w.now-w.vacant < 2*time.Second || !w.elected {
		return
	}
	order := []events.Region{events.RegionC, events.RegionB, events.RegionA}
	if f := w.failover.Failover; f != nil && f.Active == events.RegionB {
		order = []events.Region{events.RegionC, events.RegionA, events.RegionB}
	}
	for _, region := range order {
		if region != w.leader && !w.arbiters[region].stopped && w.reaches(region) {
			w.lead(region)
			return
		}
	}
}

func (w *world) lead(region events.Region) {
	if old := w.leader; old != "" && old != region {
		w.tell(old, Deposed{})
	}
	w.leader, w.vacant = region, 0
	w.term++
	w.say("%s leads, term %d", region, w.term)
	w.tell(region, Led{Term: w.term})
}
