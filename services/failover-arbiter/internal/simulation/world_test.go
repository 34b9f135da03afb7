package simulation

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// began is the wall clock's time at the true time zero.
var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// profile are the numbers that everything here runs on: those of the stack.
var profile = timing.Local()

// world is all regions at play, in true time, which none of them knows.
type world struct {
	seed    uint64
	chance  *rand.Rand
	removed removal
	now     time.Duration
	queue   queue
	order   int64
	steps   int

	regions, data []events.Region
	machines      map[events.Region]*machine
	list          []*machine // in the order of regions
	holders       []*machine // those with data
	priority      map[events.Region]int
	store         *store
	name          authority
	cut           map[[2]events.Region]bool // from, to
	slow          map[[2]events.Region]time.Duration
	loss          float64 // of a message
	busDelay      time.Duration
	branches      int  // of WAL, so that no two histories look the same
	jumped        bool // a clock was set: what is counted on wall clocks is not held to its length

	story      *strings.Builder // nil: nobody reads it
	law        law
	violations []violation
	tally      tally
}

// violation is what must never be.
type violation struct {
	invariant string
	at        time.Duration
	text      string
}

func (v violation) String() string {
	return fmt.Sprintf("%s at %.2f s: %s", v.invariant, v.at.Seconds(), v.text)
}

// tally says how much a life has shown.
type tally struct {
	failovers, aborts, holds, switchovers int
	lost                                  time.Duration // the most that a failover lost
}

// event is something that happens at a time.
type event struct {
	at    time.Duration
	order int64
	do    func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// newWorld makes three regions, two of them with data; one life in four has five regions, three with data and priorities, which the stack does not.
func newWorld(seed uint64, removed removal, told bool) *world {
	w := &world{
		seed: seed, chance: rand.New(rand.NewPCG(seed, 4)), removed: removed, machines: map[events.Region]*machine{},
		cut: map[[2]events.Region]bool{}, slow: map[[2]events.Region]time.Duration{},
		regions: events.Regions, data: events.DataRegions, priority: map[events.Region]int{},
	}
	if told {
		w.story = &strings.Builder{}
	}
	if wide := seed%4 == 3; wide && !removed.narrow {
		w.regions, w.data = []events.Region{"a", "b", "c", "d", "e"}, []events.Region{"a", "b", "d"}
		for _, region := range w.data[1:] {
			w.priority[region] = w.chance.IntN(3)
		}
	}
	w.store = newStore(w)
	w.name = authority{region: "a", epoch: 1, before: "a"}
	w.law = law{fenced: map[events.Region]bool{}, sure: map[sight]time.Duration{}}
	for _, region := range w.regions {
		m := newMachine(w, region)
		w.machines[region] = m
		w.list = append(w.list, m)
		if m.db != nil {
			w.holders = append(w.holders, m)
		}
	}
	for _, m := range w.list {
		m.boot()
	}
	return w
}

// at lets something happen later.
func (w *world) at(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, event{at: w.now + max(d, 0), order: w.order, do: do})
}

// until plays to a moment, or to the first violation.
func (w *world) until(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end && len(w.violations) == 0 {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		w.steps++
		w.check()
	}
	w.now = max(w.now, end)
}

func (w *world) say(format string, args ...any) {
	if w.story != nil {
		fmt.Fprintf(w.story, "%8.2f  "+format+"\n", append([]any{w.now.Seconds()}, args...)...)
	}
}

func (w *world) violate(invariant, format string, args ...any) {
	v := violation{invariant, w.now, fmt.Sprintf(format, args...)}
	w.say("VIOLATION %s", v)
	w.violations = append(w.violations, v)
}

// between is a time by chance.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.chance.Int64N(int64(most-least)+1))
}

// linked says whether messages pass from a region to another one.
func (w *world) linked(from, to events.Region) bool {
	return from == to || !w.cut[[2]events.Region{from, to}]
}

// talk says whether two regions can ask and answer each other.
func (w *world) talk(a, b events.Region) bool { return w.linked(a, b) && w.linked(b, a) }

// delay is what a message takes from a region to another one.
func (w *world) delay(from, to events.Region) time.Duration {
	if from == to {
		return w.between(50*time.Microsecond, time.Millisecond)
	}
	d := w.between(time.Millisecond, 8*time.Millisecond)
	if s := w.slow[[2]events.Region{from, to}]; s > 0 {
		d += w.between(0, s)
	}
	return d
}

// lost says whether a message does not arrive.
func (w *world) lost(from, to events.Region) bool {
	return !w.linked(from, to) || from != to && w.loss > 0 && w.chance.Float64() < w.loss
}
