package simulation

import (
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/duty"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// database is a region's PostgreSQL and the files that outlive every process.
type database struct {
	running, standby bool
	crashed          bool // and does not come back by itself
	restarting       bool // by its supervisor
	barred           bool // the fenced rules are in force
	stopped          bool // by the arbiter: the note that it leaves
	remaking         bool // a copy was begun: the marker

	timeline  int
	branch    int    // what the timeline is, in truth: two regions may both make a timeline 2
	forks     []fork // where the branches before ended
	flush     events.LSN
	heartbeat time.Time     // newest, on its primary's clock
	fresh     time.Duration // when the newest commit was made, in true time
	beat      int64         // its number
	beaten    time.Duration // when it was written, in true time

	hangs   bool // its replication
	red     bool // its gates
	up1     bool // the proxy's check succeeds
	misses  int
	enabled bool          // the arbiter has enabled the proxy's line
	linger  time.Duration // until when statements of ended sessions may run
	takes   time.Duration // a promotion; negative: it is refused
}

type fork struct {
	branch int
	lsn    events.LSN
}

func (d *database) up() bool { return d.running && !d.crashed && !d.remaking }

// behind says whether a database's WAL is a prefix of another one's.
func (d *database) behind(of *database) bool {
	if d.branch == of.branch {
		return d.flush <= of.flush
	}
	n := slices.IndexFunc(of.forks, func(f fork) bool { return f.branch == d.branch })
	return n >= 0 && d.flush <= of.forks[n].lsn
}

// follow takes over what another one has.
func (d *database) follow(of *database) {
	d.timeline, d.branch, d.forks, d.flush, d.heartbeat, d.fresh, d.beat = of.timeline, of.branch, of.forks, of.flush, of.heartbeat, of.fresh, of.beat
}

// able says whether anybody can commit in the region.
func (m *machine) able() bool {
	d := m.db
	if d == nil || m.silent() || !d.up() || d.standby {
		return false
	}
	return m.w.now < d.linger || !d.barred && d.up1 && d.enabled
}

// write is an application that never stops trying.
func (m *machine) write() {
	if m.able() {
		d := m.db
		d.flush, d.fresh = d.flush+100, m.w.now
		if m.w.now-m.woken >= profile.Fence+profile.CheckInter {
			m.committed = m.w.now
		}
		if m.w.now-d.beaten >= profile.Renew-profile.Renew/10 {
			d.beat, d.beaten, d.heartbeat = d.beat+1, m.w.now, m.clock().Wall
		}
	}
}

// source is whom a standby follows: the other region, or, where there are more, whoever is active as far as the arbiter knows.
func (m *machine) source() *machine {
	if len(m.w.data) == 2 {
		return m.w.machines[m.region.Peer()]
	}
	if m.hands != nil {
		if f := m.known(); f != nil && f.Active != m.region {
			return m.w.machines[f.Active]
		}
	}
	return nil
}

func (m *machine) replicate() {
	from := m.source()
	if from == nil || !m.db.standby || !m.db.up() || m.db.hangs || from.silent() || !from.db.up() || from.db.standby || !m.w.talk(m.region, from.region) || !m.db.behind(from.db) {
		return
	}
	m.db.follow(from.db)
}

func (m *machine) gates() *events.Gates {
	zero, up, slow := 0.0, true, 3.0
	gates := &events.Gates{Healthy: events.OutcomeOK, P95Seconds: &zero, ErrorRate: &zero, OdooUp: &up, ReplicationLag: &zero}
	if m.db.red {
		gates.Healthy, gates.Reason, gates.P95Seconds = events.OutcomeFailed, "slow", &slow
	}
	return gates
}

// checkProxy is the proxy's own health check of the arbiter: the dead man.
func (m *machine) checkProxy() {
	d := m.db
	next := profile.CheckInter
	switch {
	case m.silent():
	case m.awake() && m.hands != nil:
		yes, _ := m.keeper.Answer().Yes(m.clock())
		m.w.at(m.w.between(0, profile.CheckTimeout), func() { m.checked(yes) })
	default: // nobody answers
		next += profile.CheckConnect + profile.CheckTimeout
		m.w.at(profile.CheckConnect+profile.CheckTimeout, func() { m.checked(d.up1 && m.w.removed.noDeadMan) })
	}
	m.w.at(next, m.checkProxy)
}

func (m *machine) checked(yes bool) {
	d := m.db
	if m.silent() {
		return
	}
	if yes {
		d.misses, d.up1 = 0, true
		return
	}
	if d.misses++; d.misses >= profile.CheckFall && d.up1 {
		m.endSessions()
		d.up1 = false
	}
}

// endSessions ends all sessions at the proxy; what they run ends when PostgreSQL looks for its client.
func (m *machine) endSessions() {
	if d := m.db; !d.barred && d.up1 && d.enabled {
		d.linger = m.w.now + profile.ClientCheck
	}
}

// hands are what the arbiter's process remembers of its region.
type hands struct {
	ordered   bool // open
	refused   bool // after the fence a login was
	busy      bool // with the database
	receipt   *events.Receipt
	promotion *state.Promotion
	rejoined  *state.Rejoined
	remade    bool // the cluster is a standby's that this region has made
	told      mandate.Learned
	lonely    time.Duration // since when a standby does not follow
	number    int64
	fencing   int // counts the fences, so that an abandoned one ends nothing
	sawUp     bool
}

func newHands(m *machine) *hands {
	if m.db.enabled { // a process starts closed
		m.endSessions()
		m.db.enabled = false
	}
	return &hands{}
}

// known is the failover's state as the keeper has read it.
func (m *machine) known() *state.Failover {
	if seen := m.keeper.Seen(); seen != nil {
		return seen.Failover
	}
	return nil
}

func (m *machine) open() {
	m.w.say("%s opens", m.region)
	m.ordered = true
	m.fencing++
}

func (m *machine) close(reason string) {
	if m.ordered || m.db.enabled {
		m.w.say("%s closes: %s", m.region, reason)
	}
	m.ordered = false
	m.endSessions()
	m.db.enabled = false
}

// learn tells the keeper what file and database know of epochs.
func (m *machine) learn() {
	if now := (mandate.Learned{Epoch: m.noted, Primary: m.db.up() && !m.db.standby}); now != m.told {
		m.told = now
		m.keep(now)
	}
}

// round is one look at the database and what follows from it.
func (m *machine) round() {
	d := m.db
	if m.busy {
		return
	}
	m.sawUp = m.sawUp || d.up()
	m.learn()
	switch {
	case !d.up():
	case m.ordered && !d.standby:
		if f := m.known(); f != nil && f.Epoch >= m.noted {
			m.noted = f.Epoch
			d.barred, d.enabled, m.refused = false, true, false
			if !m.w.removed.keepsReceipt {
				m.receipt = nil
			}
		}
	case !d.standby && (!d.barred || !m.refused):
		m.fence()
		return
	}
	m.perform()
}

// fence puts applications out of the database and proves it.
func (m *machine) fence() {
	m.busy = true
	m.fencing++
	fence := m.fencing
	m.later(m.w.between(time.Second, profile.Fence), func() {
		m.busy = false
		if m.ordered || m.fencing != fence || !m.db.up() {
			return
		}
		m.db.barred, m.db.linger, m.refused = true, 0, true
		m.round()
	})
}

// perform does what the failover's state asks of the region.
func (m *machine) perform() {
	f, d := m.known(), m.db
	if f == nil {
		return
	}
	m.noted = max(m.noted, f.Epoch)
	m.witness(f)
	switch duty.Decide(duty.Situation{
		Region: m.region, Failover: f, Seen: m.noted, Promotion: m.promotion, Receipt: m.receipt, Rejoined: m.rejoined,
		Running: d.up(), Standby: d.up() && d.standby, Fenced: d.barred && m.refused,
		Cluster: true, Signal: d.standby, InProgress: d.remaking, Stopped: d.stopped,
	}) {
	case duty.Promote:
		m.promote(f.Intent)
	case duty.HandOver:
		m.handOver(f)
	case duty.Start:
		d.running, d.stopped = !d.crashed, false
	case duty.Rejoin:
		m.rejoin(f)
	case duty.Confirm:
		m.confirm(f)
	default:
		if d.up() && d.standby && f.Active != m.region {
			m.following(f)
		}
	}
}

// witness writes the receipt once the intent is seen.
func (m *machine) witness(f *state.Failover) {
	i := f.Intent
	if i == nil || i.From != m.region || f.Phase != state.PhaseIntent && f.Phase != state.PhaseFenced || i.Cause == events.CauseSwitchover || m.db.flush == 0 {
		return
	}
	if m.receipt != nil && m.receipt.Epoch == f.Epoch || m.ordered || !m.db.barred || !m.refused || !m.db.up() {
		return
	}
	m.receipt = &events.Receipt{Region: m.region, Epoch: f.Epoch, Counts: []int{1, 0, 0}, Refused: true, FlushLSN: m.db.flush, Timeline: m.db.timeline, WrittenAt: m.clock().Wall}
	m.report()
}

func (m *machine) promote(i *state.Intent) {
	d := m.db
	refuse := func(reason string) {
		m.promotion = &state.Promotion{Epoch: i.Epoch, Refused: reason, At: m.clock().Wall}
		m.report()
	}
	switch {
	case d.stopped:
		d.running, d.stopped = !d.crashed, false
		return
	case !d.up():
		return
	case d.takes < 0:
		refuse("the disk is full")
		return
	case !d.standby && i.From != m.region && m.noted != i.Epoch && !m.w.removed.promotesAnything:
		refuse("the database is a primary already")
		return
	case m.noted > i.Epoch:
		refuse("a later epoch was seen")
		return
	}
	m.noted = i.Epoch
	m.busy = true
	m.later(d.takes+m.w.between(100*time.Millisecond, 800*time.Millisecond), func() {
		m.busy = false
		if !d.up() {
			return
		}
		if d.standby {
			m.w.branches++
			d.forks = append(slices.Clone(d.forks), fork{d.branch, d.flush})
			d.standby, d.timeline, d.branch, d.barred = false, d.timeline+1, m.w.branches, true
			m.w.say("%s's database is promoted, under epoch %d", m.region, i.Epoch)
		}
		begins := events.LSN(1)
		if len(d.forks) > 0 {
			begins = max(d.forks[len(d.forks)-1].lsn, 1)
		}
		m.promotion = &state.Promotion{Epoch: i.Epoch, Done: true, Timeline: d.timeline, LSN: begins, At: m.clock().Wall}
		m.report()
	})
}

// handOver stops the fenced primary, so that a standby that is connected has all of it.
func (m *machine) handOver(f *state.Failover) {
	d := m.db
	m.busy, d.stopped = true, true
	m.later(m.w.between(200*time.Millisecond, time.Second), func() {
		m.busy = false
		if d.up() {
			d.flush += 10 // the shutdown checkpoint
			for _, holder := range m.w.holders {
				if holder.db.standby {
					holder.replicate()
				}
			}
			d.running = false
		}
		m.receipt = &events.Receipt{
			Region: m.region, Epoch: f.Epoch, Counts: []int{0, 0}, Stopped: true, Refused: true, FlushLSN: max(d.flush, 1), Timeline: d.timeline, WrittenAt: m.clock().Wall,
		}
		m.report()
	})
}

// rejoin makes a standby of the owner out of what is here, once the owner's database has answered.
func (m *machine) rejoin(f *state.Failover) {
	owner, d := m.w.machines[f.Active], m.db
	reached := func() bool {
		return !owner.silent() && owner.db.up() && !owner.db.standby && m.w.talk(m.region, owner.region)
	}
	if d.crashed || !reached() {
		return
	}
	m.busy, d.remaking, d.running, d.linger = true, true, false, 0
	m.later(m.w.between(time.Second, 4*time.Second), func() {
		m.busy = false
		if d.crashed || !reached() || !owner.able() { // a copy of what nobody may write to may be of another history
			return
		}
		d.follow(owner.db)
		d.standby, d.running, d.remaking, d.stopped, m.remade = true, true, false, false, true
		m.receipt = nil
	})
}

// confirm says that the region is a standby again, or makes it one.
func (m *machine) confirm(f *state.Failover) {
	owner, d := m.w.machines[f.Active], m.db
	if !d.up() || owner.silent() || !m.w.talk(m.region, owner.region) || !owner.db.up() || owner.db.standby {
		m.lonely = 0
		return
	}
	if d.behind(owner.db) && !d.hangs {
		m.lonely, m.remade = 0, false
		m.rejoined = &state.Rejoined{Epoch: f.Epoch, Manner: "rewound", Timeline: owner.db.timeline, ForkLSN: 1, At: m.clock().Wall}
		m.report()
		return
	}
	m.following(f)
}

// following replaces a standby that cannot follow the owner.
func (m *machine) following(f *state.Failover) {
	owner := m.w.machines[f.Active]
	if m.db.behind(owner.db) || owner.silent() || !owner.able() || !m.w.talk(m.region, owner.region) {
		m.lonely = 0
		return
	}
	if m.lonely == 0 {
		m.lonely = m.clock().Boot
	}
	if m.clock().Boot-m.lonely > 5*time.Second {
		m.rejoin(f)
	}
}

// report says how the region is.
func (m *machine) report() {
	d, at := m.db, m.db.heartbeat
	m.number++
	r := state.Report{
		Region: m.region, Incarnation: m.incarnation(), Number: m.number, At: m.clock().Wall, Receipt: m.receipt, Promotion: m.promotion, Rejoined: m.rejoined,
		Database: state.DatabaseReport{Condition: state.DatabasePrimary, Timeline: d.timeline, FlushLSN: d.flush, HeartbeatNumber: d.beat, HeartbeatAt: &at},
	}
	switch {
	case d.remaking:
		r.Database.Condition = state.DatabaseRejoining
	case d.restarting && m.sawUp:
		r.Database.Condition = state.DatabaseRestarting
	case !d.up():
		r.Database.Condition, r.Database.Reason = state.DatabaseDown, "it does not answer"
	case d.standby:
		r.Database.Condition, r.Database.Streaming = state.DatabaseStandby, true
	}
	m.ask(profile.RenewDeadline, func() any { m.w.store.report(r); return true }, func(any, bool) {})
}
