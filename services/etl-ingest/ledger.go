package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// states is where the state of each dataset is kept. Changes are compare-and-swaps and may be repeated.
type states interface {
	Get(ctx context.Context, dataset string) (extract.State, error)
	Advance(ctx context.Context, dataset string, r extract.Recorded) (extract.State, error)
	Foresee(ctx context.Context, dataset string, pages []extract.Seen) error
}

// ledger writes down what was received: record, announcement, cursor, strictly in this order and one record after the other. A crash leaves at most records at the
// manifest's end that are not announced; settle announces them, here or in the other region, before anything else is recorded. So the cursor
// never moves for what nobody was told, and every record but the last few is known to be announced. It is safe for concurrent use.
type ledger struct {
	chain   *manifest.Chain
	states  states
	bus     bus.Sender
	root    string // URL of the raw store
	region  events.Region
	metrics *metrics
	log     *slog.Logger

	mu        sync.Mutex
	announced int64 // every record up to this one is
}

// publishWait is the pause between two attempts to publish; lostBus is when a record is left to settle.
const (
	publishAttempt = 10 * time.Second
	publishWait    = time.Second
	lostBus        = time.Minute
	appendAttempts = 5
)

// settle announces what a crash, here or elsewhere, has left unannounced. datasets are those whose states are asked how far announcing has come.
func (l *ledger) settle(ctx context.Context, datasets []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, dataset := range datasets {
		state, err := l.states.Get(ctx, dataset)
		if err != nil {
			return err
		}
		l.announced = max(l.announced, state.Sequence)
	}
	return l.settleLocked(ctx)
}

func (l *ledger) settleLocked(ctx context.Context) error {
	head, err := l.chain.Head(ctx)
	if err != nil {
		return err
	}
	if head < l.announced {
		return fmt.Errorf("settle manifest: %w: it ends at %d, but record %d was announced: this is not the store that was written to", manifest.ErrBroken, head, l.announced)
	}
	for sequence := l.announced + 1; sequence <= head; sequence++ {
		r, _, found, err := l.chain.Get(ctx, sequence)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("settle manifest: %w: there is no record %d of %d", manifest.ErrBroken, sequence, head)
		}
		l.log.InfoContext(ctx, "announcing a record that was left", "sequence", sequence, "dataset", r.Dataset)
		if _, err := l.announce(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// commit records, announces and moves the cursor. The raw file is durable by now. Once the record is written, the rest happens even if this process does not live to do it.
func (l *ledger) commit(ctx context.Context, r manifest.Record, options ...events.Option) (extract.State, manifest.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for attempt := 1; ; attempt++ {
		if err := l.settleLocked(ctx); err != nil {
			return extract.State{}, r, storageFailure("read the manifest", err)
		}
		written, err := l.chain.Append(ctx, r, l.complete(options...))
		if errors.Is(err, manifest.ErrExists) && attempt < appendAttempts {
			continue
		}
		if errors.Is(err, manifest.ErrLaterEpoch) {
			return extract.State{}, r, &extract.PullError{Code: extract.CodeFenced, Reason: "another region has taken over", Cause: err}
		}
		if err != nil {
			return extract.State{}, r, storageFailure("write the manifest", err)
		}
		ctx, cancel := withGrace(ctx, publishAttempt/2)
		defer cancel()
		state, err := l.announce(ctx, written)
		return state, written, err
	}
}

// withGrace lets what has begun go on for a while after ctx ends: a record that is written is better announced now than found later.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

// complete gives a record what depends on its number. Clock and number make the batch unique within the dataset. A record that could not be announced is
// refused: in the manifest it would be in everybody's way. What caused it stands in the record, so that whoever announces it after a crash says so, too.
func (l *ledger) complete(options ...events.Option) func(*manifest.Record) error {
	return func(r *manifest.Record) error {
		r.Batch = fmt.Sprintf("%s-%06d", r.AsOf.SourceClock.UTC().Format("20060102T150405Z"), r.Sequence)
		r.EventID = events.ID(r.Ready(l.root))
		r.EventTime = time.Now().UTC()
		event, err := events.New(events.Origin{Region: l.region, Service: name}, r.EventTime, r.Ready(l.root), options...)
		if err == nil && event.CausationID != event.MsgID() {
			r.Correlation, r.Causation = event.CorrelationID, event.CausationID
		}
		return err
	}
}

// announce publishes a record's event until it is acknowledged, and then moves the cursor. It may be repeated.
func (l *ledger) announce(ctx context.Context, r manifest.Record) (extract.State, error) {
	var options []events.Option
	if r.Causation != "" {
		options = append(options, events.Correlated(r.Correlation, r.Causation))
	}
	event, err := events.New(events.Origin{Region: l.region, Service: name}, r.EventTime, r.Ready(l.root), options...)
	if err != nil {
		return extract.State{}, fmt.Errorf("announce record %d: %w", r.Sequence, err)
	}
	if err := l.publish(ctx, event); err != nil {
		return extract.State{}, &extract.PullError{Code: extract.CodeBus, Reason: "announce the raw file", Cause: err}
	}
	state, err := l.states.Advance(ctx, r.Dataset, extract.Recorded{Sequence: r.Sequence, At: r.At, SHA256: r.SHA256, Schema: r.Schema, AsOf: r.AsOf, To: r.To})
	if err != nil {
		return state, &extract.PullError{Code: extract.CodeBus, Reason: "move the cursor", Cause: err}
	}
	l.announced = max(l.announced, r.Sequence)
	l.metrics.sequence.Set(float64(l.announced))
	if state.Cursor != nil {
		l.metrics.cursor.WithLabelValues(r.Dataset).Set(float64(state.Cursor.WriteDate.UnixMicro()) / 1e6)
	}
	l.metrics.fresh.WithLabelValues(r.Dataset).Set(float64(state.Clock.UnixMicro()) / 1e6)
	return state, nil
}

// publish gives the bus a minute; what it does not take by then waits in the manifest.
func (l *ledger) publish(ctx context.Context, event events.Event) error {
	until := time.Now().Add(lostBus)
	for {
		attempt, cancel := context.WithTimeout(ctx, publishAttempt)
		_, err := l.bus.Publish(attempt, event)
		cancel()
		if err == nil || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(publishWait):
		}
	}
}

func storageFailure(reason string, err error) error {
	var known *extract.PullError
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return &extract.PullError{Code: extract.CodeStorage, Reason: reason, Cause: err}
}
