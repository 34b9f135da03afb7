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
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// Rhythm of the schedule.
const (
	lookEvery = 2 * time.Second // at the mandate: after a failover the other side begins that soon
	sayAgain  = time.Minute     // between two log lines about what does not work
	bindRetry = 5 * time.Second // for a durable that the operator has not made yet
)

// schedule runs pulls when they are due or asked for, while the region is the active one.
type schedule struct {
	runner   *runner
	interval time.Duration // between two runs
	fullEach time.Duration // between two reconciliations
	jobs     func(ctx context.Context, handler bus.Handler) error
	prepare  func(ctx context.Context) error // what must be there first; may be repeated
	metrics  *metrics
	log      *slog.Logger

	mu      sync.Mutex
	failing []string // what did not work in the last run
	said    time.Time
	full    time.Time       // when the last reconciliation began that no dataset failed in
	epoch   events.Epoch    // in which this region read last
	reading bool            // this region is the active one
	asked   map[string]bool // datasets that Odoo has announced, and that wait to be pulled
	wake    chan struct{}   // of one place; never closed. Something was asked for
}

// run works until ctx ends.
func (s *schedule) run(ctx context.Context) error {
	var due time.Time
	var epoch events.Epoch // in which this region reads; 0 while it does not
	failedInARow, stopJobs := 0, func() {}
	defer func() { stopJobs() }()
	for {
		now := s.active(ctx)
		if now != epoch {
			stopJobs()
			stopJobs, due = func() {}, time.Time{}
			s.turn(ctx, now)
			if now != 0 {
				stopJobs = s.takeJobs(ctx)
			}
			epoch = now
		}
		if epoch != 0 && !time.Now().Before(due) {
			b := s.once(ctx)
			if failedInARow++; !b.failed {
				failedInARow = 0
			}
			due = extract.NextRun(time.Now(), s.interval, failedInARow, b.cut, b.retryAfter)
		}
		if asked := s.takeAsked(); epoch != 0 && len(asked) > 0 {
			if b := s.pullAsked(ctx, asked); b.failed {
				due = extract.NextRun(time.Now(), s.interval, 1, b.cut, b.retryAfter)
			}
		}
		wait := lookEvery
		if epoch != 0 {
			wait = min(wait, max(time.Until(due), 10*time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-time.After(wait):
		}
	}
}

// pullAsked pulls what Odoo has announced. What fails is pulled again by the schedule, soon.
func (s *schedule) pullAsked(ctx context.Context, datasets []string) setback {
	s.log.InfoContext(ctx, "pulling what was announced", "datasets", datasets)
	outcomes, err := s.pull(ctx, datasets, pullOnly)
	what, b := setbackOf(outcomes, err)
	if b.failed && ctx.Err() == nil {
		s.note(ctx, what)
	}
	return b
}

// setback is what a run that did not work says of the next one.
type setback struct {
	failed     bool
	cut        bool // by something on the way: it may be over in a moment
	retryAfter time.Duration
}

// setbackOf lists what did not work in a run, and what that means for the next one.
func setbackOf(outcomes []outcome, err error) (what []string, b setback) {
	what, b.retryAfter = failedIn(outcomes)
	for _, o := range outcomes {
		b.cut = b.cut || o.Err != nil && extract.Cut(o.Err)
	}
	if err != nil && !isFenced(err) {
		what = append(what, err.Error())
		b.cut = b.cut || extract.Cut(err)
	}
	b.failed = len(what) > 0
	return what, b
}

// active is the epoch in which this region may read; 0 when it may not.
func (s *schedule) active(ctx context.Context) events.Epoch {
	epoch, err := s.runner.puller.mandate(ctx)
	if err != nil {
		s.metrics.active.Set(0)
		return 0
	}
	s.metrics.active.Set(1)
	return epoch
}

// turn begins or ends a time in which this region reads. It begins with a reconciliation: what the other side read last may be lost here.
func (s *schedule) turn(ctx context.Context, epoch events.Epoch) {
	s.note(ctx, nil)
	s.mu.Lock()
	s.reading = epoch != 0
	s.mu.Unlock()
	if epoch == 0 {
		s.log.InfoContext(ctx, "this region does not read any more")
		return
	}
	s.log.InfoContext(ctx, "this region is active and reads", "epoch", uint64(epoch))
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.epoch { // and not only etcd was away
		s.full, s.epoch = time.Time{}, epoch
	}
}

// once runs what is due.
func (s *schedule) once(ctx context.Context) setback {
	began, deep := time.Now(), s.due()
	outcomes, err := s.pull(ctx, nil, deep)
	if err == nil && deep != pullOnly && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.Err != nil }) {
		s.reconciled(began)
	}
	what, b := setbackOf(outcomes, err)
	if ctx.Err() != nil {
		return setback{}
	}
	s.note(ctx, what)
	return b
}

// due says how deep the next run goes.
func (s *schedule) due() depth {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.full) < s.fullEach {
		return pullOnly
	}
	return reconcileToo
}

// reconciled puts the next reconciliation off. One that failed is not over: it is made again with the next run.
func (s *schedule) reconciled(began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = began
}

func (s *schedule) pull(ctx context.Context, names []string, deep depth, options ...events.Option) ([]outcome, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	again := func(f *extract.PullError) time.Time {
		return extract.NextRun(time.Now(), s.interval, 1, extract.Cut(f), f.RetryAfter).UTC()
	}
	return s.runner.run(ctx, names, deep, again, options...)
}

// note keeps what does not work for /readyz and says it, at once when it begins and then once a minute.
func (s *schedule) note(ctx context.Context, failing []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.failing.Set(float64(len(failing)))
	was := len(s.failing)
	s.failing = failing
	switch {
	case len(failing) == 0 && was > 0:
		s.log.InfoContext(ctx, "export works again")
		s.said = time.Time{}
	case len(failing) > 0 && time.Since(s.said) >= sayAgain:
		s.log.WarnContext(ctx, "export does not work; cursors stay and it is tried again", "failing", len(failing), "reasons", failing)
		s.said = time.Now()
	}
}

// check is for /readyz.
func (s *schedule) check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failing) == 0 {
		return nil
	}
	return fmt.Errorf("the last run failed: %s", shorten(strings.Join(s.failing, "; "), 1000))
}

// takeJobs takes commands until stop is called. Only the active region does: both share one durable, and a command that the other took would wait there.
func (s *schedule) takeJobs(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := s.jobs(ctx, s.handle)
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "commands wait", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(bindRetry):
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// handle does what a command asks for. A dataset that fails is announced and tried again by the schedule: the command is done with that.
func (s *schedule) handle(ctx context.Context, delivery bus.Delivery) error {
	job, ok := delivery.Payload.(events.JobExport)
	if !ok {
		return bus.Park(fmt.Sprintf("%s is no command for %s", delivery.Event.Type, name))
	}
	var names []string
	if job.Dataset != events.AllDatasets {
		if !s.runner.has(job.Dataset) {
			return bus.Park(fmt.Sprintf("there is no dataset %q in the models", job.Dataset))
		}
		names = []string{job.Dataset}
	}
	s.log.InfoContext(ctx, "export was asked for", "dataset", job.Dataset, "reconcile", job.Reconcile, "actor", job.Act.Actor, "request", job.Act.Request)
	deep := pullOnly
	if job.Reconcile {
		deep = reconcileAll
	}
	outcomes, err := s.pull(ctx, names, deep, events.CausedBy(delivery.Event))
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if isFenced(o.Err) || errors.Is(o.Err, context.Canceled) {
			return o.Err
		}
	}
	return nil
}
