package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// handlers is how many announcements wait at the same time for one transaction: what is pending is drained so far into one micro-batch.
const handlers = 128

// quiet is how long a micro-batch waits for one more announcement.
const quiet = 100 * time.Millisecond

// waiter is an announcement that somebody waits for.
type waiter struct {
	batch.Announced
	answer chan error // has room for its one value
}

// intake gathers announcements into micro-batches and loads them, one after the other.
type intake struct {
	warehouse *warehouse.Warehouse
	store     *raw.Store
	limits    batch.Limits
	metrics   *metrics
	log       *slog.Logger
	loaded    func(warehouse.Result) // after each load
	trouble   *notice.Notice         // nil says nothing
	until     int64                  // last record of the manifest that is caught up with; 0 for all
	fail      atomic.Value           // text of why the last load did not work, "" when it did

	one      sync.Mutex        // held from the look into the ledger to the end of the load
	erasures manifest.Erasures // those that were met; held with one
	remake   chan struct{}     // never closed; holds one wish at most: the warehouse has rows that are erased
	waiting  chan waiter       // never closed
	stopped  chan struct{}     // closed when nothing is loaded any more
}

// errStopped answers announcements that came too late; they come again.
var errStopped = errors.New("the service stops")

// handle is the bus's handler: it answers when the announced file is in the warehouse.
func (i *intake) handle(ctx context.Context, d bus.Delivery) error {
	ready, ok := d.Payload.(events.ExportReady)
	if !ok {
		return bus.Park(fmt.Sprintf("%s is no export.ready", d.Event.Type))
	}
	w := waiter{Announced: batch.Announced{Event: d.Event, Ready: ready}, answer: make(chan error, 1)}
	select {
	case i.waiting <- w:
	case <-i.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-w.answer // whoever took it answers
}

// run loads what comes until the context ends. A load under way is finished. It is called once.
func (i *intake) run(ctx context.Context) error {
	defer close(i.stopped)
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-i.waiting:
			i.work(context.WithoutCancel(ctx), i.gather(first))
		}
	}
}

// gather takes what else is there, until there is nothing for a moment.
func (i *intake) gather(first waiter) []waiter {
	list := []waiter{first}
	for len(list) < i.limits.Files {
		select {
		case w := <-i.waiting:
			list = append(list, w)
		case <-time.After(quiet):
			return list
		}
	}
	return list
}

// work loads all of them and answers each.
func (i *intake) work(ctx context.Context, list []waiter) {
	announced := make([]batch.Announced, len(list))
	for n, w := range list {
		announced[n] = w.Announced
	}
	errs := i.load(ctx, announced)
	for n, w := range list {
		w.answer <- errs[n]
	}
}

// load brings announced files in and says for each what became of it: nil when it is in. Where a file is not there, or another one than was loaded, an erasure may have put one in its place.
func (i *intake) load(ctx context.Context, list []batch.Announced) []error {
	i.one.Lock()
	defer i.one.Unlock()
	errs := i.loadErased(ctx, list)
	from, may := mayBeErased(list, errs)
	if !may {
		return errs
	}
	if more, err := i.learn(ctx, from); err != nil || !more {
		return errs
	}
	return i.loadErased(ctx, list)
}

// changedError says that a batch was announced before with other content.
type changedError struct{ batch.ID }

func (e *changedError) Error() string {
	return fmt.Sprintf("batch %s of %s was announced before with other content", e.Batch, e.Dataset)
}

// loadAll brings files in, in as many transactions as the limits ask for.
func (i *intake) loadAll(ctx context.Context, list []batch.Announced) []error {
	outcome := map[batch.ID]error{}
	changed := map[string]bool{} // by event: announced before with other content
	left := list
	for len(left) > 0 {
		ledger, err := i.warehouse.Ledger(ctx, left)
		if err != nil {
			i.note(err)
			return fill(make([]error, len(list)), err)
		}
		plan := batch.Decide(left, ledger, i.limits)
		for _, a := range plan.Changed {
			changed[a.Ready.SHA256+a.Ready.Batch] = true
		}
		if len(plan.Load) > 0 {
			i.transaction(ctx, plan.Load, outcome)
		}
		left = plan.Later
	}
	errs := make([]error, len(list))
	for n, a := range list {
		errs[n] = outcome[batch.Of(a.Ready)]
		if changed[a.Ready.SHA256+a.Ready.Batch] {
			errs[n] = fmt.Errorf("%w: %w", bus.ErrPark, &changedError{batch.Of(a.Ready)})
		}
	}
	return errs
}

func fill(errs []error, err error) []error {
	for n := range errs {
		errs[n] = err
	}
	return errs
}

// transaction loads files together, or, when the engine refuses that, one by one, so that one file does not hold up the others.
func (i *intake) transaction(ctx context.Context, files []batch.Announced, outcome map[batch.ID]error) {
	result, err := i.warehouse.Load(ctx, files, i.store)
	i.count(result, err)
	if err != nil && len(files) > 1 && ctx.Err() == nil {
		i.log.WarnContext(ctx, "micro-batch failed, its files are tried one by one", "files", len(files), "error", err)
		for _, file := range files {
			i.transaction(ctx, []batch.Announced{file}, outcome)
		}
		return
	}
	for _, file := range files {
		outcome[batch.Of(file.Ready)] = err
	}
	if why := cmp.Or(err, firstAway(result.Failed)); why != nil || result.Load != 0 {
		i.note(why)
	}
	for id, err := range result.Failed {
		if errors.Is(err, warehouse.ErrNotForUs) {
			err = fmt.Errorf("%w: %w", bus.ErrPark, err)
		}
		outcome[id] = err
	}
	if err == nil && result.Load != 0 {
		i.log.InfoContext(ctx, "loaded", "load", result.Load, "files", result.Files, "manifest_sequence", result.Sequence, "seconds", result.Seconds)
		i.loaded(result)
	}
}

func (i *intake) count(r warehouse.Result, err error) {
	if err != nil {
		i.metrics.loads.WithLabelValues("failed").Inc()
		return
	}
	if r.Load == 0 {
		return
	}
	i.metrics.loads.WithLabelValues("loaded").Inc()
	i.metrics.sequence.Set(float64(r.Sequence))
	for dataset, volume := range r.Read {
		i.metrics.rows.WithLabelValues(dataset).Add(float64(volume.Rows))
		i.metrics.bytes.WithLabelValues(dataset).Add(float64(volume.Bytes))
	}
	for dataset, rows := range r.Rejected {
		i.metrics.rejected.WithLabelValues(dataset).Add(float64(rows))
	}
	for stage, seconds := range r.Seconds {
		i.metrics.seconds.WithLabelValues(stage).Observe(seconds)
	}
	i.countMarts(r)
}

func (i *intake) countMarts(r warehouse.Result) {
	for _, m := range r.Marts {
		i.metrics.quarantine.WithLabelValues(m.Mart).Set(float64(m.Quarantined))
		blocked := 0.0
		if m.BlockedBy != "" {
			blocked = 1
		}
		i.metrics.blocked.WithLabelValues(m.Mart).Set(blocked)
		i.metrics.checks.WithLabelValues(m.Mart, "error").Set(float64(m.Failed))
		i.metrics.checks.WithLabelValues(m.Mart, "warn").Set(float64(m.Warned))
	}
}

// againEvery is how often it is looked whether a mart that could not be computed may be tried again.
const againEvery = 20 * time.Second

// again tries marts anew that could not be computed, also while no batch comes, until ctx ends.
func (i *intake) again(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(againEvery):
		}
		i.tryAgain(context.WithoutCancel(ctx))
	}
}

// tryAgain does it once.
func (i *intake) tryAgain(ctx context.Context) {
	i.one.Lock()
	defer i.one.Unlock()
	result, err := i.warehouse.Again(ctx)
	if err != nil {
		i.log.WarnContext(ctx, "marts that are held back are not tried again", "error", err)
		return
	}
	if result.Load == 0 {
		return
	}
	i.countMarts(result)
	i.log.InfoContext(ctx, "marts that were held back are computed", "load", result.Load, "marts", len(result.Marts))
	i.loaded(result)
}

// leftOutError says that records of the manifest are not in, each for a reason of its own. The others are.
type leftOutError struct {
	records int
	first   error
}

func (e *leftOutError) Error() string {
	return fmt.Sprintf("%d records of the manifest are not in the warehouse, the first because of: %v", e.records, e.first)
}

func (e *leftOutError) Unwrap() error { return e.first }

// catchUp loads what the manifest has and the warehouse has not: after the loss of the warehouse or of events, or after a time in which the raw store was away for longer than
// the bus keeps trying. An error that is no *leftOutError is one of reading the manifest.
func (i *intake) catchUp(ctx context.Context) error {
	next, err := i.warehouse.NextMissing(ctx)
	if err != nil {
		return err
	}
	i.one.Lock()
	_, err = i.learn(ctx, next)
	i.one.Unlock()
	if err != nil {
		return fmt.Errorf("catch up with the manifest: %w", err)
	}
	var left leftOutError
	for {
		found, after, err := manifest.From(ctx, i.store, i.store.URL(), next, i.limits.Files)
		if err != nil {
			return fmt.Errorf("catch up with the manifest: %w", err)
		}
		enough := len(found) < i.limits.Files
		if i.until != 0 {
			found = slices.DeleteFunc(found, func(a batch.Announced) bool { return a.Ready.Sequence > i.until })
			enough = enough || after > i.until
		}
		for n, err := range i.load(ctx, found) {
			if err == nil {
				continue
			}
			if left.records++; left.first == nil {
				left.first = fmt.Errorf("record %d: %w", found[n].Ready.Sequence, err)
			}
		}
		if next = after; enough {
			break
		}
	}
	if left.records > 0 {
		return &left
	}
	return nil
}
