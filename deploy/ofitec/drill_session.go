package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// session writes through one database session at a region's proxy and holds it open: what a fence must end are not only new requests. The session takes
// back whatever might hold it: a read-only default, a statement's time, the server's look at its client.
func (w *writers) session(ctx context.Context, l layout.Layout, door layout.Region) {
	seq := int64(0)
	for ctx.Err() == nil {
		err := w.holdSession(ctx, l, door, &seq)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.note(door)
		}
		pause(ctx, 4*writePause)
	}
}

// held says whether the session at a region's door has written.
func (w *writers) held(door layout.Region) bool {
	for _, a := range w.seen() {
		if a.Writer == w.sessionWriter(door) {
			return true
		}
	}
	return false
}

// names are those of all that wrote, at the doors and by sessions.
func (w *writers) names() []string {
	var names []string
	for _, r := range layout.DataRegions {
		names = append(names, w.writer(r), w.sessionWriter(r))
	}
	return names
}

// sessionWriter is the ledger's name for what a session writes.
func (w *writers) sessionWriter(door layout.Region) string { return w.run + "-session-" + string(door) }

// holdSession opens a session and writes until it ends.
func (w *writers) holdSession(ctx context.Context, l layout.Layout, door layout.Region, seq *int64) error {
	limited, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	conn, err := application(limited, l, door)
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		defer cancel()
		_ = conn.Close(last)
	}()
	if _, err := conn.Exec(limited, "SET default_transaction_read_only = off; SET statement_timeout = 0; SET client_connection_check_interval = 0"); err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	for ctx.Err() == nil {
		*seq++
		if err := w.commit(ctx, conn, door, *seq); err != nil {
			return err
		}
		pause(ctx, writePause)
	}
	return nil
}

// commit is one write. It is acknowledged with the answer to the statement, whatever comes of the question where it lies.
func (w *writers) commit(ctx context.Context, conn *pgx.Conn, door layout.Region, seq int64) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	a := acknowledged{Writer: w.sessionWriter(door), Seq: seq, Sent: time.Now(), ServedBy: door}
	err := conn.QueryRow(ctx, `INSERT INTO of_ledger (writer, seq, region, colour) VALUES ($1, $2, $3, 'session')
RETURNING ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint`, a.Writer, a.Seq, string(door)).Scan(&a.Timeline)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	a.Received = time.Now()
	var at string
	err = conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&at)
	if err == nil {
		a.LSN, err = events.ParseLSN(at)
	}
	if err != nil {
		a.LSN = math.MaxUint64 // nobody knows where; no more is demanded of it than of the last write of all
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = append(w.acks, a)
	return err
}

// note counts a write that was refused or not answered.
func (w *writers) note(door layout.Region) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[door]++
}

// application logs in at a region's database proxy as Odoo does, with what stands in its environment file now.
func application(ctx context.Context, l layout.Layout, r layout.Region) (*pgx.Conn, error) {
	lines, err := environment(l.OdooEnvFile(r, "blue"))
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s dbname=%s sslmode=%s sslrootcert='%s' connect_timeout=1 application_name=drill passfile=/dev/null",
		lines["POSTGRES_HOST"], lines["POSTGRES_PORT"], lines["POSTGRES_DB"], lines["POSTGRES_SSLMODE"], lines["POSTGRES_SSLROOTCERT"]))
	if err != nil {
		return nil, fmt.Errorf("read how region %s's Odoo logs in: host, port, database or TLS mode is not usable", r) // the error could quote more
	}
	config.User, config.Password = lines["POSTGRES_USER"], lines["POSTGRES_PASSWORD"]
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("log in at region %s: %w", r, err)
	}
	return conn, nil
}

// environment reads an environment file.
func environment(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read environment file: %w", err)
	}
	defer func() { _ = file.Close() }()
	values := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(key, "#") {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values, lines.Err()
}
