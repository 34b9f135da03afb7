package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
)

// runner pulls datasets, one run at a time. What becomes of a dataset does not touch the others.
type runner struct {
	puller      *puller
	reconciler  *reconciler
	datasets    []models.Dataset
	connections int
	bus         bus.Sender
	region      events.Region
	metrics     *metrics
	log         *slog.Logger
	dropped     *dropped      // nil: there is no folder for that
	finished    func(outcome) // after each dataset; may be called concurrently

	one sync.Mutex // held while a run is under way

	mu       sync.Mutex
	troubles map[string]trouble // by dataset
}

// depth is how much a run does.
type depth int

// The depths: pulls only; also a reconciliation, which reads everything again where a server has no other way, but that only now and then; the same, but that too.
const (
	pullOnly depth = iota
	reconcileToo
	reconcileAll
)

// outcome is what became of a dataset in a run.
type outcome struct {
	Dataset string
	Tally   tally
	Absent  bool   // the server does not offer it
	Dropped int64  // rows of files that people have put there
	Found   *found // by the reconciliation, when there was one
	Err     error
}

// announceFailure is how long the bus may take for an export.failed.
const announceFailure = 5 * time.Second

// run pulls the named datasets, all when there are none, reconciles them when that is asked for, and waits for them. retryAt is what failures say of the next attempt. The error is that of what no
// dataset can do without: the manifest or the bus.
func (r *runner) run(ctx context.Context, names []string, deep depth, retryAt func(*extract.PullError) time.Time, options ...events.Option) ([]outcome, error) {
	r.one.Lock()
	defer r.one.Unlock()
	if _, err := r.puller.mandate(ctx); err != nil {
		return nil, err
	}
	if err := r.puller.ledger.settle(ctx, r.names()); err != nil {
		return nil, fmt.Errorf("take up the manifest: %w", err)
	}
	var wanted []models.Dataset
	for _, dataset := range r.datasets {
		if len(names) == 0 || slices.Contains(names, dataset.Name) {
			wanted = append(wanted, dataset)
		}
	}
	outcomes := make([]outcome, len(wanted))
	slots := make(chan struct{}, r.connections) // never closed; a token for each dataset under way
	var working sync.WaitGroup
	for n, dataset := range wanted {
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			outcomes[n] = r.pull(ctx, dataset, deep, retryAt, options)
			r.finished(outcomes[n])
		})
	}
	working.Wait()
	return outcomes, ctx.Err()
}

func (r *runner) names() []string { return namesOf(r.datasets) }

func namesOf(datasets []models.Dataset) []string {
	names := make([]string, len(datasets))
	for n, dataset := range datasets {
		names[n] = dataset.Name
	}
	return names
}

// has says whether there is such a dataset.
func (r *runner) has(name string) bool { return slices.Contains(r.names(), name) }

func (r *runner) pull(ctx context.Context, dataset models.Dataset, deep depth, retryAt func(*extract.PullError) time.Time, options []events.Option) outcome {
	_, dropped, undropped := r.dropped.take(ctx, dataset, options...)
	t, err := r.puller.pull(ctx, dataset, options...)
	o := outcome{Dataset: dataset.Name, Tally: t, Dropped: dropped}
	if err == nil && deep != pullOnly {
		var f found
		f, err = r.reconciler.dataset(ctx, dataset, deep, t.FromStart, options...)
		o.Found = &f
	}
	if errors.Is(err, odoo.ErrNotOffered) {
		o.Absent, err = true, undropped
	} else if err == nil {
		err = undropped
	}
	o.Err = err
	label := "done"
	switch {
	case err == nil && o.Absent:
		label = "absent"
	case err == nil:
		r.recovered(dataset.Name)
	default:
		label = "failed"
		r.fail(ctx, dataset.Name, err, retryAt, options)
	}
	r.metrics.pulls.WithLabelValues(dataset.Name, label).Inc()
	r.metrics.seconds.WithLabelValues(label).Observe(t.Took.Seconds())
	return o
}

// sayFailureAgain is when a failure that goes on is announced again. Whoever missed it sees that the dataset is not fresh.
const sayFailureAgain = 15 * time.Minute

// trouble is what is wrong with a dataset since when it began to fail.
type trouble struct {
	code     string
	status   int
	attempts int // runs in a row
	said     time.Time
}

// failedAgain counts a failure and says whether it is news.
func (r *runner) failedAgain(dataset string, f *extract.PullError, now time.Time) (attempts int, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.troubles == nil {
		r.troubles = map[string]trouble{}
	}
	t := r.troubles[dataset]
	news = t.attempts == 0 || t.code != f.Code || t.status != f.Status || now.Sub(t.said) >= sayFailureAgain
	t.code, t.status, t.attempts = f.Code, f.Status, t.attempts+1
	if news {
		t.said = now
	}
	r.troubles[dataset] = t
	return t.attempts, news
}

func (r *runner) recovered(dataset string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.troubles, dataset)
}

// fail says on the bus that a dataset was not pulled: when that begins, when it changes, and now and then.
func (r *runner) fail(ctx context.Context, dataset string, cause error, retryAt func(*extract.PullError) time.Time, options []events.Option) {
	var failure *extract.PullError
	if ctx.Err() != nil || !errors.As(cause, &failure) || isFenced(cause) {
		return // stopped, or not ours to read any more
	}
	now := time.Now().UTC()
	attempts, news := r.failedAgain(dataset, failure, now)
	if !news {
		return
	}
	payload := events.ExportFailed{
		Dataset: dataset, Region: r.region, Batch: now.Format("20060102T150405") + fmt.Sprintf("Z-%06d", now.Nanosecond()/1000), FailedAt: now,
		Attempts: attempts, Code: failure.Code, Status: failure.Status, Reason: shorten(failure.Error(), 1000), RetryTime: retryAt(failure),
	}
	event, err := events.New(events.Origin{Region: r.region, Service: name}, now, payload, options...)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, announceFailure)
		defer cancel()
		_, err = r.bus.Publish(ctx, event)
	}
	if err != nil {
		r.log.WarnContext(ctx, "failure not announced", "dataset", dataset, "error", err)
	}
}

func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

// failedIn lists what failed, and the longest wait that a server asked for.
func failedIn(outcomes []outcome) (failed []string, retryAfter time.Duration) {
	for _, o := range outcomes {
		if o.Err == nil || isFenced(o.Err) {
			continue
		}
		failed = append(failed, o.Dataset+": "+o.Err.Error())
		var failure *extract.PullError
		if errors.As(o.Err, &failure) {
			retryAfter = max(retryAfter, failure.RetryAfter)
		}
	}
	return failed, retryAfter
}

// isFenced says that the region is not, or no more, the one that reads: no failure, but somebody else's turn.
func isFenced(err error) bool {
	var failure *extract.PullError
	return errors.As(err, &failure) && failure.Code == extract.CodeFenced
}
