package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Snapshot is the marts as one load has left them, for publishing. It holds a transaction that reads; Close ends it.
type Snapshot struct {
	Load     int64 // 0 when nothing was loaded yet
	Sequence int64
	AsOf     events.AsOf
	Marts    []MartRows
	tx       *sql.Tx

	forgotten int64 // the log of changes begins after this load
}

// MartRows is one mart of a snapshot.
type MartRows struct {
	Name    string
	Comment string
	Columns []canon.Column
	Digest  string
	Rows    int64

	grain models.Mart
}

// Grain are the columns that identify a row.
func (m MartRows) Grain() []string { return m.grain.Grain }

// Snapshot begins one. Loads go on beside it.
func (w *Warehouse) Snapshot(ctx context.Context) (_ *Snapshot, err error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	s := &Snapshot{tx: tx}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(load), 0), coalesce(max(sequence), 0) FROM etl_load").Scan(&s.Load, &s.Sequence); err != nil {
		return nil, fmt.Errorf("read last load: %w", err)
	}
	if s.Load == 0 {
		return s, nil
	}
	var epoch string
	err = tx.QueryRowContext(ctx, "SELECT asof_epoch::VARCHAR, asof_clock FROM etl_batch ORDER BY asof_epoch DESC, asof_clock DESC LIMIT 1").Scan(&epoch, &s.AsOf.SourceClock)
	if err != nil {
		return nil, fmt.Errorf("read asof: %w", err)
	}
	number, _ := strconv.ParseUint(epoch, 10, 64) // it came out of a UBIGINT
	s.AsOf.Epoch, s.AsOf.SourceClock = events.Epoch(number), s.AsOf.SourceClock.UTC()
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(value::BIGINT) FILTER (name = 'published'), 0) FROM etl_state WHERE name = 'published'").Scan(&s.forgotten); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	for _, m := range w.o.Models.Marts() {
		mart := MartRows{grain: m, Name: m.Name, Comment: strings.TrimSpace(m.Description)}
		if mart.Columns, err = columnsOf(ctx, w.db, m.Name); err != nil {
			return nil, err
		}
		if mart.Digest, mart.Rows, err = w.martDigest(ctx, tx, m.Name, mart.Columns); err != nil {
			return nil, err
		}
		s.Marts = append(s.Marts, mart)
	}
	return s, nil
}

// remembered is a mart's digest as of a load.
type remembered struct {
	load   int64
	digest string
	rows   int64
}

// martDigest computes a mart's digest when a load has changed the mart since it was last asked for.
func (w *Warehouse) martDigest(ctx context.Context, tx *sql.Tx, mart string, columns []canon.Column) (digest string, rows int64, err error) {
	state, err := w.martState(ctx, tx, mart)
	if err != nil {
		return "", 0, err
	}
	w.digests.Lock()
	defer w.digests.Unlock()
	if known, found := w.digests.of[mart]; found && known.load == state.load {
		return known.digest, known.rows, nil
	}
	kept, err := keptDigest(ctx, tx, mart, state.load)
	if err != nil {
		return "", 0, err
	}
	if kept != "" {
		count, _ := parseDigest(kept)
		return kept, count.Int64(), nil
	}
	var count, high, low any
	if err := tx.QueryRowContext(ctx, canon.DigestSQL(mart, columns)).Scan(&count, &high, &low); err != nil {
		return "", 0, fmt.Errorf("digest mart %s: %w", mart, err)
	}
	known := remembered{state.load, canon.Digest(bigOf(count), bigOf(high), bigOf(low)), bigOf(count).Int64()}
	w.digests.of[mart] = known
	return known.digest, known.rows, nil
}

// Close ends the snapshot. It may be called twice.
func (s *Snapshot) Close() { _ = s.tx.Rollback() }

// Write gives a mart's rows in the text format of PostgreSQL's COPY. Keys become UUIDs: that of project 42 is md5('42')::uuid.
func (s *Snapshot) Write(ctx context.Context, m MartRows, out io.Writer) error {
	return s.write(ctx, m.Name, m.Columns, m.Name, out)
}

// write gives columns of a relation.
func (s *Snapshot) write(ctx context.Context, mart string, columns []canon.Column, relation string, out io.Writer) error {
	fields := make([]string, len(columns))
	for i, c := range columns {
		fields[i] = "coalesce(" + copyText(c) + `, '\N')`
	}
	found, err := s.tx.QueryContext(ctx, fmt.Sprintf("SELECT %s || chr(10) FROM %s", strings.Join(fields, " || chr(9) || "), relation))
	if err != nil {
		return fmt.Errorf("read mart %s: %w", mart, err)
	}
	defer found.Close()
	const enough = 1 << 16
	buffer := make([]byte, 0, 2*enough)
	var line sql.RawBytes
	for found.Next() {
		if err := found.Scan(&line); err != nil {
			return fmt.Errorf("read mart %s: %w", mart, err)
		}
		if buffer = append(buffer, line...); len(buffer) < enough {
			continue
		}
		if _, err := out.Write(buffer); err != nil {
			return err
		}
		buffer = buffer[:0]
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("read mart %s: %w", mart, err)
	}
	_, err = out.Write(buffer)
	return err
}

func copyText(c canon.Column) string {
	column := canon.Quote(c.Name)
	switch c.Type {
	case canon.Key:
		return uuid(column)
	case "VARCHAR":
		return `replace(replace(replace(replace(` + column + `, '\', '\\'), chr(9), '\t'), chr(10), '\n'), chr(13), '\r')`
	}
	return "CAST(" + column + " AS VARCHAR)"
}

// uuid writes a key as the hexadecimal digits of the md5 that it is: the engine keeps them as a number whose least byte is the first.
func uuid(column string) string {
	digits := "lpad(hex(" + column + "), 32, '0')"
	pairs := make([]string, 16)
	for i := range pairs {
		pairs[i] = fmt.Sprintf("substr(%s, %d, 2)", digits, 31-2*i)
	}
	return "CASE WHEN " + column + " IS NOT NULL THEN " + strings.Join(pairs, " || ") + " END"
}

// PostgresType is the type of a published column.
func PostgresType(duck string) string {
	switch {
	case duck == canon.Key:
		return "uuid"
	case duck == "VARCHAR":
		return "text"
	case duck == "BOOLEAN", duck == "DATE", duck == "TIMESTAMP", duck == "BIGINT", duck == "INTEGER":
		return strings.ToLower(duck)
	case strings.HasPrefix(duck, "DECIMAL"):
		return "numeric" + strings.TrimPrefix(duck, "DECIMAL")
	case duck == "DOUBLE":
		return "double precision"
	case duck == "HUGEINT":
		return "numeric(39,0)"
	}
	return "text"
}

// Published says in the outbox that readers see a snapshot.
func (w *Warehouse) Published(ctx context.Context, s *Snapshot, at time.Time, took time.Duration) error {
	payload := events.WarehousePublished{
		Load: events.Load{Region: w.o.Region, Load: s.Load, Sequence: s.Sequence}, Published: at, Seconds: took.Seconds(), AsOf: s.AsOf,
	}
	for _, m := range s.Marts {
		payload.Marts = append(payload.Marts, events.PublishedMart{Mart: m.Name, Rows: m.Rows, Digest: m.Digest})
	}
	var correlation, told string
	if err := s.tx.QueryRowContext(ctx, "SELECT correlation, told FROM etl_load WHERE load = ?", s.Load).Scan(&correlation, &told); err != nil {
		return fmt.Errorf("read cause of load %d: %w", s.Load, err)
	}
	event, err := events.New(events.Origin{Region: w.o.Region, Service: service}, at, payload, events.Correlated(correlation, told))
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.transaction(ctx, func(tx *sql.Tx) error {
		if err := run(ctx, tx, "DELETE FROM etl_state WHERE name IN ('published', 'published_at')"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO etl_state VALUES ('published', ?), ('published_at', ?)", strconv.FormatInt(s.Load, 10), at.Format(time.RFC3339Nano))
		if err != nil {
			return fmt.Errorf("write state: %w", err)
		}
		if err := w.forget(ctx, tx, s); err != nil {
			return err
		}
		return put(ctx, tx, event)
	})
}

// forget clears the log of what readers have seen, and keeps the digests that were computed for them.
func (w *Warehouse) forget(ctx context.Context, tx *sql.Tx, s *Snapshot) error {
	for _, m := range s.Marts {
		if err := run(ctx, tx, fmt.Sprintf("DELETE FROM %s WHERE load <= %d", logOf(m.Name), s.Load)); err != nil {
			return err
		}
		state, err := w.martState(ctx, tx, m.Name)
		if err != nil {
			return err
		}
		if state.load > s.Load {
			continue // another load has come since
		}
		if err := run(ctx, tx, fmt.Sprintf("DELETE FROM etl_digest WHERE mart = %s", canon.Literal(m.Name)),
			fmt.Sprintf("INSERT INTO etl_digest VALUES (%s, %d, %s)", canon.Literal(m.Name), state.load, canon.Literal(m.Digest))); err != nil {
			return err
		}
	}
	return nil
}

// LastPublished is the load that this warehouse has told of as published; 0 for none.
func (w *Warehouse) LastPublished(ctx context.Context) (load int64, at time.Time, err error) {
	var text, moment sql.NullString
	err = w.db.QueryRowContext(ctx, "SELECT max(value) FILTER (name = 'published'), max(value) FILTER (name = 'published_at') FROM etl_state").Scan(&text, &moment)
	if err != nil {
		return 0, at, fmt.Errorf("read state: %w", err)
	}
	load, _ = strconv.ParseInt(text.String, 10, 64) // this program has written it
	at, _ = time.Parse(time.RFC3339Nano, moment.String)
	return load, at, nil
}

// LastLoad is the last load; 0 for none.
func (w *Warehouse) LastLoad(ctx context.Context) (int64, error) {
	var load int64
	if err := w.db.QueryRowContext(ctx, "SELECT coalesce(max(load), 0) FROM etl_load").Scan(&load); err != nil {
		return 0, fmt.Errorf("read last load: %w", err)
	}
	return load, nil
}

// NextMissing is the first sequence of the manifest that is not in.
func (w *Warehouse) NextMissing(ctx context.Context) (int64, error) {
	var last int64
	err := w.db.QueryRowContext(ctx, "SELECT coalesce(max(n), 0) FROM (SELECT sequence, row_number() OVER (ORDER BY sequence) AS n FROM (SELECT DISTINCT sequence FROM etl_batch)) WHERE n = sequence").Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("read ledger: %w", err)
	}
	return last + 1, nil
}
