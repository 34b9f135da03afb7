package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

// observer looks at one region, round after round. The rounds of different regions know nothing of each other.
type observer struct {
	interval, timeout time.Duration
	looks             map[observation.Kind]look
	busy              map[observation.Kind]*atomic.Bool
	state             observation.State
	book              *book
	troubles          *troubles
	metrics           *metrics
	last              atomic.Int64 // end of the last round, nanoseconds since 1970
}

func newObserver(c *Config, target events.Region, looks map[observation.Kind]look, b *book, m *metrics) *observer {
	o := &observer{
		interval: c.Interval, timeout: c.Timeout, looks: looks, busy: map[observation.Kind]*atomic.Bool{}, book: b, metrics: m, troubles: newTroubles(target, b.log, time.Now()),
		state: observation.State{Observer: events.Region(c.Region), Incarnation: b.incarnation, Target: target},
	}
	for kind := range looks {
		o.busy[kind] = &atomic.Bool{}
	}
	return o
}

// run makes a round every interval until ctx ends. A round takes less than an interval, so that two never meet; a beat that was missed because
// this process did not run is not made up for.
func (o *observer) run(ctx context.Context) error {
	ticker := time.NewTicker(o.interval)
	defer ticker.Stop()
	for {
		results := o.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var seen events.HealthObserved
		o.state, seen = o.book.enter(o.state, observation.Round{Deadline: o.timeout, Results: results})
		o.troubles.note(seen, time.Now())
		o.metrics.clock(o.state.Target, results[observation.Postgres].Database)
		o.last.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

type answer struct {
	kind   observation.Kind
	result observation.Result
}

// round makes all checks at once. What has not returned shortly behind the deadline is left behind, and not begun again before it has.
func (o *observer) round(ctx context.Context) map[observation.Kind]observation.Result {
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	answers := make(chan answer, len(o.looks)) // nobody waits for a reader
	results, waiting := map[observation.Kind]observation.Result{}, 0
	for kind, look := range o.looks {
		results[kind] = observation.Unknown("the check has not ended in time")
		if !o.busy[kind].CompareAndSwap(false, true) {
			continue
		}
		waiting++
		go func() {
			defer o.busy[kind].Store(false)
			began := time.Now()
			result := look(limited)
			result.Took = time.Since(began)
			answers <- answer{kind, result}
		}()
	}
	patience := time.NewTimer((o.timeout + o.interval) / 2)
	defer patience.Stop()
	for ; waiting > 0; waiting-- {
		select {
		case a := <-answers:
			results[a.kind] = a.result
			o.metrics.checked(o.state.Target, a.kind, a.result)
		case <-patience.C:
			o.metrics.abandoned.WithLabelValues(string(o.state.Target)).Add(float64(waiting))
			return results
		}
	}
	return results
}

// current says why this observer is not at work, or nil.
func (o *observer) current(now time.Time) error {
	last := o.last.Load()
	if last == 0 {
		return fmt.Errorf("region %s has not been observed yet", o.state.Target)
	}
	if age := now.Sub(time.Unix(0, last)); age > 10*o.interval {
		return fmt.Errorf("region %s was observed last %s ago", o.state.Target, age.Round(time.Millisecond))
	}
	return nil
}

// book gives each observation of this incarnation its number and hands it on, in the order of the numbers.
type book struct {
	origin      events.Origin
	incarnation string
	offer       func(events.Event)
	metrics     *metrics
	log         *slog.Logger

	mu     sync.Mutex
	number int64
}

func newBook(region string, offer func(events.Event), m *metrics, log *slog.Logger) *book {
	origin := events.Origin{Region: events.Region(region), Service: name}
	return &book{origin: origin, incarnation: time.Now().UTC().Format("20060102T150405Z-") + rand.Text()[:8], offer: offer, metrics: m, log: log}
}

func (b *book) enter(s observation.State, round observation.Round) (observation.State, events.HealthObserved) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	round.Number = b.number
	now := time.Now()
	next, seen := observation.Decide(s, round, now)
	b.publish(seen.Health, now)
	if seen.Replication != nil {
		b.publish(*seen.Replication, now)
	}
	b.metrics.observed(seen.Health)
	return next, seen.Health
}

func (b *book) publish(payload events.Payload, now time.Time) {
	event, err := events.New(b.origin, now, payload)
	if err != nil {
		b.metrics.tally(payload.Type(), "invalid")
		b.log.Error("observation is no event", "error", err)
		return
	}
	b.offer(event)
}
