// Package database is the stand-in's way to its region's PostgreSQL: through the proxy that leads to a writable server, or,
// while that one is closed, through the one that leads to a standby. The database may come and go at any time; nothing
// here gives up.
package database

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/settings"
)

// Connections of one colour; two colours must fit into a user's limit of 64.
const (
	writeConnections = 10
	readConnections  = 8
	actorConnections = 8
)

// State is what the database can do for us now.
type State string

// The states. Away means that it cannot even be read.
const (
	Writable State = "writable"
	ReadOnly State = "read-only"
	Away     State = "away"
)

// Database holds the pools. It is safe for concurrent use.
type Database struct {
	write, read, actor *pgxpool.Pool
	poll, timeout      time.Duration

	writable atomic.Bool  // the write side takes writes, as last seen
	readable atomic.Bool  // the read side answers, as last seen
	copied   atomic.Int64 // commit time of the newest transaction that the read side had, in Unix nanoseconds; 0 when unknown
}

// Open makes the pools and connects to nothing yet: a database that is away is no error.
func Open(ctx context.Context, s settings.Settings) (*Database, error) {
	d := &Database{poll: s.PollInterval, timeout: s.ConnectTimeout}
	for _, p := range []struct {
		pool       **pgxpool.Pool
		port, size int
		timeout    time.Duration
	}{
		{&d.write, s.Postgres.Port, writeConnections, s.QueryTimeout},
		{&d.read, s.Postgres.ReadPort, readConnections, s.QueryTimeout},
		{&d.actor, s.Postgres.Port, actorConnections, 0},
	} {
		config, err := poolConfig(s, p.port, p.size, p.timeout)
		if err != nil {
			d.Close()
			return nil, err
		}
		if *p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
			d.Close()
			return nil, fmt.Errorf("make database pool: %w", err)
		}
	}
	return d, nil
}

// Close ends all connections. It waits for those in use, so callers cancel their contexts first.
func (d *Database) Close() {
	for _, pool := range []*pgxpool.Pool{d.write, d.read, d.actor} {
		if pool != nil {
			pool.Close()
		}
	}
}

// Actor is the pool of what runs by itself, long transactions included, so that requests never wait for it.
func (d *Database) Actor() *pgxpool.Pool { return d.actor }

// Pools names the pools for metrics.
func (d *Database) Pools() map[string]*pgxpool.Pool {
	return map[string]*pgxpool.Pool{"write": d.write, "read": d.read, "actor": d.actor}
}

// State says what the last look at both sides gave; it does no I/O.
func (d *Database) State() State {
	switch {
	case d.writable.Load():
		return Writable
	case d.readable.Load():
		return ReadOnly
	}
	return Away
}

// Staleness says how old at most the read side's copy is now, by the clocks of the primary and of this machine. The holder of the mandate commits a heartbeat twice a
// second, so it stays small while the copy flows, and grows while the primary is dead, fenced or cut off. False: nobody knows.
func (d *Database) Staleness(now time.Time) (time.Duration, bool) {
	copied := d.copied.Load()
	if copied == 0 || !d.readable.Load() {
		return 0, false
	}
	return max(now.Sub(time.Unix(0, copied)), 0), true
}

// Watch looks at both sides until ctx ends. Each has its own loop: one that hangs does not hide the other.
func (d *Database) Watch(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { d.watch(ctx, d.write, &d.writable, false) })
	loops.Go(func() { d.watch(ctx, d.read, &d.readable, true) })
	loops.Wait()
}

func (d *Database) watch(ctx context.Context, pool *pgxpool.Pool, answer *atomic.Bool, readOnlyWillDo bool) {
	ticker := time.NewTicker(d.poll)
	defer ticker.Stop()
	for {
		readOnly, copied, err := d.look(ctx, pool)
		if err != nil && answer.Load() {
			// The other connections of this pool lead to the same dead end; the next request opens a fresh one.
			pool.Reset()
		}
		if readOnlyWillDo && err == nil {
			d.copied.Store(copied)
		}
		answer.Store(err == nil && (readOnlyWillDo || !readOnly))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look asks one side what it is and, of a copy, when the newest transaction that it has was committed.
func (d *Database) look(ctx context.Context, pool *pgxpool.Pool) (readOnly bool, copied int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var at *time.Time
	err = pool.QueryRow(ctx, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', pg_last_xact_replay_timestamp()").Scan(&readOnly, &at)
	if at != nil && readOnly {
		copied = at.UnixNano()
	}
	return readOnly, copied, err
}

// Read runs fn in a read-only snapshot on the side that answers, the writable one first while it is known to be there.
// When a side fails before or under fn, fn runs once more on the other, and a stale connection costs one more try: so fn
// keeps nothing from a failed run. An error that IsAway recognises means that no side could be read.
func (d *Database) Read(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx, state State) error) error {
	sides := []*pgxpool.Pool{d.write, d.read, d.write}
	if !d.writable.Load() {
		sides = []*pgxpool.Pool{d.read, d.write, d.read}
	}
	var failures []error
	for _, pool := range sides {
		err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			var standby bool
			if err := tx.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby); err != nil {
				return fmt.Errorf("ask database for its role: %w", err)
			}
			state := Writable
			if standby {
				state = ReadOnly
			}
			return fn(ctx, tx, state)
		})
		if err == nil || !IsAway(err) || ctx.Err() != nil {
			return err
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// Write runs fn on one connection to the writable side. An error that IsAway recognises says nothing about whether a commit
// inside fn happened; callers that must know ask again.
func (d *Database) Write(ctx context.Context, fn func(conn *pgxpool.Conn) error) error {
	conn, err := d.write.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to writable database: %w", err)
	}
	defer conn.Release()
	return fn(conn)
}

// codeReadOnly is what a write meets on a server that takes none.
const codeReadOnly = "25006"

// IsAway says whether an error is about the database being away, closed to us, read-only or not prepared yet, so that the
// same request may succeed a little later. Other errors of SQL are mistakes of this program.
func IsAway(err error) bool {
	var scan pgx.ScanArgError
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &scan) || errors.Is(err, pgx.ErrNoRows) {
		return false
	}
	var sql *pgconn.PgError
	if !errors.As(err, &sql) {
		return true // the connection, or the time that it took
	}
	switch sql.Code {
	case codeReadOnly,
		"57014",                            // statement timeout, or a conflict with recovery
		"57P01", "57P02", "57P03", "57P05", // the server ends or starts
		"53300", "53400", // no connection left
		"28000", "28P01", // login refused: the fence, or a user that has ended
		"40001", "40P01", "55P03", // lost a race
		"42P01", "3F000": // not prepared yet
		return true
	}
	return len(sql.Code) == 5 && (sql.Code[:2] == "08" || sql.Code[:2] == "58")
}
