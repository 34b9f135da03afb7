package warehouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// byRefresh holds back a mart that could not be computed. That may be for a reason that passes, as a disk that was full, so that it is tried again although nothing that it reads is touched.
const byRefresh = "refresh"

// Rhythm of trying a mart again: a minute after the first failure, then after twice as long as the last time. A mart whose SQL is wrong costs each try a transaction.
const (
	againFirst = time.Minute
	againMost  = time.Hour
)

// attempts are the marts that could not be computed. Those that another process has left so are not among them, and may be tried at once.
type attempts map[string]attempt

type attempt struct {
	next  time.Time // earliest
	after time.Duration
}

// failed notes a failure.
func (a attempts) failed(mart string, now time.Time) {
	after := againFirst
	if last, known := a[mart]; known {
		after = min(2*last.after, againMost)
	}
	a[mart] = attempt{now.Add(after), after}
}

// may says whether a mart may be tried.
func (a attempts) may(mart string, now time.Time) bool { return !now.Before(a[mart].next) }

// Again computes the marts anew that could not be computed and may be tried again, without a batch. Result.Load is 0 when there were none, or none of them could be.
func (w *Warehouse) Again(ctx context.Context) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var r Result
	waits, err := w.awaited(ctx)
	if err != nil || !waits {
		return r, err
	}
	defer w.clean(context.WithoutCancel(ctx))
	err = w.withoutBroken(ctx, func(tx *sql.Tx, without map[string]bool) error {
		r = Result{Seconds: map[string]float64{}}
		return w.again(ctx, tx, without, &r)
	})
	if errors.Is(err, errNoMart) {
		return Result{}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("compute marts again: %w", err)
	}
	return r, nil
}

// errNoMart takes a transaction back in which nothing was computed.
var errNoMart = errors.New("no mart could be computed")

// awaited says whether a mart waits for being tried again.
func (w *Warehouse) awaited(ctx context.Context) (bool, error) {
	found, err := w.conn.QueryContext(ctx, "SELECT mart FROM etl_mart WHERE blocked_by = ?", byRefresh)
	if err != nil {
		return false, fmt.Errorf("read marts that are held back: %w", err)
	}
	defer found.Close()
	waits := false
	for found.Next() {
		var mart string
		if err := found.Scan(&mart); err != nil {
			return false, fmt.Errorf("read marts that are held back: %w", err)
		}
		waits = waits || w.attempts.may(mart, time.Now())
	}
	return waits, found.Err()
}

// again is a load without files: it takes a number of its own, so that what it has changed is published, and is told of as what followed from the load before it.
func (w *Warehouse) again(ctx context.Context, tx *sql.Tx, without map[string]bool, r *Result) error {
	start := time.Now()
	if err := w.begin(ctx, tx, r); err != nil {
		return err
	}
	var correlation, told string
	if err := tx.QueryRowContext(ctx, "SELECT correlation, told FROM etl_load ORDER BY load DESC LIMIT 1").Scan(&correlation, &told); err != nil {
		return fmt.Errorf("read last load: %w", err)
	}
	reported, err := w.restatements(ctx, tx)
	if err != nil {
		return err
	}
	if err := w.refresh(ctx, tx, occasion{without: without}, r); err != nil {
		return err
	}
	if len(r.Marts) == 0 {
		return errNoMart
	}
	if err := w.tellRestated(ctx, tx, reported, r); err != nil {
		return err
	}
	r.lap("marts", &start)
	now := clock()
	first, err := w.tell(ctx, tx, w.audited(r, now), now, events.Correlated(correlation, told))
	if err != nil {
		return err
	}
	return enterLoad(ctx, tx, r, events.Volume{}, now, first)
}

// withoutBroken runs a transaction, and once more for each mart that cannot be computed: such a mart holds up itself and nothing else.
func (w *Warehouse) withoutBroken(ctx context.Context, body func(tx *sql.Tx, without map[string]bool) error) error {
	without := map[string]bool{}
	for {
		err := w.transaction(ctx, func(tx *sql.Tx) error { return body(tx, without) })
		var broken *martError
		if !errors.As(err, &broken) || without[broken.mart] || ctx.Err() != nil {
			return err
		}
		w.o.Log.ErrorContext(ctx, "mart is held back", "mart", broken.mart, "error", broken.err)
		without[broken.mart] = true
		w.attempts.failed(broken.mart, time.Now())
	}
}
