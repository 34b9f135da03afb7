// Package postgres publishes marts to a PostgreSQL database for readers: all of them in one transaction, during which readers see what was there before.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Column is one of a mart: its name and its type as PostgreSQL calls it. Silent ones are not in the digest.
type Column struct {
	Name, Type string
	Silent     bool
}

// Content is what a mart has: the digest tells it, row count included, and is "" while nobody knows it.
type Content struct {
	Rows   int64
	Digest string
}

// Mart is a table to be published.
type Mart struct {
	Name    string
	Comment string
	Columns []Column
	Grain   []string
	// Know may read the whole mart for its digest; Write gives all rows in the text format of COPY, columns in their order, and knows the digest by that.
	Know  func(ctx context.Context) (Content, error)
	Write func(ctx context.Context, out io.Writer) (Content, error)
	// Delta is what has changed since the publication that readers see; nil when that is not known.
	Delta *Delta
}

// Outcome is what a publication did.
type Outcome struct {
	Replaced, Changed []string  // marts, as a whole and by what has changed
	Visible           time.Time // when readers had them
	// Unsettled is what was wrong with marts behind the commit: readers have them.
	Unsettled error
}

// Publication is what readers see as a whole.
type Publication struct {
	Region   string
	Load     int64
	Sequence int64
	At       time.Time
	Held     []Held // Current does not read it
	// Waiting are the marts that were found to be other ones than was published, and are to be replaced. Only Current says it.
	Waiting []string
}

// Held is what a check found in a mart, for readers: rows that are kept out, or why the mart is an older load's.
type Held struct {
	Mart, Check, Severity string
	Failing               int64
	Amount                string // of the rows that are kept out, "" for none
	Blocks                bool
	Reason                string
}

// Server is a database. It connects for each call and keeps nothing open, so that a failover needs no care.
type Server struct {
	config *pgx.ConnConfig
}

// Times of a publication.
const (
	connectWithin = 5 * time.Second
	lockWithin    = "10s" // how long a change of a table's columns may wait for readers
)

// New reads a DSN; password replaces the one in it when it is not empty. It does not connect.
func New(dsn, password string) (*Server, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("read OFITEC_ANALYTICS_DSN: it is not a DSN such as postgres://user@host:5432/analytics?sslmode=verify-full") // the cause may show the password
	}
	if password != "" {
		config.Password = password
	}
	config.ConnectTimeout = connectWithin
	config.RuntimeParams["application_name"] = "etl-transform"
	config.RuntimeParams["lock_timeout"] = lockWithin
	return &Server{config: config}, nil
}

const bookkeeping = `
CREATE TABLE IF NOT EXISTS etl_publication (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), region text NOT NULL, load bigint NOT NULL, manifest_sequence bigint NOT NULL, published_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS etl_published_mart (mart text PRIMARY KEY, rows bigint NOT NULL, digest text NOT NULL, columns text NOT NULL, load bigint NOT NULL);
CREATE TABLE IF NOT EXISTS etl_held_back (mart text, check_name text, severity text NOT NULL, failing bigint NOT NULL, amount numeric, blocks boolean NOT NULL, reason text NOT NULL, PRIMARY KEY (mart, check_name));
CREATE TABLE IF NOT EXISTS etl_verification (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), verified_at timestamptz NOT NULL);`

// Current tells what readers see; the zero Publication when nothing was published yet.
func (s *Server) Current(ctx context.Context) (Publication, error) {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return Publication{}, fmt.Errorf("connect to analytics: %w", err)
	}
	defer closeSoon(ctx, conn)
	return current(ctx, conn)
}

func current(ctx context.Context, conn *pgx.Conn) (Publication, error) {
	var p Publication
	err := conn.QueryRow(ctx, "SELECT region, load, manifest_sequence, published_at, ARRAY(SELECT mart FROM etl_published_mart WHERE digest = '' ORDER BY mart) FROM etl_publication").Scan(&p.Region, &p.Load, &p.Sequence, &p.At, &p.Waiting)
	var missing *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || errors.As(err, &missing) && missing.Code == "42P01" {
		return Publication{}, nil
	}
	if err != nil {
		return p, fmt.Errorf("read publication: %w", err)
	}
	return p, nil
}

// Publish brings the marts that differ from what is there, in one transaction: by what has changed where that is known, else as a whole. Readers neither wait nor see a half, unless the columns of a mart have changed:
// then they wait for the commit.
func (s *Server) Publish(ctx context.Context, p Publication, marts []Mart) (done Outcome, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return done, fmt.Errorf("connect to analytics: %w", err)
	}
	defer closeSoon(ctx, conn)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return done, fmt.Errorf("begin publication: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // does nothing after a commit
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('ofitec etl publication'))"); err != nil {
		return done, fmt.Errorf("begin publication: %w", err)
	}
	if _, err := conn.Exec(ctx, bookkeeping); err != nil {
		return done, fmt.Errorf("make tables of the publication: %w", err)
	}
	var whole []settling
	for _, m := range marts {
		how, content, err := bring(ctx, conn, m, p.Load)
		if err != nil {
			return done, fmt.Errorf("publish %s: %w", m.Name, err)
		}
		switch how {
		case asWhole:
			done.Replaced, whole = append(done.Replaced, m.Name), append(whole, settling{m, content.Digest})
		case byDelta:
			done.Changed = append(done.Changed, m.Name)
		}
	}
	_, err = conn.Exec(ctx, `INSERT INTO etl_publication (region, load, manifest_sequence, published_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (only_one) DO UPDATE SET region = EXCLUDED.region, load = EXCLUDED.load, manifest_sequence = EXCLUDED.manifest_sequence, published_at = EXCLUDED.published_at`,
		p.Region, p.Load, p.Sequence, p.At)
	if err != nil {
		return done, fmt.Errorf("write publication: %w", err)
	}
	if err := tell(ctx, conn, p.Held); err != nil {
		return done, err
	}
	if err := tx.Commit(ctx); err != nil {
		return done, fmt.Errorf("commit publication: %w", err)
	}
	done.Visible = time.Now()
	for _, m := range whole {
		done.Unsettled = errors.Join(done.Unsettled, m.settle(ctx, conn))
	}
	return done, nil
}

// tell replaces what readers know of the checks.
func tell(ctx context.Context, conn *pgx.Conn, held []Held) error {
	batch := &pgx.Batch{}
	batch.Queue("DELETE FROM etl_held_back")
	for _, h := range held {
		batch.Queue("INSERT INTO etl_held_back VALUES ($1, $2, $3, $4, nullif($5, '')::numeric, $6, $7) ON CONFLICT DO NOTHING", h.Mart, h.Check, h.Severity, h.Failing, h.Amount, h.Blocks, h.Reason)
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write what checks hold back: %w", err)
	}
	return nil
}

// way is how a mart came to the readers.
type way int

const (
	asItWas way = iota
	asWhole
	byDelta
)

func bring(ctx context.Context, conn *pgx.Conn, m Mart, load int64) (how way, content Content, err error) {
	var digest, columns string
	err = conn.QueryRow(ctx, "SELECT digest, columns FROM etl_published_mart WHERE mart = $1 AND to_regclass(quote_ident(mart)) IS NOT NULL", m.Name).Scan(&digest, &columns)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return asItWas, content, fmt.Errorf("read what is there: %w", err)
	}
	want := definition(m.Columns)
	how, err = asWhole, errElse
	if columns == want && digest != "" {
		if content, err = m.Know(ctx); err != nil || content.Digest == digest {
			return asItWas, content, err
		}
		if err = errElse; m.Delta != nil {
			how, err = byDelta, change(ctx, conn, m, digest, content.Digest)
		}
	}
	if errors.Is(err, errElse) {
		how = asWhole
		content, err = replace(ctx, conn, m, columns == want)
	}
	if err != nil {
		return asItWas, content, err
	}
	_, err = conn.Exec(ctx, `INSERT INTO etl_published_mart VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mart) DO UPDATE SET rows = EXCLUDED.rows, digest = EXCLUDED.digest, columns = EXCLUDED.columns, load = EXCLUDED.load`, m.Name, content.Rows, content.Digest, want, load)
	if err != nil {
		return asItWas, content, fmt.Errorf("write what is there: %w", err)
	}
	return how, content, nil
}

// replace brings all rows; there says that a table of the same columns is.
func replace(ctx context.Context, conn *pgx.Conn, m Mart, there bool) (content Content, err error) {
	table, names := pgx.Identifier{m.Name}.Sanitize(), make([]string, len(m.Columns))
	for i, c := range m.Columns {
		names[i] = pgx.Identifier{c.Name}.Sanitize()
	}
	freeze := ""
	if there {
		// Not TRUNCATE, which readers would have to wait for.
		_, err = conn.Exec(ctx, "DELETE FROM "+table)
	} else {
		// Nobody can see the table before the commit, and nothing that reads it has to mark its rows as there: that would write each page once more.
		freeze = " WITH (FREEZE)"
		_, err = conn.PgConn().Exec(ctx, fmt.Sprintf("DROP TABLE IF EXISTS %[1]s; CREATE TABLE %[1]s (%[2]s); COMMENT ON TABLE %[1]s IS %[3]s", table, definition(m.Columns), literal(m.Comment))).ReadAll()
	}
	if err != nil {
		return content, fmt.Errorf("clear: %w", err)
	}
	rows, err := copyIn(ctx, conn, table, names, freeze, func(ctx context.Context, out io.Writer) (err error) {
		content, err = m.Write(ctx, out)
		return err
	})
	if err != nil {
		return content, err
	}
	if rows != content.Rows {
		return content, fmt.Errorf("%d rows went in, the warehouse has %d", rows, content.Rows)
	}
	return content, nil
}

func copyIn(ctx context.Context, conn *pgx.Conn, table string, names []string, how string, write func(ctx context.Context, out io.Writer) error) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	written := make(chan error, 1) // one value: how writing ended
	go func() {
		err := write(ctx, out)
		_ = out.CloseWithError(err) // it never fails
		written <- err
	}()
	tag, err := conn.PgConn().CopyFrom(ctx, in, fmt.Sprintf("COPY %s (%s) FROM STDIN%s", table, strings.Join(names, ", "), how))
	_ = in.CloseWithError(errors.New("copy has ended"))
	if wrote := <-written; wrote != nil && err == nil {
		err = wrote
	}
	if err != nil {
		return 0, fmt.Errorf("copy: %w", err)
	}
	return tag.RowsAffected(), nil
}

func definition(columns []Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = pgx.Identifier{c.Name}.Sanitize() + " " + c.Type
	}
	return strings.Join(parts, ", ")
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func closeSoon(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// Sorted gives marts in order of their names: of two publications at once none waits for the other in a circle.
func Sorted(marts []Mart) []Mart {
	return slices.SortedFunc(slices.Values(marts), func(a, b Mart) int { return strings.Compare(a.Name, b.Name) })
}
