package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Entry is an event that waits in a store, encoded by events.Event.Encode.
type Entry struct {
	Key  string // the store's own name for it
	Data []byte
}

// Store holds the events that were decided together with an effect, in the effect's own transaction, until they are published.
// Its methods may be called while others add to it. Done on an entry that is no more is no error.
type Store interface {
	// Pending lists what waits, oldest first; a store may return the oldest part only, and is then a Counter.
	Pending(ctx context.Context) ([]Entry, error)
	// Done removes an entry that the stream has acknowledged.
	Done(ctx context.Context, entry Entry) error
}

// Counter is a Store that may hold more than Pending lists.
type Counter interface {
	Waiting(ctx context.Context) (int64, error)
}

// Sender publishes one event and waits for the acknowledgement. JetStream and Memory are ones.
type Sender interface {
	Publish(ctx context.Context, event events.Event) (Receipt, error)
}

var (
	_ Sender = (*JetStream)(nil)
	_ Sender = (*Memory)(nil)
)

// outboxBackoff is the delay after each failure in a row; the last one stays.
var outboxBackoff = []time.Duration{
	100 * time.Millisecond, // 0:00.1
	300 * time.Millisecond, // 0:00.4
	1 * time.Second,        // 0:01.4
	3 * time.Second,        // 0:04.4
	5 * time.Second,        // 0:09.4, then every 5 s
}

const (
	outboxInterval = 2 * time.Second // how often the store is looked at when nobody wakes the outbox
	outboxDeadline = 5 * time.Second // for one acknowledgement
)

// Outbox publishes what waits in a store, in order, until it is acknowledged. Two outboxes on one store are harmless: message ids are the same.
type Outbox struct {
	store   Store
	sender  Sender
	log     *slog.Logger
	metrics *Metrics
	wake    chan struct{} // never closed; holds one wish at most
}

// NewOutbox makes an outbox; log and metrics may be nil.
func NewOutbox(store Store, sender Sender, log *slog.Logger, metrics *Metrics) *Outbox {
	if log == nil {
		log = slog.Default()
	}
	return &Outbox{store: store, sender: sender, log: log, metrics: metrics, wake: make(chan struct{}, 1)}
}

// Wake makes Run look at the store now. It never blocks and may be called from anywhere.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run publishes until the context ends, and then returns nil. It never gives up.
func (o *Outbox) Run(ctx context.Context) error {
	failures := 0
	waits := &lasting{log: o.log, what: "outbox waits"}
	for {
		delay := outboxInterval
		if _, err := o.Drain(ctx); err != nil && ctx.Err() == nil {
			delay = outboxBackoff[min(failures, len(outboxBackoff)-1)]
			failures++
			waits.note(ctx, err, "failures", failures, "delay", delay.String())
		} else {
			failures = 0
			waits.note(ctx, nil)
		}
		timer := time.NewTimer(delay)
		wake := o.wake
		if failures > 0 {
			wake = nil // a wish does not shorten a back-off
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Drain publishes what waits now and returns how many events were acknowledged. It stops at the first that was not, so that the order holds;
// an entry that is no event can never be published, is reported, and holds up nobody.
func (o *Outbox) Drain(ctx context.Context) (int, error) {
	var broken []error
	done := 0
	for {
		entries, err := o.store.Pending(ctx)
		if err != nil {
			return done, fmt.Errorf("read outbox: %w", err)
		}
		o.metrics.outbox(o.count(ctx, len(entries)))
		progress := false
		broken = broken[:0]
		for _, entry := range entries {
			event, err := events.Decode(entry.Data)
			if err != nil {
				broken = append(broken, fmt.Errorf("read outbox entry %s: %w", entry.Key, err))
				continue
			}
			if err := o.send(ctx, event, entry); err != nil {
				return done, errors.Join(append(broken, err)...)
			}
			done++
			progress = true
		}
		if !progress {
			return done, errors.Join(broken...)
		}
	}
}

// count is how many events wait when some are listed. A store that cannot tell now will be asked again.
func (o *Outbox) count(ctx context.Context, listed int) int64 {
	counter, ok := o.store.(Counter)
	if !ok || listed == 0 {
		return int64(listed)
	}
	waiting, err := counter.Waiting(ctx)
	if err != nil {
		return int64(listed)
	}
	return max(waiting, int64(listed))
}

func (o *Outbox) send(ctx context.Context, event events.Event, entry Entry) error {
	ctx, cancel := context.WithTimeout(ctx, outboxDeadline)
	defer cancel()
	if _, err := o.sender.Publish(ctx, event); err != nil {
		return err
	}
	if err := o.store.Done(ctx, entry); err != nil {
		return fmt.Errorf("clear outbox entry %s: %w", entry.Key, err)
	}
	return nil
}
