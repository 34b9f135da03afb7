package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/postgres"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// publishEvery is how often it is looked whether readers see the last load of the active region; a load asks for it at once.
const publishEvery = 10 * time.Second

// publishWithin bounds one publication.
const publishWithin = 10 * time.Minute

// halfOfAll is how many times as many rows a mart has as have changed, at least, for these to be published alone.
const halfOfAll = 2

// publisher keeps what readers see equal to the last load, while this region is the active one.
type publisher struct {
	warehouse *warehouse.Warehouse
	server    *postgres.Server
	active    activity
	region    events.Region
	metrics   *metrics
	log       *slog.Logger
	told      func() // after something was put into the outbox

	wake chan struct{} // never closed; holds one wish at most
	fail atomic.Value  // text of the last failure, "" after a success
	sees atomic.Bool   // the region was the active one when it was last asked

	verifyEvery time.Duration // 0 for never
	verified    time.Time     // when that was last done, by whichever region
}

// Wake makes run look now. It never blocks.
func (p *publisher) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run publishes until the context ends.
func (p *publisher) run(ctx context.Context) error {
	trouble := notice.New(p.log, "marts are not published", nil)
	for {
		p.note(ctx, duckdb.Told(p.step(ctx)), trouble)
		timer := time.NewTimer(publishEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-p.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// note keeps how a step went. One that was cut off by the end of the service says nothing.
func (p *publisher) note(ctx context.Context, err error, trouble *notice.Notice) {
	if ctx.Err() != nil {
		return
	}
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	trouble.Note(err)
	p.fail.Store(failure)
}

// step publishes when this region is the active one and readers see something else than its last load.
func (p *publisher) step(ctx context.Context) error {
	active, err := p.active(ctx)
	if err != nil {
		return err
	}
	p.sees.Store(active)
	p.metrics.active.Set(0)
	if !active {
		return nil
	}
	p.metrics.active.Set(1)
	load, err := p.warehouse.LastLoad(ctx)
	if err != nil || load == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	seen, err := p.current(ctx)
	if err != nil {
		return err
	}
	told, _, err := p.warehouse.LastPublished(ctx)
	if err != nil {
		return err
	}
	if seen.Region != string(p.region) || seen.Load != load || told != load || len(seen.Waiting) > 0 {
		if err := p.publish(ctx, seen); err != nil {
			return err
		}
	}
	if found, err := p.verify(ctx, time.Now()); err != nil || !found {
		return err
	}
	if seen, err = p.current(ctx); err != nil {
		return err
	}
	return p.publish(ctx, seen)
}

// current is what readers see, and which of our marts wait there to be replaced: that outlives whoever has found them.
func (p *publisher) current(ctx context.Context) (postgres.Publication, error) {
	seen, err := p.server.Current(ctx)
	ours := p.warehouse.Tables()
	seen.Waiting = slices.DeleteFunc(seen.Waiting, func(mart string) bool { return !slices.Contains(ours, mart) })
	return seen, err
}

// verify computes the digests of all that readers have when it is time, and says whether somebody else has changed some: the next publication replaces them.
func (p *publisher) verify(ctx context.Context, now time.Time) (found bool, err error) {
	if p.verifyEvery == 0 || !postgres.Due(p.verified, now, p.verifyEvery) {
		return false, nil
	}
	s, err := p.warehouse.Snapshot(ctx)
	if err != nil {
		return false, err
	}
	marts := martsOf(s)
	s.Close()
	altered, last, err := p.server.Verify(ctx, now.UTC().Truncate(time.Microsecond), p.verifyEvery, marts)
	if err != nil {
		return false, fmt.Errorf("verify what readers have: %w", err)
	}
	p.verified = last
	p.metrics.verified.Set(float64(last.UnixMicro()) / 1e6)
	for _, a := range altered {
		p.metrics.altered.WithLabelValues(a.Mart).Inc()
		p.log.WarnContext(ctx, "somebody else has changed a published mart: it is replaced", "mart", a.Mart, "why", a.Why)
	}
	return len(altered) > 0, nil
}

// martsOf are the marts of a snapshot by name and form alone.
func martsOf(s *warehouse.Snapshot) []postgres.Mart {
	marts := make([]postgres.Mart, len(s.Marts))
	for n, m := range s.Marts {
		marts[n] = postgres.Mart{Name: m.Name, Comment: m.Comment, Grain: m.Grain()}
		for _, c := range m.Columns {
			marts[n].Columns = append(marts[n].Columns, postgres.Column{Name: c.Name, Type: warehouse.PostgresType(c.Type), Silent: canon.Silent(c.Name)})
		}
	}
	return marts
}

func (p *publisher) publish(ctx context.Context, seen postgres.Publication) error {
	start := time.Now()
	s, err := p.warehouse.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	marts := martsOf(s)
	for n, m := range s.Marts {
		if err := p.fill(ctx, s, m, seen, &marts[n]); err != nil {
			return err
		}
	}
	held, err := s.Held(ctx)
	if err != nil {
		return err
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	publication := postgres.Publication{Region: string(p.region), Load: s.Load, Sequence: s.Sequence, At: at}
	for _, h := range held {
		publication.Held = append(publication.Held, postgres.Held(h))
	}
	done, err := p.server.Publish(ctx, publication, postgres.Sorted(marts))
	if err != nil {
		return fmt.Errorf("publish load %d: %w", s.Load, err)
	}
	took := time.Since(start)
	p.metrics.seconds.WithLabelValues("publish").Observe(took.Seconds())
	p.metrics.published.Set(float64(at.UnixMicro()) / 1e6)
	p.log.InfoContext(ctx, "published", "load", s.Load, "replaced", done.Replaced, "changed", done.Changed, "altered", seen.Waiting, "visible_seconds", done.Visible.Sub(start).Seconds(), "seconds", took.Seconds())
	if err := p.warehouse.Published(ctx, s, at, took, seen.Waiting); err != nil {
		return err
	}
	p.told()
	return done.Unsettled
}

// fill says how a mart is published; by what has changed, when readers have seen a load of this region from which on the log tells all.
func (p *publisher) fill(ctx context.Context, s *warehouse.Snapshot, m *warehouse.MartRows, seen postgres.Publication, mart *postgres.Mart) error {
	mart.Know = func(ctx context.Context) (postgres.Content, error) {
		err := s.Know(ctx, m)
		return postgres.Content(m.Content), err
	}
	mart.Write = func(ctx context.Context, out io.Writer) (postgres.Content, error) {
		err := s.Write(ctx, m, out)
		return postgres.Content(m.Content), err
	}
	if seen.Region != string(p.region) || seen.Load == 0 {
		return nil
	}
	keys, rows, told, err := s.Changed(ctx, m, seen.Load)
	if err != nil {
		return err
	}
	if told && keys*halfOfAll <= rows { // more than that is faster as a whole
		mart.Delta = &postgres.Delta{
			Since: seen.Load, Grain: m.Grain(),
			Keys: func(ctx context.Context, out io.Writer) error { return s.WriteKeys(ctx, m, seen.Load, out) },
			Rows: func(ctx context.Context, out io.Writer) error { return s.WriteChanged(ctx, m, seen.Load, out) },
		}
	}
	return nil
}

// check is ready unless this region is the active one and its marts do not reach the readers.
func (p *publisher) check(context.Context) error {
	if failure, _ := p.fail.Load().(string); failure != "" {
		return fmt.Errorf("marts are not published: %s", failure)
	}
	return nil
}
