// Package writer keeps changing rows the way Odoo does: write_date is the start of the transaction, so that a long
// transaction commits behind later ones and all rows of one transaction share a microsecond; some updates change nothing,
// some rows vanish without a trace. One colour writes at a time.
package writer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The advisory locks, (class, number). turn is held by the colour that writes, on a session of its own; every transaction
// holds flight in shared mode, so that a new writer can wait for the old one's last transactions.
const (
	lockClass  = 120_000
	lockTurn   = 1
	lockFlight = 2
)

// longAtOnce limits how many long transactions are open together; each takes a connection.
const longAtOnce = 4

// longKind is the kind of a long transaction.
const longKind = "long"

// Observer hears what the writer does.
type Observer interface {
	// Writes says whether this colour writes now.
	Writes(bool)
	// Done tells one transaction's end.
	Done(kind string, err error)
}

// Writer is one colour's. Run it once.
type Writer struct {
	Pool *pgxpool.Pool
	// Seed starts its dice. What it does also depends on when it does it, so only the first rows are reproducible.
	Seed uint64
	// Every is the time between short transactions; a long one begins every LongEvery and stays open for Long.
	Every, Long, LongEvery time.Duration
	// Poll is the time between two looks at whether it is our turn, and whether it still is.
	Poll     time.Duration
	Observer Observer
	Log      *slog.Logger
}

// Run takes the turn whenever no other colour has it, and writes while it has it, until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.turn(ctx); err != nil && ctx.Err() == nil {
			w.Log.Debug("writer waits", "error", err)
		}
		wait(ctx, w.Poll)
	}
}

// turn tries for the turn once; when it is ours it returns only after it is lost.
func (w *Writer) turn(ctx context.Context) error {
	conn, err := w.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect for the turn: %w", err)
	}
	// The session ends with the turn: an unlock that fails would leave the lock in the pool.
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Hijack().Close(closing)
	}()
	var ours bool
	var session uint32
	// Without the tables there is nothing to write yet.
	err = conn.QueryRow(ctx, "SELECT to_regclass('odoo_seed') IS NOT NULL AND pg_try_advisory_lock($1, $2), pg_backend_pid()", lockClass, lockTurn).Scan(&ours, &session)
	if err != nil {
		return fmt.Errorf("ask for the turn: %w", err)
	}
	if !ours {
		return nil
	}
	// The last transactions of the colour before us end first.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1, $2), pg_advisory_unlock($1, $2)", lockClass, lockFlight); err != nil {
		return fmt.Errorf("wait for the other colour's transactions: %w", err)
	}
	w.Observer.Writes(true)
	defer w.Observer.Writes(false)
	w.Log.Info("writing")
	defer w.Log.Info("not writing any more")

	turn, lost := context.WithCancel(ctx)
	var acts sync.WaitGroup
	acts.Go(func() { w.short(turn, session) })
	for i := range longAtOnce {
		acts.Go(func() { w.long(turn, session, i) })
	}
	for turn.Err() == nil {
		if err = w.alive(turn, conn.Conn()); err != nil {
			break
		}
		wait(turn, w.Poll)
	}
	lost()
	acts.Wait()
	return err
}

func (w *Writer) alive(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 4*w.Poll+time.Second)
	defer cancel()
	return conn.Ping(ctx)
}

// short does one act after the other.
func (w *Writer) short(ctx context.Context, session uint32) {
	dice := rand.New(rand.NewPCG(w.Seed, uint64(time.Now().UnixNano()))) //nolint:gosec // dice of a made-up company
	for wait(ctx, w.Every) {
		act := draw(dice)
		w.transaction(ctx, session, act.name, func(tx pgx.Tx) error { return act.do(ctx, tx, dice) })
	}
}

// long keeps transactions open: it writes at the start, works on for a while, writes again and commits late. The lanes begin
// one after the other, so that a long transaction begins every LongEvery as long as a lane is free.
func (w *Writer) long(ctx context.Context, session uint32, lane int) {
	if w.Long == 0 {
		return
	}
	dice := rand.New(rand.NewPCG(w.Seed+uint64(lane)+1, uint64(time.Now().UnixNano()))) //nolint:gosec // dice of a made-up company
	if !wait(ctx, time.Duration(lane+1)*w.LongEvery) {
		return
	}
	for {
		began := time.Now()
		w.transaction(ctx, session, longKind, func(tx pgx.Tx) error {
			for range 2 {
				if err := addCosts(ctx, tx, dice); err != nil {
					return err
				}
				if !wait(ctx, w.Long/2) {
					return ctx.Err()
				}
			}
			return addProgress(ctx, tx, dice)
		})
		if !wait(ctx, longAtOnce*w.LongEvery-time.Since(began)) {
			return
		}
	}
}

// transaction runs one act while the turn is ours, which the database itself is asked: a session that lost the turn and
// does not know yet must not write.
func (w *Writer) transaction(ctx context.Context, session uint32, kind string, act func(pgx.Tx) error) {
	err := pgx.BeginFunc(ctx, w.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '5s'"); err != nil {
			return fmt.Errorf("limit waiting for locks: %w", err)
		}
		var ours bool
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock_shared($1, $2)", lockClass, lockFlight); err != nil {
			return fmt.Errorf("announce transaction: %w", err)
		}
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = $3
			AND classid = $1::bigint::oid AND objid = $2::bigint::oid AND objsubid = 2
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`, lockClass, lockTurn, session).Scan(&ours)
		if err != nil {
			return fmt.Errorf("check the turn: %w", err)
		}
		if !ours {
			return errNotOurTurn
		}
		return act(tx)
	})
	if ctx.Err() != nil {
		return
	}
	w.Observer.Done(kind, err)
	if err != nil {
		w.Log.Debug("transaction failed", "kind", kind, "error", err)
	}
}

var errNotOurTurn = fmt.Errorf("another colour has the turn")

// wait sleeps; false means that ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
