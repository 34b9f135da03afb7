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
	Marts    []*MartRows
	w        *Warehouse
	tx       *sql.Tx

	forgotten int64 // the log of changes begins after this load
}

// Content is what a mart has: the digest tells it, row count included, and is "" while it is not known.
type Content struct {
	Rows   int64
	Digest string
}

// MartRows is one mart of a snapshot. Its content is there when a load has carried it on, and after Know or Write.
type MartRows struct {
	Content
	Name    string
	Comment string
	Columns []canon.Column

	grain models.Mart
	load  int64 // that has changed it last
}

// Grain are the columns that identify a row.
func (m *MartRows) Grain() []string { return m.grain.Grain }

// Snapshot begins one. Loads go on beside it.
func (w *Warehouse) Snapshot(ctx context.Context) (_ *Snapshot, err error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	s := &Snapshot{w: w, tx: tx}
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
		mart := &MartRows{grain: m, Name: m.Name, Comment: strings.TrimSpace(m.Description)}
		if mart.Columns, err = columnsOf(ctx, w.db, m.Name); err != nil {
			return nil, err
		}
		if err := s.remember(ctx, mart); err != nil {
			return nil, err
		}
		s.Marts = append(s.Marts, mart)
	}
	return s, nil
}

// remembered is a mart's content as of a load.
type remembered struct {
	load    int64
	content Content
}

// remember fills in the content of a mart when somebody has known it since the load that has changed it last.
func (s *Snapshot) remember(ctx context.Context, m *MartRows) error {
	state, err := s.w.martState(ctx, s.tx, m.Name)
	if err != nil {
		return err
	}
	m.load = state.load
	s.w.digests.Lock()
	known, found := s.w.digests.of[m.Name]
	s.w.digests.Unlock()
	if found && known.load == m.load {
		m.Content = known.content
		return nil
	}
	kept, err := keptDigest(ctx, s.tx, m.Name, m.load)
	if err == nil && kept != "" {
		count, _ := parseDigest(kept)
		m.Content = Content{count.Int64(), kept}
	}
	return err
}

// Know reads the mart for its content, unless it is known.
func (s *Snapshot) Know(ctx context.Context, m *MartRows) error {
	if m.Digest != "" {
		return nil
	}
	var count, high, low any
	if err := s.tx.QueryRowContext(ctx, canon.DigestSQL(m.Name, m.Columns)).Scan(&count, &high, &low); err != nil {
		return fmt.Errorf("digest mart %s: %w", m.Name, err)
	}
	s.known(m, Content{bigOf(count).Int64(), canon.Digest(bigOf(count), bigOf(high), bigOf(low))})
	return nil
}

func (s *Snapshot) known(m *MartRows, c Content) {
	m.Content = c
	s.w.digests.Lock()
	defer s.w.digests.Unlock()
	s.w.digests.of[m.Name] = remembered{m.load, c}
}

// Close ends the snapshot. It may be called twice.
func (s *Snapshot) Close() { _ = s.tx.Rollback() }

// Write gives a mart's rows in the text format of PostgreSQL's COPY. Keys become UUIDs: that of project 42 is md5('42')::uuid. A content that was not known is afterwards: each row is hashed on its way.
func (s *Snapshot) Write(ctx context.Context, m *MartRows, out io.Writer) error {
	if m.Digest != "" {
		return s.write(ctx, m.Name, m.Columns, m.Name, "", out)
	}
	sum := &summing{Writer: out}
	if err := s.write(ctx, m.Name, m.Columns, m.Name, "md5("+canon.RowOf(m.Columns)+")", sum); err != nil {
		return err
	}
	s.known(m, sum.content())
	return nil
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
	const nibbles = "20016609818878733144904388672456953615::UHUGEINT" // the lower halves of its bytes: they change places before all digits are turned round
	return fmt.Sprintf("reverse(lpad(hex(((%[1]s & %[2]s) << 4::UHUGEINT) | ((%[1]s >> 4::UHUGEINT) & %[2]s)), 32, '0'))", column, nibbles)
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

// Published says in the outbox that readers see a snapshot, and which marts somebody else had changed before.
func (w *Warehouse) Published(ctx context.Context, s *Snapshot, at time.Time, took time.Duration, altered []string) error {
	payload := events.WarehousePublished{
		Load: events.Load{Region: w.o.Region, Load: s.Load, Sequence: s.Sequence}, Published: at, Seconds: took.Seconds(), AsOf: s.AsOf, Altered: altered,
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
