package warehouse

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Result is what a load did.
type Result struct {
	Load     int64 // 0 when nothing was to be loaded
	Sequence int64
	Files    int
	Read     map[string]events.Volume // by dataset
	Rejected map[string]int64         // rows of raw files, by dataset
	Written  int64                    // keys whose history may have changed
	Volume   events.Volume            // written to tables that stay
	Seconds  map[string]float64
	Marts    []MartResult
	Restated []string // closed months whose figures this load has changed
	// Failed are the files that could not be read, and why; they are not in.
	Failed map[batch.ID]error
}

// MartResult is what became of a mart that a load touched.
type MartResult struct {
	Mart        string
	Rows        int64
	Passed      int
	Failed      int
	Warned      int
	Quarantined int64
	Missing     string // amount
	BlockedBy   string // check that holds the mart back; empty when it was refreshed
	Reason      string
	Failing     int64
	Kept        int64    // load that the mart shows
	Restated    []string // months before the open one whose rows have changed, as 2026-03; none when the mart was made as a whole for the first time
}

// Ledger has the sha256 of the batches that are in, of those that are asked for.
func (w *Warehouse) Ledger(ctx context.Context, waiting []batch.Announced) (map[batch.ID]string, error) {
	known := map[batch.ID]string{}
	if len(waiting) == 0 {
		return known, nil
	}
	asked := make([]any, len(waiting))
	for i, a := range waiting {
		asked[i] = a.Ready.Batch
	}
	marks := strings.Join(slices.Repeat([]string{"?"}, len(asked)), ", ")
	found, err := w.db.QueryContext(ctx, fmt.Sprintf("SELECT dataset, batch, sha256 FROM etl_batch WHERE batch IN (%s)", marks), asked...)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer found.Close()
	for found.Next() {
		var id batch.ID
		var sum string
		if err := found.Scan(&id.Dataset, &id.Batch, &sum); err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		known[id] = sum
	}
	return known, found.Err()
}

// Load brings files in, in one transaction: stage, vault, marts, ledger and the events that tell of it. Files that cannot be read, or are not what was announced, are left out and told.
// The caller has asked the ledger. An error leaves everything as it was.
func (w *Warehouse) Load(ctx context.Context, files []batch.Announced, store Store) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := Result{Read: map[string]events.Volume{}, Rejected: map[string]int64{}, Seconds: map[string]float64{}, Failed: map[batch.ID]error{}}
	start := time.Now()
	s, err := w.spool(ctx, files, store, &r)
	defer s.remove()
	if err != nil {
		return r, err
	}
	r.lap("read", &start)
	if len(s.files) == 0 {
		return r, nil
	}
	defer w.clean(context.WithoutCancel(ctx))
	deltas, err := w.read(ctx, s, &r)
	if err != nil {
		return r, fmt.Errorf("load %d files: %w", len(s.files), err)
	}
	r.lap("type", &start)
	unreadable := maps.Clone(r.Rejected)
	err = w.withoutBroken(ctx, func(tx *sql.Tx, without map[string]bool) error {
		r.Rejected, r.Marts, r.Written = maps.Clone(unreadable), nil, 0
		return w.load(ctx, tx, s, deltas, without, &r, &start)
	})
	if err != nil {
		r.Load = 0
		return r, fmt.Errorf("load %d files: %w", len(s.files), err)
	}
	r.lap("commit", &start)
	w.o.Log.DebugContext(ctx, "load is in", "load", r.Load, "seconds", r.Seconds)
	return r, nil
}

func (r *Result) lap(stage string, start *time.Time) {
	now := time.Now()
	r.Seconds[stage] += now.Sub(*start).Seconds()
	*start = now
}

// clean drops the working tables: those of a large load would stay in memory until the next one.
func (w *Warehouse) clean(ctx context.Context) {
	found, err := w.conn.QueryContext(ctx, "SELECT 'VIEW', view_name FROM duckdb_views() WHERE temporary AND NOT internal UNION ALL SELECT 'TABLE', table_name FROM duckdb_tables() WHERE temporary")
	if err != nil {
		return // a failure of the engine is told by the next load
	}
	var drops []string
	for found.Next() {
		var kind, name string
		if found.Scan(&kind, &name) == nil {
			drops = append(drops, fmt.Sprintf("DROP %s IF EXISTS temp.%s", kind, canon.Quote(name)))
		}
	}
	_ = found.Close()
	for _, drop := range drops {
		_, _ = w.conn.ExecContext(ctx, drop)
	}
}

// load does the work of the transaction. Marts in without are not computed.
func (w *Warehouse) load(ctx context.Context, tx *sql.Tx, s *spooling, deltas []delta, without map[string]bool, r *Result, start *time.Time) error {
	if err := w.begin(ctx, tx, r); err != nil {
		return err
	}
	before, err := asofDay(ctx, tx)
	if err != nil {
		return err
	}
	if err := s.declare(ctx, tx, r.Load); err != nil {
		return err
	}
	ctx, written, err := w.counted(ctx, tx)
	if err != nil {
		return err
	}
	touched := map[string]bool{}
	for _, d := range deltas {
		if touched[d.plan.Dataset.Name], err = w.fill(ctx, tx, d, r, start); err != nil {
			return err
		}
	}
	if err := w.enter(ctx, tx, s, r); err != nil {
		return err
	}
	after, err := asofDay(ctx, tx)
	if err != nil {
		return err
	}
	reported, err := w.restatements(ctx, tx)
	if err != nil {
		return err
	}
	if err := w.refresh(ctx, tx, occasion{touched: touched, day: before != after, without: without}, r); err != nil {
		return err
	}
	if err := w.tellRestated(ctx, tx, reported, r); err != nil {
		return err
	}
	r.lap("marts", start)
	r.Volume = written.sum
	w.o.Log.DebugContext(ctx, "tables are filled", "seconds", written.took)
	return w.record(ctx, tx, s, r)
}

// fill brings a dataset's delta into stage and vault, and says whether a key was touched.
func (w *Warehouse) fill(ctx context.Context, tx *sql.Tx, d delta, r *Result, start *time.Time) (bool, error) {
	p := d.plan
	first, err := w.stage(ctx, tx, d, r)
	if err != nil {
		return false, fmt.Errorf("stage dataset %s: %w", p.Dataset.Name, err)
	}
	r.lap("stage", start)
	statements := p.First(r.Load)
	if !first {
		statements = slices.Concat(p.Recall(), p.Grow(r.Load), p.Derive(r.Load))
	}
	if err := run(ctx, tx, append(statements, p.Tell(touchedBy(p.Dataset.Name), first))...); err != nil {
		return false, fmt.Errorf("load vault of %s: %w", p.Dataset.Name, err)
	}
	keys, err := number(ctx, tx, "SELECT count(*) FROM "+touchedBy(p.Dataset.Name))
	r.Written += keys
	r.lap("vault", start)
	return keys > 0, err
}

// begin takes the load's number. Numbers are never used twice, not even after the file was made anew: whoever remembers events by their id would take a new load for an old one.
func (w *Warehouse) begin(ctx context.Context, tx *sql.Tx, r *Result) (err error) {
	if r.Load, err = number(ctx, tx, "SELECT greatest(max(load) + 1, ?) FROM (SELECT load FROM etl_load UNION ALL SELECT 0)", leastLoad()); err != nil {
		return err
	}
	r.Sequence, err = number(ctx, tx, "SELECT max(sequence) FROM etl_load")
	return err
}

// asofDay is the day of the greatest asof, where the company is. Marts that run up to it are made anew when it changes.
func asofDay(ctx context.Context, tx *sql.Tx) (string, error) {
	var day string
	err := tx.QueryRowContext(ctx, "SELECT coalesce(strftime(timezone('America/Santiago', timezone('UTC', max(asof_clock))), '%Y-%m-%d'), '') FROM etl_batch").Scan(&day)
	if err != nil {
		return "", fmt.Errorf("read asof: %w", err)
	}
	return day, nil
}

// touchedBy is the TEMP table of a dataset's touched keys.
func touchedBy(dataset string) string { return "touched_" + dataset }

// leastLoad is the time in milliseconds. A load takes longer than one, so that numbers never run ahead of it.
func leastLoad() int64 { return time.Now().UnixMilli() }

// enter writes the files into the ledger.
func (w *Warehouse) enter(ctx context.Context, tx *sql.Tx, s *spooling, r *Result) error {
	for _, f := range s.files {
		ready := f.Ready
		r.Sequence = max(r.Sequence, ready.Sequence)
		_, err := tx.ExecContext(ctx, `INSERT INTO etl_batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::UBIGINT, ?, ?, ?)`, ready.Dataset, ready.Batch, ready.SHA256, f.Event.ID, ready.Sequence,
			ready.Kind, ready.Rows, ready.Bytes, fmt.Sprint(uint64(ready.AsOf.Epoch)), ready.AsOf.SourceClock.UTC(), ready.RawURL, r.Load)
		if err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
	}
	r.Files = len(s.files)
	return nil
}

// record writes the load, and what is to be told of it.
func (w *Warehouse) record(ctx context.Context, tx *sql.Tx, s *spooling, r *Result) error {
	var total events.Volume
	for _, volume := range r.Read {
		total.Rows += volume.Rows
		total.Bytes += volume.Bytes
	}
	now := clock()
	loaded, err := w.announce(ctx, tx, s, r, total, now)
	if err != nil {
		return err
	}
	return enterLoad(ctx, tx, r, total, now, loaded)
}

// enterLoad writes the load into the ledger. told is the first event that tells of it.
func enterLoad(ctx context.Context, tx *sql.Tx, r *Result, read events.Volume, at time.Time, told events.Event) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO etl_load VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", r.Load, r.Sequence, r.Files, read.Rows, read.Bytes, r.Written, at, told.CorrelationID, told.MsgID())
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// AsOf is an asof in one number, which is greater when it is later.
func AsOf(a events.AsOf) *big.Int {
	n := new(big.Int).Lsh(new(big.Int).SetUint64(uint64(a.Epoch)), 64)
	return n.Add(n, big.NewInt(a.SourceClock.UnixMicro()))
}

// bigOf reads what the driver gives for a HUGEINT.
func bigOf(value any) *big.Int {
	switch v := value.(type) {
	case *big.Int:
		return v
	case int64:
		return big.NewInt(v)
	}
	return new(big.Int)
}

// asker is a connection or a transaction.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func columnsOf(ctx context.Context, db *sql.DB, table string) ([]canon.Column, error) {
	return columnsIn(ctx, db, table)
}

func columnsIn(ctx context.Context, db asker, table string) ([]canon.Column, error) {
	found, err := db.QueryContext(ctx, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND schema_name = 'main' AND database_name = current_database() ORDER BY column_index", table)
	if err != nil {
		return nil, fmt.Errorf("describe table %s: %w", table, err)
	}
	defer found.Close()
	var columns []canon.Column
	for found.Next() {
		var c canon.Column
		if err := found.Scan(&c.Name, &c.Type); err != nil {
			return nil, fmt.Errorf("describe table %s: %w", table, err)
		}
		columns = append(columns, c)
	}
	if len(columns) == 0 && found.Err() == nil {
		return nil, fmt.Errorf("describe table %s: there is no such table", table)
	}
	return columns, found.Err()
}

// put adds an event to the outbox, within the transaction of what it tells.
func put(ctx context.Context, tx *sql.Tx, event events.Event) error {
	data, err := event.Encode()
	if err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	if !json.Valid(data) {
		return fmt.Errorf("write outbox: event %s is not JSON", event.ID)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO etl_outbox VALUES (nextval('etl_outbox_id'), ?)", string(data)); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	return nil
}
