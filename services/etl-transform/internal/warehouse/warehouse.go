// Package warehouse keeps the vault and the marts in DuckDB: one transaction a micro-batch, with the batches' ledger and the events that tell of it.
package warehouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
	"github.com/ofitec/ofitec/services/etl-transform/internal/check"
	"github.com/ofitec/ofitec/services/etl-transform/internal/rows"
	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

// Options are what a warehouse is made of.
type Options struct {
	Region events.Region
	Models *models.Models
	Tokens rows.Tokens
	// TokenVersion names the key of the tokens without telling it.
	TokenVersion string
	// Spool is a folder for what is read, mode 0700. What is in it holds tokens, no personal data.
	Spool string
	Log   *slog.Logger
}

// Warehouse is the open file. Its methods may be called concurrently; one of them writes at a time.
type Warehouse struct {
	o     Options
	db    *sql.DB
	plans []vault.Plan

	mu   sync.Mutex
	conn *sql.Conn // TEMP tables live in it; held with mu

	attempts attempts // held with mu

	digests struct {
		sync.Mutex
		of map[string]remembered // by mart
	}
}

// ErrOtherRules says that the file was made by other models or another token key than the ones that are to be used now.
var ErrOtherRules = errors.New("the warehouse was made by other models, another token key or another version of the rules")

// rules is the version of what this program makes of the same raw files: a change of it makes every warehouse anew.
const rules = "5"

// functions are what the marts' SQL may use beside the engine's own: a decimal divided by a decimal would be a float. Amounts have two digits behind the point; results are rounded
// once, half away from zero. ratio is NULL when d is 0 or the result has more than 12 digits before the point; share is a x b / c.
var functions = []string{
	`CREATE OR REPLACE MACRO cents(n) AS CAST(CAST(n AS DECIMAL(36,2)) * 100 AS HUGEINT)`,
	`CREATE OR REPLACE MACRO quotient(n, d) AS CASE WHEN d <> 0 THEN sign(n) * sign(d) * ((2 * abs(n) + abs(d)) // (2 * abs(d))) END`,
	`CREATE OR REPLACE MACRO ratio(n, d) AS CAST(TRY_CAST(quotient(cents(n) * 1000000, cents(d)) AS DECIMAL(18,0)) * CAST(0.000001 AS DECIMAL(7,6)) AS DECIMAL(18,6))`,
	`CREATE OR REPLACE MACRO share(a, b, c) AS CAST(TRY_CAST(quotient(cents(a) * cents(b), cents(c)) AS DECIMAL(18,0)) * CAST(0.01 AS DECIMAL(3,2)) AS DECIMAL(18,2))`,
}

var tables = []string{
	`CREATE TABLE IF NOT EXISTS etl_state (name VARCHAR, value VARCHAR)`,
	`CREATE TABLE IF NOT EXISTS etl_load (load BIGINT, sequence BIGINT, files BIGINT, read_rows BIGINT, read_bytes BIGINT, written_rows BIGINT, loaded_at TIMESTAMP, correlation VARCHAR, told VARCHAR)`,
	`CREATE TABLE IF NOT EXISTS etl_batch (dataset VARCHAR, batch VARCHAR, sha256 VARCHAR, event_id VARCHAR, sequence BIGINT, kind VARCHAR, rows BIGINT, bytes BIGINT,
		asof_epoch UBIGINT, asof_clock TIMESTAMP, raw_url VARCHAR, load BIGINT)`,
	`CREATE TABLE IF NOT EXISTS etl_quarantine (layer VARCHAR, name VARCHAR, row_key VARCHAR, hk UHUGEINT, column_name VARCHAR, value VARCHAR, reason VARCHAR, amount VARCHAR,
		raw_url VARCHAR, raw_line BIGINT, raw_sequence BIGINT, load BIGINT)`,
	`CREATE TABLE IF NOT EXISTS etl_mart (mart VARCHAR, load BIGINT, rows BIGINT, blocked_by VARCHAR, reason VARCHAR)`,
	`CREATE TABLE IF NOT EXISTS etl_check (mart VARCHAR, name VARCHAR, severity VARCHAR, failing BIGINT, load BIGINT)`,
	`CREATE TABLE IF NOT EXISTS etl_model (kind VARCHAR, name VARCHAR, file VARCHAR, definition VARCHAR)`,
	`CREATE TABLE IF NOT EXISTS etl_outbox (id BIGINT, data VARCHAR)`,
	`CREATE SEQUENCE IF NOT EXISTS etl_outbox_id`,
}

// New makes the tables of the models in an open database. It returns an error that wraps ErrOtherRules when the file must be made anew, and closes nothing then.
func New(ctx context.Context, db *sql.DB, o Options) (*Warehouse, error) {
	plans, err := vault.Plans(o.Models)
	if err != nil {
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	w := &Warehouse{o: o, db: db, plans: plans, attempts: attempts{}}
	w.digests.of = map[string]remembered{}
	if err := os.MkdirAll(o.Spool, 0o700); err != nil {
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	for _, left := range spooled(o.Spool) {
		_ = os.Remove(left) // of a process that has died
	}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	if err := w.prepare(ctx); err != nil {
		_ = w.conn.Close()
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	return w, nil
}

func spooled(folder string) []string {
	paths, _ := filepath.Glob(filepath.Join(folder, "*.spool")) // the pattern is sound
	return paths
}

// Close ends the use of the file.
func (w *Warehouse) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.conn.Close(), w.db.Close())
}

// Version names what the file was made by.
func (w *Warehouse) version() string {
	return fmt.Sprintf("rules %s, models %s, key %s", rules, w.o.Models.Version(), w.o.TokenVersion)
}

func (w *Warehouse) prepare(ctx context.Context) error {
	statements := slices.Concat(tables, functions)
	for _, p := range w.plans {
		statements = append(statements, p.DDL()...)
	}
	return w.transaction(ctx, func(tx *sql.Tx) error {
		if err := run(ctx, tx, statements...); err != nil {
			return err
		}
		var made sql.NullString
		if err := tx.QueryRowContext(ctx, "SELECT max(value) FROM etl_state WHERE name = 'version'").Scan(&made); err != nil {
			return fmt.Errorf("read version: %w", err)
		}
		if made.Valid && made.String != w.version() {
			return fmt.Errorf("%w: it has %s, want %s", ErrOtherRules, made.String, w.version())
		}
		if made.Valid {
			return nil
		}
		for _, m := range w.o.Models.Marts() {
			if err := run(ctx, tx, fmt.Sprintf("CREATE TABLE %s AS SELECT * FROM (%s) LIMIT 0", m.Name, m.SQL)); err != nil {
				return fmt.Errorf("make mart %s (%s): %w", m.Name, m.File, err)
			}
		}
		for _, m := range w.o.Models.Marts() {
			if err := w.tryChecks(ctx, tx, m); err != nil {
				return err
			}
		}
		if err := w.saveModels(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO etl_state VALUES ('version', ?)", w.version()); err != nil {
			return fmt.Errorf("write version: %w", err)
		}
		return nil
	})
}

// tryChecks runs a mart's checks while it is empty, so that a column that is not there is told at once.
func (w *Warehouse) tryChecks(ctx context.Context, tx *sql.Tx, m models.Mart) error {
	checks := check.Of(w.o.Models.Checks(), m.Name)
	for _, c := range checks {
		query := check.Table(c, m.Name)
		if c.Kind.OfRows() {
			query = fmt.Sprintf("SELECT count(*) FROM %s WHERE %s", m.Name, check.AnyFailing(check.Rows([]models.Check{c})))
		}
		if err := run(ctx, tx, query); err != nil {
			return fmt.Errorf("try check %s of %s: %w", c.Name(), m.Name, err)
		}
	}
	return nil
}

// transaction runs one on the writing connection. The caller holds mu, or nobody else knows the warehouse yet.
func (w *Warehouse) transaction(ctx context.Context, body func(tx *sql.Tx) error) error {
	tx, err := w.conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := body(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func run(ctx context.Context, tx *sql.Tx, statements ...string) error {
	for _, statement := range statements {
		began := time.Now()
		done, err := tx.ExecContext(ctx, statement)
		if err != nil {
			return fmt.Errorf("run %.60q: %w", statement, err)
		}
		count(ctx, statement, began, done)
	}
	return nil
}

func number(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	var n sql.NullInt64
	if err := tx.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("run %.60q: %w", query, err)
	}
	return n.Int64, nil
}

// Tables lists the tables that have a digest, in order.
func (w *Warehouse) Tables() []string {
	var names []string
	for _, p := range w.plans {
		names = append(names, p.Tables()...)
	}
	for _, m := range w.o.Models.Marts() {
		names = append(names, m.Name)
	}
	return names
}

// Digest is a table's row count and the sum of its rows' hashes.
func (w *Warehouse) Digest(ctx context.Context, table string) (string, error) {
	columns, err := columnsOf(ctx, w.db, table)
	if err != nil {
		return "", err
	}
	var count, high, low any
	if err := w.db.QueryRowContext(ctx, canon.DigestSQL(table, columns)).Scan(&count, &high, &low); err != nil {
		return "", fmt.Errorf("digest table %s: %w", table, err)
	}
	return canon.Digest(bigOf(count), bigOf(high), bigOf(low)), nil
}

// clock is the time of a load; its only use is to be told.
func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
