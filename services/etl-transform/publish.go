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
	"github.com/ofitec/ofitec/services/etl-transform/internal/postgres"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// publishEvery is how often it is looked whether readers see the last load of the active region; a load asks for it at once.
const publishEvery = 10 * time.Second

// publishWithin bounds one publication.
const publishWithin = 10 * time.Minute

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
	if seen.Region == string(p.region) && seen.Load == load && told == load {
		return nil
	}
	return p.publish(ctx)
}

func (p *publisher) publish(ctx context.Context) error {
	start := time.Now()
	s, err := p.warehouse.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	marts := make([]postgres.Mart, len(s.Marts))
	for n, m := range s.Marts {
		marts[n] = postgres.Mart{Name: m.Name, Comment: m.Comment, Digest: m.Digest, Rows: m.Rows, Write: func(ctx context.Context, out io.Writer) error { return s.Write(ctx, m, out) }}
		for _, c := range m.Columns {
			marts[n].Columns = append(marts[n].Columns, postgres.Column{Name: c.Name, Type: warehouse.PostgresType(c.Type)})
		}
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	replaced, err := p.server.Publish(ctx, postgres.Publication{Region: string(p.region), Load: s.Load, Sequence: s.Sequence, At: at}, postgres.Sorted(marts))
	if err != nil {
		return fmt.Errorf("publish load %d: %w", s.Load, err)
	}
	took := time.Since(start)
	p.metrics.seconds.WithLabelValues("publish").Observe(took.Seconds())
	p.metrics.published.Set(float64(at.UnixMicro()) / 1e6)
	p.log.InfoContext(ctx, "published", "load", s.Load, "replaced", replaced, "seconds", took.Seconds())
	if err := p.warehouse.Published(ctx, s, at, took); err != nil {
		return err
	}
	p.told()
	return nil
}

// check is ready unless this region is the active one and its marts do not reach the readers.
func (p *publisher) check(context.Context) error {
	if failure, _ := p.fail.Load().(string); failure != "" {
		return fmt.Errorf("marts are not published: %s", failure)
	}
	return nil
}
