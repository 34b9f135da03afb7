package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// Times of a single run.
const (
	connectWithin = 15 * time.Second
	lookEvery     = 200 * time.Millisecond
	lastWords     = 30 * time.Second // for the outbox
)

// onceWithout is once, and once more with a warehouse that is made anew when rows that it has were erased.
func onceWithout(ctx context.Context, c *Config, out io.Writer) error {
	err := once(ctx, c, out)
	if !errors.Is(err, errErased) {
		return err
	}
	fmt.Fprintln(out, err)
	made, err := c.presentMade(ctx)
	if err != nil {
		return err
	}
	if err := c.remake(ctx, made.TokenKey); err != nil {
		return err
	}
	return once(ctx, c, out)
}

// once loads what the manifest and the bus have, publishes, and says how it went. The error is nil when all of it is in.
func once(ctx context.Context, c *Config, out io.Writer) error {
	t, err := assemble(ctx, c)
	if err != nil {
		return err
	}
	defer t.close()
	p := &progress{out: out, read: map[string]events.Volume{}, rejected: map[string]int64{}}
	t.intake.loaded = p.loaded
	if err := t.connected(ctx); err != nil {
		return err
	}
	if err := t.provision(ctx); err != nil {
		return err
	}
	err = errors.Join(t.intake.catchUp(ctx), t.drain(ctx))
	if len(t.intake.remake) > 0 {
		return errErased
	}
	t.intake.tryAgain(ctx)
	if err == nil && t.publisher != nil {
		err = t.publisher.step(ctx)
	}
	speak, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if _, sent := t.outbox.Drain(speak); sent != nil {
		err = errors.Join(err, fmt.Errorf("tell what was done: %w", sent))
	}
	p.total(ctx, t)
	return err
}

func (t *transform) connected(ctx context.Context) error {
	deadline := time.After(connectWithin)
	for !t.conn.IsConnected() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("connect to NATS: no server of %v answers", t.conn.Servers())
		case <-time.After(lookEvery / 10):
		}
	}
	return nil
}

// drain loads until the durable has nothing left, or a file could not be loaded.
func (t *transform) drain(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var failed error
	handle := func(ctx context.Context, d bus.Delivery) error {
		err := t.intake.handle(ctx, d)
		if err != nil && ctx.Err() == nil {
			mu.Lock()
			failed = errors.Join(failed, fmt.Errorf("event %s: %w", d.Event.ID, err))
			mu.Unlock()
			stop()
		}
		return err
	}
	var working sync.WaitGroup
	working.Go(func() { _ = t.intake.run(ctx) }) // it ends with the context
	consumed := make(chan error, 1)              // one value: how consuming ended
	working.Go(func() {
		err := t.bus.Consume(ctx, t.consumer(), handle)
		stop()
		consumed <- err
	})
	idle := t.awaitIdle(ctx)
	stop()
	working.Wait()
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return failed
	}
	if err := <-consumed; err != nil {
		return err
	}
	return idle
}

// awaitIdle returns when the durable has nothing pending and nothing unanswered, twice in a row, or when ctx ends.
func (t *transform) awaitIdle(ctx context.Context) error {
	durable, known := events.DurableOf(name, events.Region(t.config.Region), events.StreamFacts)
	if !known {
		return fmt.Errorf("region %s reads no %s", t.config.Region, events.StreamFacts)
	}
	for quiet := 0; quiet < 2; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
		consumer, err := t.stream.Consumer(ctx, durable.Stream, durable.Name)
		if err != nil {
			quiet = 0 // it is about to be made
			continue
		}
		info := consumer.CachedInfo()
		if quiet++; info.NumPending > 0 || info.NumAckPending > 0 {
			quiet = 0
		}
	}
	return nil
}

// progress tells people what was done.
type progress struct {
	out      io.Writer
	read     map[string]events.Volume
	rejected map[string]int64
	files    int
	loads    int
}

func (p *progress) loaded(r warehouse.Result) {
	p.loads++
	p.files += r.Files
	for dataset, volume := range r.Read {
		sum := p.read[dataset]
		p.read[dataset] = events.Volume{Rows: sum.Rows + volume.Rows, Bytes: sum.Bytes + volume.Bytes}
	}
	for dataset, rows := range r.Rejected {
		p.rejected[dataset] += rows
	}
	fmt.Fprintf(p.out, "load %d: %d files up to manifest record %d\n", r.Load, r.Files, r.Sequence)
}

func (p *progress) total(ctx context.Context, t *transform) {
	var names []string
	for dataset := range p.read {
		names = append(names, dataset)
	}
	slices.Sort(names)
	for _, dataset := range names {
		fmt.Fprintf(p.out, "%-20s %d rows read, %d to quarantine\n", dataset, p.read[dataset].Rows, p.rejected[dataset])
	}
	s, err := t.warehouse.Status(ctx)
	if err != nil {
		return
	}
	for _, m := range s.Marts {
		line := fmt.Sprintf("%-20s %d rows, %d kept out", m.Mart, m.Rows, m.Quarantined)
		if m.BlockedBy != "" {
			line += ", held back by " + m.BlockedBy
		}
		fmt.Fprintln(p.out, line)
	}
	fmt.Fprintf(p.out, "%d files in %d transactions; load %d, published %d\n", p.files, p.loads, s.Load, s.Published)
}
