package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// connectWithin is how long a single run waits for the bus.
const connectWithin = 15 * time.Second

// once pulls each dataset once and says how it went. The error is nil when all that the server offers was pulled.
func once(ctx context.Context, c *Config, out io.Writer) error {
	p := newProgress(out)
	i, err := assemble(ctx, c, p.page, p.finished)
	if err != nil {
		return err
	}
	defer i.close()
	if err := connected(ctx, i.conn); err != nil {
		return err
	}
	if err := i.provision(ctx); err != nil {
		return err
	}
	again := func(*extract.PullError) time.Time { return time.Now().UTC().Add(c.Export.Interval) }
	outcomes, err := i.runner.run(ctx, nil, reconcileAll, again)
	if err != nil {
		return err
	}
	p.total(outcomes)
	if failed, _ := failedIn(outcomes); len(failed) > 0 {
		return fmt.Errorf("pull %d of %d datasets failed", len(failed), len(outcomes))
	}
	return nil
}

func connected(ctx context.Context, conn *nats.Conn) error {
	deadline := time.After(connectWithin)
	for !conn.IsConnected() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("connect to NATS: no server of %v answers", conn.Servers())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// progress writes lines for people: one a dataset at its end, and one a second while a long one runs.
type progress struct {
	mu   sync.Mutex
	out  io.Writer
	said map[string]time.Time
}

const sayEvery = time.Second

func newProgress(out io.Writer) *progress { return &progress{out: out, said: map[string]time.Time{}} }

func (p *progress) page(dataset string, t tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, begun := p.said[dataset]; !begun && t.Took < sayEvery || begun && time.Since(last) < sayEvery {
		return
	}
	p.said[dataset] = time.Now()
	p.line(dataset, t, "...")
}

func (p *progress) finished(o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.Dropped > 0 {
		_, _ = fmt.Fprintf(p.out, "%-20s %d rows of files in OFITEC_DROP_DIR taken\n", o.Dataset, o.Dropped)
	}
	p.rest(o)
}

// rest says what became of the export.
func (p *progress) rest(o outcome) {
	switch {
	case o.Absent && o.Err == nil:
		_, _ = fmt.Fprintf(p.out, "%-20s not offered by the server, skipped\n", o.Dataset)
	case o.Err != nil:
		_, _ = fmt.Fprintf(p.out, "%-20s FAILED after %d rows: %v\n", o.Dataset, o.Tally.Rows, o.Err)
	default:
		p.line(o.Dataset, o.Tally, "done")
		if o.Found != nil {
			p.compared(o.Dataset, *o.Found)
		}
	}
}

func (p *progress) compared(dataset string, f found) {
	how, end := "compared by count and digest", "agrees with the source"
	if f.Reread {
		how = "all read again, since the server lists no ids or sums nothing up"
	}
	if !f.Agrees {
		end = "differs from the source, which may have changed meanwhile: the next reconciliation looks again"
	}
	if f.Reread && f.Absent+f.Asserted > 0 {
		end = "recorded what differed"
	}
	_, _ = fmt.Fprintf(p.out, "%-20s %s: %d deleted, %d rows recorded anew; %s\n", dataset, how, f.Absent, f.Asserted, end)
}

func (p *progress) line(dataset string, t tally, what string) {
	_, _ = fmt.Fprintf(p.out, "%-20s %s %d rows, %d bytes in %.2f s, %.0f rows/s; %d pages, %d stored, %d seen before\n",
		dataset, what, t.Rows, t.Bytes, t.Took.Seconds(), float64(t.Rows)/max(t.Took.Seconds(), 1e-3), t.Pages, t.Stored, t.Seen)
}

func (p *progress) total(outcomes []outcome) {
	var sum tally
	for _, o := range outcomes {
		sum.Rows += o.Tally.Rows
		sum.Bytes += o.Tally.Bytes
		sum.Stored += o.Tally.Stored
		sum.StoredRows += o.Tally.StoredRows
	}
	failed, _ := failedIn(outcomes)
	_, _ = fmt.Fprintf(p.out, "%d datasets, %d failed: %d rows read, %d rows in %d new raw files\n", len(outcomes), len(failed), sum.Rows, sum.StoredRows, sum.Stored)
}
