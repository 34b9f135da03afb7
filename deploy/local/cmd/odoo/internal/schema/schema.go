// Package schema makes the stand-in's tables and first rows, once, whichever colour comes first.
package schema

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/company"
)

//go:embed migrations/*.sql
var migrations embed.FS

// preparing is the advisory lock under which tables are made; any number that nobody else uses in this database.
const preparing = 120_001

// Seeding says what the first rows are made from. Equal values give equal rows.
type Seeding struct {
	Seed  uint64
	Scale int
	// Day is the last day of the history; zero for the day on which this runs, in Santiago.
	Day time.Time
}

// Report says what Prepare did.
type Report struct {
	Migrated []string
	Seeded   bool
	Rows     int
}

// Prepare brings the tables to the newest version and seeds them if nobody has, all in one transaction: a crash at any point
// leaves nothing half-made. Two colours that start together wait for each other. It needs a writable database.
func Prepare(ctx context.Context, pool *pgxpool.Pool, s Seeding) (Report, error) {
	var report Report
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		report = Report{}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '60s'"); err != nil {
			return fmt.Errorf("limit waiting for locks: %w", err)
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(preparing)); err != nil {
			return fmt.Errorf("wait for the other colour's migration: %w", err)
		}
		migrated, err := migrate(ctx, tx)
		if err != nil {
			return err
		}
		report.Migrated = migrated
		report.Rows, err = seed(ctx, tx, s)
		report.Seeded = report.Rows > 0
		return err
	})
	return report, err
}

func migrate(ctx context.Context, tx pgx.Tx) ([]string, error) {
	if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS odoo_migration (
		number integer PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())`); err != nil {
		return nil, fmt.Errorf("make table odoo_migration: %w", err)
	}
	var done int
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(number), 0) FROM odoo_migration").Scan(&done); err != nil {
		return nil, fmt.Errorf("read last migration: %w", err)
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var applied []string
	for _, file := range files { // in order of their names
		name := strings.TrimPrefix(file, "migrations/")
		number, err := strconv.Atoi(name[:4])
		if err != nil {
			return nil, fmt.Errorf("read number of migration %s: %w", name, err)
		}
		if number <= done {
			continue
		}
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		if _, err := tx.Conn().PgConn().Exec(ctx, string(text)).ReadAll(); err != nil {
			return nil, fmt.Errorf("apply migration %s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO odoo_migration (number, name) VALUES ($1, $2)", number, name); err != nil {
			return nil, fmt.Errorf("record migration %s: %w", name, err)
		}
		applied = append(applied, name)
	}
	return applied, nil
}

func seed(ctx context.Context, tx pgx.Tx, s Seeding) (int, error) {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM odoo_seed)").Scan(&there); err != nil {
		return 0, fmt.Errorf("look for seeded rows: %w", err)
	}
	if there {
		return 0, nil
	}
	day := s.Day
	if day.IsZero() {
		if err := tx.QueryRow(ctx, "SELECT (now() AT TIME ZONE 'America/Santiago')::date").Scan(&day); err != nil {
			return 0, fmt.Errorf("ask database for the day: %w", err)
		}
	}
	history := company.New(s.Seed, s.Scale, day)
	for _, table := range history.Tables() {
		if err := fill(ctx, tx, table); err != nil {
			return 0, err
		}
	}
	if _, err := tx.Exec(ctx, "INSERT INTO odoo_seed (seed, scale, day, digest) VALUES ($1, $2, $3, $4)",
		strconv.FormatUint(s.Seed, 10), s.Scale, day, history.Digest()); err != nil {
		return 0, fmt.Errorf("record seed: %w", err)
	}
	return history.Rows(), nil
}

// fill copies a table's rows as text, which keeps every digit, and moves the table's sequence behind them.
func fill(ctx context.Context, tx pgx.Tx, t *company.Table) error {
	columns := strings.Join(t.Columns, ", ")
	_, err := tx.Conn().PgConn().CopyFrom(ctx, strings.NewReader(t.Copy()), fmt.Sprintf("COPY %s (%s) FROM STDIN", t.Name, columns))
	if err != nil {
		return fmt.Errorf("fill table %s: %w", t.Name, err)
	}
	key := t.Columns[0]
	_, err = tx.Exec(ctx, fmt.Sprintf("SELECT setval(pg_get_serial_sequence('%s', '%s'), greatest(max(%s), 1)) FROM %s", t.Name, key, key, t.Name))
	if err != nil {
		return fmt.Errorf("move sequence of table %s: %w", t.Name, err)
	}
	return nil
}
