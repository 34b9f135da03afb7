package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
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

	again bool // what readers have was not what the warehouse has
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
		p.note(ctx, p.step(ctx), trouble)
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
	seen, err := p.server.Current(ctx)
	if err != nil {
		return err
	}
	told, _, err := p.warehouse.LastPublished(ctx)
	if err != nil {
		return err
	}
	if seen.Region == string(p.region) && seen.Load == load && told == load && !p.again {
		return nil
	}
	return p.publish(ctx, seen)
}

func (p *publisher) publish(ctx context.Context, seen postgres.Publication) error {
	start := time.Now()
	s, err := p.warehouse.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	marts := make([]postgres.Mart, len(s.Marts))
	for n, m := range s.Marts {
		if marts[n], err = p.mart(ctx, s, m, seen); err != nil {
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
	p.log.InfoContext(ctx, "published", "load", s.Load, "replaced", done.Replaced, "changed", done.Changed, "visible_seconds", done.Visible.Sub(start).Seconds(), "seconds", took.Seconds())
	if err := p.warehouse.Published(ctx, s, at, took); err != nil {
		return err
	}
	p.told()
	p.again = done.Unsettled != nil
	return done.Unsettled
}

// mart is one to be published; by what has changed, when readers have seen a load of this region from which on the log tells all.
func (p *publisher) mart(ctx context.Context, s *warehouse.Snapshot, m *warehouse.MartRows, seen postgres.Publication) (postgres.Mart, error) {
	mart := postgres.Mart{
		Name: m.Name, Comment: m.Comment, Grain: m.Grain(),
		Know: func(ctx context.Context) (postgres.Content, error) {
			err := s.Know(ctx, m)
			return postgres.Content(m.Content), err
		},
		Write: func(ctx context.Context, out io.Writer) (postgres.Content, error) {
			err := s.Write(ctx, m, out)
			return postgres.Content(m.Content), err
		},
	}
	for _, c := range m.Columns {
		mart.Columns = append(mart.Columns, postgres.Column{Name: c.Name, Type: warehouse.PostgresType(c.Type), Silent: canon.Silent(c.Name)})
	}
	if seen.Region != string(p.region) || seen.Load == 0 {
		return mart, nil
	}
	keys, rows, told, err := s.Changed(ctx, m, seen.Load)
	if err != nil {
		return mart, err
	}
	if told && keys*halfOfAll <= rows { // more than that is faster as a whole
		mart.Delta = &postgres.Delta{
			Since: seen.Load, Grain: m.Grain(),
			Keys: func(ctx context.Context, out io.Writer) error { return s.WriteKeys(ctx, m, seen.Load, out) },
			Rows: func(ctx context.Context, out io.Writer) error { return s.WriteChanged(ctx, m, seen.Load, out) },
		}
	}
	return mart, nil
}

// check is ready unless this region is the active one and its marts do not reach the readers.
func (p *publisher) check(context.Context) error {
	if failure, _ := p.fail.Load().(string); failure != "" {
		return fmt.Errorf("marts are not published: %s", failure)
	}
	return nil
}
