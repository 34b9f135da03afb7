package simulation

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// fault is what chance can do; how often one comes is its weight.
type fault struct {
	name   string
	weight int
	do     func(w *world)
}

// faults are all of them. Most are followed by their end sooner or later, also by chance; calm ends all.
var faults = []fault{
	{"kill a region", 3, func(w *world) {
		m := w.holder()
		if down := w.silentRegions(); down == 0 {
			w.say("-- region %s dies", m.region)
			m.die()
		}
	}},
	{"kill the active region", 3, func(w *world) {
		if m := w.activeMachine(); m != nil && w.silentRegions() == 0 {
			w.say("-- region %s, which is active, dies", m.region)
			m.die()
		}
	}},
	{"revive", 6, func(w *world) {
		for _, m := range w.list {
			if m.dead {
				w.say("-- region %s comes back", m.region)
				m.revive()
			}
		}
	}},
	{"freeze a region", 2, func(w *world) {
		if m := w.any(); w.silentRegions() == 0 {
			w.say("-- region %s stands still", m.region)
			m.freeze(false)
		}
	}},
	{"suspend a region", 1, func(w *world) { // its boot clock stands still too
		if m := w.any(); w.silentRegions() == 0 {
			w.say("-- region %s is suspended", m.region)
			m.freeze(true)
		}
	}},
	{"stop an arbiter", 4, func(w *world) {
		m := w.any()
		w.say("-- the arbiter of %s is stopped", m.region)
		m.stopped = true
	}},
	{"stop the leader", 3, func(w *world) {
		if m := w.machines[w.store.holder]; m != nil {
			w.say("-- the arbiter of %s, which leads, is stopped", m.region)
			m.stopped = true
		}
	}},
	{"continue the arbiters", 9, func(w *world) {
		for _, m := range w.list {
			m.resume()
		}
	}},
	{"kill an arbiter", 4, func(w *world) {
		m := w.any()
		w.say("-- the arbiter of %s is killed", m.region)
		if m.frozen {
			return
		}
		m.end()
		var again func()
		again = func() {
			switch {
			case m.frozen:
				w.at(time.Second, again)
			case !m.running && !m.dead:
				m.boot()
			}
		}
		w.at(w.between(200*time.Millisecond, 3*time.Second), again)
	}},
	{"cut", 5, func(w *world) {
		a, b := w.any().region, w.any().region
		w.say("-- %s and %s are cut from each other", a, b)
		w.cut[[2]events.Region{a, b}], w.cut[[2]events.Region{b, a}] = true, true
	}},
	{"cut one way", 3, func(w *world) {
		a, b := w.any().region, w.any().region
		w.say("-- %s does not reach %s", a, b)
		w.cut[[2]events.Region{a, b}] = true
	}},
	{"isolate", 4, func(w *world) {
		m := w.any()
		w.say("-- %s is cut off", m.region)
		for _, other := range w.regions {
			w.cut[[2]events.Region{m.region, other}], w.cut[[2]events.Region{other, m.region}] = true, true
		}
	}},
	{"isolate the active region and then stop its arbiter", 2, func(w *world) {
		m := w.activeMachine()
		if m == nil || !m.awake() {
			return
		}
		w.say("-- %s, which is active, is cut off", m.region)
		for _, other := range w.regions {
			w.cut[[2]events.Region{m.region, other}], w.cut[[2]events.Region{other, m.region}] = true, true
		}
		w.at(w.between(profile.Mandate-profile.Fence-time.Second, profile.Mandate), func() {
			w.say("-- the arbiter of %s is stopped", m.region)
			m.stopped = true
		})
	}},
	{"heal", 9, func(w *world) { clear(w.cut); clear(w.slow); w.loss, w.busDelay = 0, 0 }},
	{"slow link", 3, func(w *world) {
		a, b := w.any().region, w.any().region
		w.slow[[2]events.Region{a, b}] = w.between(50*time.Millisecond, 800*time.Millisecond)
	}},
	{"loss", 2, func(w *world) { w.loss = w.chance.Float64() * 0.4 }},
	{"slow bus", 2, func(w *world) { w.busDelay = w.between(0, 4*time.Second) }},
	{"etcd away", 3, func(w *world) { w.say("-- etcd is away"); w.store.away = true }},
	{"etcd back", 7, func(w *world) { w.store.away = false }},
	{"etcd chooses a leader", 3, func(w *world) {
		w.store.raft = w.any().region
		w.store.chosen = w.now + w.between(time.Second, profile.EtcdGap)
	}},
	{"set a clock", 1, func(w *world) {
		m := w.any()
		m.skew += w.between(-30*time.Second, 30*time.Second)
		w.jumped = true
		w.say("-- the clock of %s is set to %s ahead", m.region, m.skew)
	}},
	{"set clocks right", 3, func(w *world) {
		for _, m := range w.list {
			m.skew = w.between(-profile.Delta/10, profile.Delta/10)
		}
	}},
	{"crash a database", 3, func(w *world) { d := w.holder().db; d.crashed = true }},
	{"restart a database", 4, func(w *world) {
		m := w.holder()
		m.db.restarting, m.db.crashed, m.db.linger = true, true, 0
		w.at(w.between(200*time.Millisecond, 5*time.Second), func() { m.db.restarting, m.db.crashed = false, false })
	}},
	{"databases back", 6, func(w *world) {
		for _, m := range w.holders {
			if !m.db.restarting {
				m.db.crashed = false
			}
		}
	}},
	{"replication hangs", 3, func(w *world) { w.holder().db.hangs = true }},
	{"replication goes on", 5, func(w *world) {
		for _, m := range w.holders {
			m.db.hangs = false
		}
	}},
	{"gates red", 3, func(w *world) { w.holder().db.red = true }},
	{"gates green", 5, func(w *world) {
		for _, m := range w.holders {
			m.db.red = false
		}
	}},
	{"promotions fail or take long", 3, func(w *world) {
		w.holder().db.takes = []time.Duration{-1, 4 * time.Second, 9 * time.Second, 12 * time.Second}[w.chance.IntN(4)]
	}},
	{"promotions work", 4, func(w *world) {
		for _, m := range w.holders {
			m.db.takes = 0
		}
	}},
	{"silence an observer", 2, func(w *world) { w.any().mute = true }},
	{"restart the observers", 4, func(w *world) {
		for _, m := range w.list {
			m.mute = false
		}
		m := w.any()
		m.eyes++
		clear(m.failing)
		clear(m.numbers)
	}},
	{"write the active region", 1, func(w *world) {
		if w.store.failover != nil {
			w.store.active = []string{"A", "B", "?"}[w.chance.IntN(3)]
		}
	}},
	{"name server away", 2, func(w *world) { w.name.away = true }},
	{"name server back", 4, func(w *world) { w.name.away = false }},
	{"switchover", 5, func(w *world) { w.request(state.Request{Verb: state.VerbSwitchover, To: w.holder().region}) }},
	{"override", 2, func(w *world) { w.request(state.Request{Verb: state.VerbOverride, To: w.holder().region}) }},
	{"acknowledge", 4, func(w *world) { w.request(state.Request{Verb: state.VerbAcknowledge}) }},
	{"pause", 1, func(w *world) {
		until := began.Add(w.now + w.between(3*time.Second, 20*time.Second))
		w.request(state.Request{Verb: state.VerbPause, Until: &until})
	}},
	{"resume", 2, func(w *world) { w.request(state.Request{Verb: state.VerbResume}) }},
}

func (w *world) any() *machine    { return w.list[w.chance.IntN(len(w.list))] }
func (w *world) holder() *machine { return w.holders[w.chance.IntN(len(w.holders))] }

func (w *world) activeMachine() *machine {
	if w.store.failover == nil {
		return nil
	}
	return w.machines[w.store.failover.Active]
}

func (w *world) silentRegions() int {
	n := 0
	for _, m := range w.list {
		if m.silent() {
			n++
		}
	}
	return n
}

// request asks as an operator does.
func (w *world) request(r state.Request) {
	s := w.store
	if s.failover == nil || !s.serves("c") && !s.serves("b") {
		return
	}
	r.Epoch = s.failover.Epoch
	r.Act = events.Act{Actor: "ana", Reason: "told to", Request: "r" + strconv.Itoa(len(s.requests)+1), At: began.Add(w.now)}
	s.requests = append(s.requests[:len(s.requests):len(s.requests)], failover.Requested{ID: r.Act.Request, Request: r, Revision: s.next()})
	w.say("-- an operator asks: %s %s", r.Verb, r.To)
}

// die is a region that goes with everything in it; what its disks hold stays.
func (m *machine) die() {
	m.end()
	m.dead, m.stopped = true, false
	if m.db != nil {
		m.db.up1, m.db.misses, m.db.linger, m.db.enabled, m.db.running = false, 0, 0, false, false
	}
}

// revive starts everything anew. A database starts fenced, and not while a copy was begun.
func (m *machine) revive() {
	m.dead = false
	m.eyes++
	clear(m.numbers)
	clear(m.failing)
	if m.db != nil {
		m.db.crashed, m.db.restarting, m.db.barred = false, false, true
		m.db.running = !m.db.remaking && !m.db.stopped
	}
	m.boot()
}

// freeze lets a whole region stand still for a while; suspended, its boot clock does too.
func (m *machine) freeze(suspended bool) {
	m.frozen, m.frozenAt = true, m.w.now
	m.w.at(m.w.between(500*time.Millisecond, 25*time.Second), func() { m.thaw(suspended) })
}

func (m *machine) thaw(suspended bool) {
	if !m.frozen {
		return
	}
	m.frozen = false
	stood := m.w.now - m.frozenAt
	if suspended {
		m.suspended += stood
	}
	if m.db != nil && m.db.linger > m.frozenAt { // a statement goes on where it was
		m.db.linger += stood
	}
	m.woken = m.w.now
	m.w.say("-- region %s goes on", m.region)
	if !m.stopped {
		m.goOn()
	}
}

func (m *machine) resume() {
	if m.stopped {
		m.stopped = false
		m.w.say("-- the arbiter of %s goes on", m.region)
		if !m.frozen {
			m.goOn()
		}
	}
}

// disturb lets chance pick a fault.
func (w *world) disturb() {
	total := 0
	for _, f := range faults {
		total += f.weight + w.removed.often[f.name]
	}
	pick := w.chance.IntN(total)
	for _, f := range faults {
		if pick -= f.weight + w.removed.often[f.name]; pick < 0 {
			f.do(w)
			return
		}
	}
}

// calm takes every fault away.
func (w *world) calm() {
	w.say("-- calm")
	clear(w.cut)
	clear(w.slow)
	w.loss, w.busDelay, w.store.away, w.name.away = 0, 0, false, false
	for _, m := range w.list {
		m.skew, m.mute = w.between(-profile.Delta/10, profile.Delta/10), false
		m.thaw(false)
		if d := m.db; d != nil {
			d.crashed, d.restarting, d.hangs, d.red, d.takes = false, false, false, false, 0
		}
		switch {
		case m.dead:
			m.revive()
		case !m.running:
			m.boot()
		}
		m.resume()
	}
	w.noteIll()
}

// live is a life: a quiet beginning, two minutes of faults, and calm until everything must be well or alarmed.
func live(seed uint64, removed removal, told bool) *world {
	w := newWorld(seed, removed, told)
	w.law.ill = map[events.Region]time.Duration{}
	w.until(8 * time.Second)
	for w.now < 128*time.Second && len(w.violations) == 0 {
		w.until(w.now + w.between(50*time.Millisecond, 4*time.Second))
		if w.chance.IntN(15) == 0 { // what was begun may be finished
			w.calm()
			w.until(w.now + w.between(0, 15*time.Second))
		}
		w.disturb()
		w.noteIll()
	}
	if len(w.violations) > 0 {
		return w
	}
	w.calm()
	w.until(w.now + settles)
	if f := w.store.failover; f == nil {
		w.violate(stuck, "nobody has ever held the mandate")
	} else if m := w.machines[f.Active]; len(w.violations) == 0 && f.Held == nil && (f.Phase != state.PhaseSteady || !m.able()) {
		w.violate(stuck, "%s after calm the phase is %s, region %s can commit: %v, and nobody is alarmed", settles, f.Phase, f.Active, m.able())
	}
	return w
}

// settles is how long after the last fault it may take until a region commits or an alarm stands: a hand-over, a promotion and a switch that all run into their deadlines, and a
// cooldown that was doubled three times.
const settles = 120 * time.Second

// noteIll remembers since when a region is seen to be ill, whatever made it so. It is looked at after each fault, so that what was well between two is noted well.
func (w *world) noteIll() {
	for _, m := range w.holders {
		if m.dead || m.db.red {
			if _, known := w.law.ill[m.region]; !known {
				w.law.ill[m.region] = w.now
			}
		} else {
			delete(w.law.ill, m.region)
		}
	}
}

func (w *world) epitaph() string {
	text := fmt.Sprintf("life %d, %d steps", w.seed, w.steps)
	for _, v := range w.violations {
		text += "\n" + v.String()
	}
	return text
}
