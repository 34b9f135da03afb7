package simulation

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// machine is a region: its two clocks, its observer and its arbiter, and where there is data a database, hands and a proxy.
type machine struct {
	w      *world
	region events.Region

	drift     float64       // by how much its boot clock is too fast
	uptime    time.Duration // of the boot clock at true time zero
	suspended time.Duration // for how long it stood still
	skew      time.Duration // by how much its wall clock is ahead

	dead, frozen bool
	woken        time.Duration // when the whole region went on after it had stood still
	frozenAt     time.Duration
	committed    time.Duration // when its newest commit was made, but for those between waking and being asked

	life     int  // of the arbiter's process
	running  bool // it has one
	stopped  bool // by SIGSTOP
	deferred []func()

	mind   failover.State
	term   int64         // under which it believes that it leads
	leased time.Duration // its own lease ends then, on the boot clock
	keeper mandate.State

	numbers map[events.Region]int64 // of its observations
	failing map[events.Region]int   // in a row
	eyes    int                     // incarnation of its observer
	mute    bool                    // its observer is silent
	forged  int64                   // numbers that a removed rule was given
	noted   events.Epoch            // the epoch file

	*hands
	db *database
}

func newMachine(w *world, region events.Region) *machine {
	m := &machine{
		w: w, region: region, drift: (w.chance.Float64() - 0.5) * profile.Drift, uptime: w.between(time.Minute, time.Hour),
		skew: w.between(-profile.Delta/10, profile.Delta/10), numbers: map[events.Region]int64{}, failing: map[events.Region]int{}, woken: -time.Hour,
	}
	for _, holder := range w.data {
		if region == holder {
			m.db = &database{running: true, standby: region != "a", timeline: 1, barred: true}
		}
	}
	m.every(profile.ProbeEvery, func() bool { return true }, m.observe)
	if m.db != nil {
		m.every(50*time.Millisecond, func() bool { return true }, m.write)
		m.every(100*time.Millisecond, func() bool { return true }, m.replicate)
		m.checkProxy()
	}
	return m
}

// silent says whether nothing comes from the machine.
func (m *machine) silent() bool { return m.dead || m.frozen }

// awake says whether its arbiter works.
func (m *machine) awake() bool { return m.running && !m.stopped && !m.silent() }

func (m *machine) incarnation() string { return fmt.Sprintf("f%s.p%d", m.region, m.life) }

// clock reads both clocks. They never go backwards for a process, since a boot clock does not.
func (m *machine) clock() mandate.Instant {
	ran := m.w.now - m.suspended
	boot := m.uptime + ran + time.Duration(float64(ran)*m.drift)
	wall := began.Add(m.w.now + m.skew)
	if m.w.removed.oneClock { // what happened to the other clock is not seen
		wall = began.Add(boot - m.uptime)
	}
	return mandate.Instant{Boot: boot, Wall: wall}
}

func (m *machine) moment() failover.Instant { return failover.Instant(m.clock()) }

// every lets a part of the machine work at intervals while the machine does.
func (m *machine) every(d time.Duration, also func() bool, do func()) {
	var again func()
	again = func() {
		if !m.silent() && also() {
			do()
		}
		m.w.at(d-d/10+m.w.between(0, d/5), again)
	}
	m.w.at(m.w.between(0, d), again)
}

// later lets the arbiter's process do something, unless it ends before. While it is stopped it waits.
func (m *machine) later(d time.Duration, do func()) {
	life := m.life
	var due func()
	due = func() {
		switch {
		case m.life != life || !m.running || m.dead:
		case m.stopped || m.frozen:
			m.deferred = append(m.deferred, due)
		default:
			do()
		}
	}
	m.w.at(d, due)
}

// loop is a loop of the arbiter's process.
func (m *machine) loop(d time.Duration, do func()) {
	var again func()
	again = func() {
		do()
		m.later(d-d/20+m.w.between(0, d/10), again)
	}
	m.later(m.w.between(0, d), again)
}

// goOn lets what has waited happen, in its order.
func (m *machine) goOn() {
	waiting := m.deferred
	m.deferred = nil
	for n, do := range waiting {
		m.w.at(time.Duration(n)*10*time.Microsecond, do)
	}
}

// ask sends a request to etcd. The effect happens there, once or, as a copy, twice; the answer is told of it, or that none came in time.
func (m *machine) ask(within time.Duration, effect func() any, answer func(result any, ok bool)) {
	w, told, life := m.w, false, m.life
	tell := func(result any, ok bool) {
		if !told {
			told = true
			answer(result, ok)
		}
	}
	m.later(within, func() { tell(nil, false) })
	via := w.regions[w.chance.IntN(len(w.regions))]
	there := w.delay(m.region, via) + w.delay(via, w.store.raft)
	arrive := func(first bool) func() {
		return func() {
			if m.dead || !w.store.serves(m.region) {
				return
			}
			w.store.expire()
			result := effect()
			if !first || w.loss > 0 && w.chance.Float64() < w.loss {
				return
			}
			w.at(w.delay(w.store.raft, m.region), func() {
				if m.life == life && w.store.serves(m.region) { // an answer finds the process that asked, or nobody
					m.later(0, func() { tell(result, true) })
				}
			})
		}
	}
	w.at(there, arrive(true))
	if w.chance.IntN(20) == 0 { // another member got it too, late
		w.at(there+w.between(0, 2*time.Second), arrive(false))
	}
}

// boot starts the arbiter's process: it has nothing that an earlier one had, but for the files.
func (m *machine) boot() {
	w := m.w
	m.life++
	m.running, m.stopped, m.deferred, m.term = true, false, nil, 0
	m.mind = failover.New(w.settings(m.region))
	m.look()
	m.loop(profile.Tick/2, m.campaign)
	m.loop(profile.Tick, m.followName)
	if m.db == nil {
		return
	}
	settings := mandate.Settings{
		Region: m.region, First: "a", Incarnation: mandate.Incarnation{Folder: "f" + string(m.region), Process: fmt.Sprintf("p%d", m.life)},
		Validity: profile.Mandate, Delta: profile.Delta, Fence: profile.Fence, Renew: profile.Renew, Look: profile.SeenLatency, Shared: profile.Shared(),
	}
	if w.removed.keeping != nil {
		w.removed.keeping(&settings)
	}
	m.keeper = mandate.New(settings)
	m.hands = newHands(m)
	m.keep(mandate.Learned{Epoch: m.noted})
	m.loop(profile.Tick/2, func() { m.keep(mandate.Ticked{}) })
	m.loop(profile.Tick, m.round)
	m.loop(profile.Renew, m.report)
}

// end kills the arbiter's process.
func (m *machine) end() {
	if m.running {
		m.running, m.deferred, m.term = false, nil, 0
		m.life++
	}
}

// settings are what the arbiters decide by; the times that would make a life long are shorter.
func (w *world) settings(region events.Region) failover.Settings {
	p := profile
	settings := failover.Settings{
		Region: region, Observers: w.regions, Data: w.data, Priority: w.priority, Shared: p.Shared(),
		Validity: p.Mandate, Delta: p.Delta, Renew: p.Renew, Deadline: p.RenewDeadline, Every: p.ProbeEvery, Failures: p.ProbeFailures, Window: p.ProbeWindow,
		Restart: p.PostgresRestart, Fresh: 2*p.Renew + 2*p.RenewDeadline + p.SeenLatency, GatesRed: 8 * time.Second, MaxLoss: maxLoss, Cooldown: cooldown,
		HandOver: p.Mandate + 5*p.Promote, PromoteIn: 5 * p.Promote, SwitchIn: 5*p.DNSUpdate + 2*p.Mandate, Names: true,
	}
	if w.removed.settings != nil {
		w.removed.settings(&settings)
	}
	return settings
}

const (
	cooldown = 20 * time.Second
	maxLoss  = 10 * time.Second
)

// tell gives an observation to the arbiter's decisions, and carries out what they want; done is told when that is over.
func (m *machine) tell(o failover.Observation, done func()) {
	var actions []failover.Action
	m.mind, actions = failover.Decide(m.mind, o, m.moment())
	for _, action := range actions {
		switch a := action.(type) {
		case failover.Swap:
			if m.w.removed.swap != nil {
				m.w.removed.swap(&a)
			}
			if m.term == 0 || a.Term != m.term {
				continue
			}
			pause := time.Duration(0)
			if m.w.chance.IntN(50) == 0 { // decided, and then not scheduled for a while
				pause = m.w.between(0, 3*time.Second)
			}
			m.later(pause, func() {
				m.ask(2*profile.RenewDeadline, func() any { return m.w.store.swap(m, a) }, func(any, bool) { done() })
			})
			return
		case failover.Reply:
			m.ask(2*profile.RenewDeadline, func() any { return a.Term == m.w.store.term && m.w.store.answer(a) }, func(any, bool) { done() })
			return
		}
	}
	if done != nil {
		m.later(m.pace(), done)
	}
}

// pace is the time until the next read.
func (m *machine) pace() time.Duration {
	switch f := m.mind.Status(m.moment()).Failover; {
	case f != nil && f.Phase != state.PhaseSteady:
		return profile.SeenLatency
	case m.mind.Alarm(m.moment()) > failover.Calm:
		return profile.Tick
	}
	return profile.Renew
}

// look reads, decides and writes, for ever.
func (m *machine) look() {
	m.ask(profile.RenewDeadline, func() any { return m.w.store.read() }, func(result any, ok bool) {
		read, _ := result.(failover.Read)
		if !ok {
			m.later(profile.Tick, m.look)
			return
		}
		if read.Failover != nil && m.db == nil {
			m.noted = max(m.noted, read.Failover.Epoch)
		}
		read.Known = m.noted
		if m.w.removed.read != nil && read.Failover != nil {
			m.w.removed.read(&read)
		}
		m.tell(read, m.look)
	})
}

// campaign leads whenever it can.
func (m *machine) campaign() {
	s, sent := m.w.store, m.clock().Boot
	if m.term != 0 && sent >= m.leased {
		m.depose()
	}
	term, active := m.term, s.failover != nil && s.failover.Active == m.region
	wait := profile.LeaderTTL / 4
	switch {
	case active:
		wait = profile.LeaderTTL / 2
	case m.db == nil:
		wait = 0
	}
	m.ask(profile.RenewDeadline, func() any {
		switch {
		case term != 0 && s.term == term:
			s.lease = m.w.now + profile.LeaderTTL
			return term
		case term != 0 || s.term != 0 || m.w.now < s.vacantSince+wait:
			return int64(0)
		}
		s.term, s.holder, s.lease = s.next(), m.region, m.w.now+profile.LeaderTTL
		m.w.say("%s leads", m.region)
		return s.term
	}, func(result any, ok bool) {
		won, _ := result.(int64)
		switch {
		case !ok || term != m.term:
		case won == 0 && term != 0:
			m.depose()
		case won != 0:
			m.leased = sent + profile.LeaderTTL
			if term == 0 && m.clock().Boot < m.leased {
				m.term = won
				m.tell(failover.Led{Term: won}, nil)
			}
		}
	})
}

func (m *machine) depose() {
	m.term = 0
	m.tell(failover.Deposed{}, nil)
}

// followName sets the name until the server agrees.
func (m *machine) followName() {
	region, epoch, ok := m.mind.Wanted()
	if !ok {
		return
	}
	w, life := m.w, m.life
	w.at(w.between(time.Millisecond, 20*time.Millisecond), func() {
		if m.silent() || m.life != life {
			return
		}
		problem := w.set(region, epoch)
		m.later(w.between(time.Millisecond, 20*time.Millisecond), func() {
			m.tell(failover.Named{Epoch: epoch, Name: "erp.ofitec.test", Address: string(w.name.region), TTL: 1, Provider: "rfc2136", Problem: problem}, nil)
		})
	})
}

// keep gives an observation to the keeper of the mandate and carries its orders out.
func (m *machine) keep(o mandate.Observation) {
	var actions []mandate.Action
	m.keeper, actions = mandate.Decide(m.keeper, o, m.clock())
	for _, action := range actions {
		sent := m.clock()
		answer := func(result any, ok bool) {
			if !ok {
				m.keep(mandate.Failed{Reason: "no answer"})
				return
			}
			m.keep(result.(mandate.Observation))
		}
		switch a := action.(type) {
		case mandate.Read:
			m.ask(profile.RenewDeadline, func() any { return m.w.store.seen() }, answer)
		case mandate.Take:
			m.ask(profile.RenewDeadline, func() any { return m.w.store.take(m, a, sent) }, answer)
		case mandate.Renew:
			m.ask(profile.RenewDeadline, func() any { return m.w.store.renew(m, a, sent) }, answer)
		case mandate.Open:
			m.open()
		case mandate.Close:
			m.close(a.Reason)
		}
	}
}

// observe is one round of the region's observer.
func (m *machine) observe() {
	if m.mute {
		return
	}
	w := m.w
	for _, holder := range w.holders {
		target := holder.region
		reached := !holder.silent() && w.talk(m.region, target)
		m.numbers[target]++
		report := events.HealthObserved{
			Observer: m.region, Incarnation: fmt.Sprintf("i%d", m.eyes), Number: m.numbers[target], Target: target, ObservedAt: m.clock().Wall, Verdict: events.OutcomeOK,
			Checks: well, Gates: &events.Gates{Healthy: events.OutcomeUnknown, Reason: "no answer"}, Resolved: string(w.resolve()),
		}
		if reached {
			report.Gates = holder.gates()
		}
		if reached && holder.db.up() {
			m.failing[target], report.SuccessesInRow = 0, 1
		} else {
			m.failing[target]++
			report.Verdict, report.FailuresInRow, report.Checks = events.OutcomeFailed, m.failing[target], unwell
		}
		if m.failing[target] >= profile.ProbeFailures {
			w.law.sure[sight{m.region, target}] = w.now
		}
		for _, arbiter := range w.list {
			m.publish(arbiter, report)
		}
	}
}

// publish brings an observation to an arbiter, sometimes late or twice.
func (m *machine) publish(arbiter *machine, report events.HealthObserved) {
	w := m.w
	deliver := func() {
		if !arbiter.silent() {
			arbiter.later(0, func() {
				heard := report
				if w.removed.heard != nil {
					w.removed.heard(arbiter, &heard)
				}
				arbiter.tell(failover.Heard{Report: heard}, nil)
			})
		}
	}
	if w.lost(m.region, arbiter.region) {
		return
	}
	d := w.delay(m.region, arbiter.region)
	if w.busDelay > 0 {
		d += w.between(0, w.busDelay)
	}
	w.at(d, deliver)
	if w.chance.IntN(40) == 0 {
		w.at(d+w.between(0, 3*time.Second), deliver)
	}
}

var (
	well   = events.Checks{HTTP: &events.CheckResult{Outcome: events.OutcomeOK}}
	unwell = events.Checks{HTTP: &events.CheckResult{Outcome: events.OutcomeFailed, Reason: "no answer"}}
)
