package warehouse

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Closing is who closes a month, when and why.
type Closing struct {
	Month  time.Time // any day of it
	At     time.Time
	Actor  string
	Reason string
}

// Name is the month as people write it: 2026-10.
func (c Closing) Name() string { return c.Month.Format("2006-01") }

// Frozen is what the marts say of a month, in the form of the dataset close.
type Frozen struct {
	Content   []byte // CSV with a header
	Rows      int64
	Figures   int64
	Documents int64
	Sequence  int64 // last record of the manifest that it rests on
}

// Why a month cannot be closed.
var (
	ErrOpenMonth   = errors.New("the month is not over")
	ErrClosed      = errors.New("the month is closed already")
	ErrNotClosable = errors.New("the month cannot be closed now")
)

// DatasetClose is the dataset of what months were when they were closed.
const DatasetClose = "close"

// Marts that compare what was reported with what the documents say now.
const (
	closedFigures   = "mart_closed_figure"
	closedDocuments = "mart_closed_document"
)

// Freeze reads what the marts say of a month. It changes nothing: the month is closed when the content is in the manifest.
func (w *Warehouse) Freeze(ctx context.Context, c Closing) (Frozen, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var f Frozen
	err := w.transaction(ctx, func(tx *sql.Tx) error {
		var err error
		if f.Sequence, err = w.closable(ctx, tx, c); err != nil {
			return err
		}
		return w.freeze(ctx, tx, c, &f)
	})
	if err != nil {
		return f, fmt.Errorf("close month %s: %w", c.Name(), err)
	}
	return f, nil
}

// monthEnd is the literal of the month's last day.
func (c Closing) monthEnd() string {
	return "DATE '" + time.Date(c.Month.Year(), c.Month.Month()+1, 0, 0, 0, 0, 0, time.UTC).Format(time.DateOnly) + "'"
}

// closable says up to which record of the manifest the marts are, or why the month cannot be closed.
func (w *Warehouse) closable(ctx context.Context, tx *sql.Tx, c Closing) (int64, error) {
	var sequence, contiguous int64
	var open, held sql.NullString
	err := tx.QueryRowContext(ctx, `SELECT coalesce(max(sequence), 0), count(DISTINCT sequence),
		strftime(timezone('America/Santiago', timezone('UTC', max(asof_clock))), '%Y-%m'), (SELECT string_agg(mart, ', ' ORDER BY mart) FROM etl_mart WHERE blocked_by IS NOT NULL) FROM etl_batch`).
		Scan(&sequence, &contiguous, &open, &held)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read state: %w", err)
	case sequence == 0:
		return 0, fmt.Errorf("%w: nothing is loaded", ErrNotClosable)
	case c.Name() >= open.String:
		return 0, fmt.Errorf("%w: exports reach %s; want an earlier one", ErrOpenMonth, open.String)
	case contiguous != sequence:
		return 0, fmt.Errorf("%w: %d of %d records of the manifest are in the warehouse; `etl status` says what is missing", ErrNotClosable, contiguous, sequence)
	case held.Valid:
		return 0, fmt.Errorf("%w: marts are held back and show what was before: %s; `etl check` says why", ErrNotClosable, held.String)
	}
	var at time.Time
	var by, why sql.NullString
	err = tx.QueryRowContext(ctx, "SELECT write_date, closed_by, reason FROM vault_s_close WHERE is_current AND NOT is_deleted AND mart = 'month' AND month_end = "+c.monthEnd()).Scan(&at, &by, &why)
	if errors.Is(err, sql.ErrNoRows) {
		return sequence, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read closings: %w", err)
	}
	return 0, fmt.Errorf("%w: by %s on %s (%s); a closed month is not opened again, what comes late restates it beside what was reported", ErrClosed, by.String, at.Format(time.DateOnly), why.String)
}

// asIfClosed makes a model's SQL see the month as closed with nothing reported: what it gives as of now is what is to be frozen.
func (w *Warehouse) asIfClosed(mart string, c Closing) (string, error) {
	models := w.o.Models.Marts()
	for _, m := range models {
		if m.Name == mart {
			return fmt.Sprintf(`WITH vault_s_close AS (SELECT %s AS month_end, 'month' AS mart, '' AS row_key, 'closed' AS measure, NULL::DECIMAL(38,6) AS value, NULL::UHUGEINT AS hk_project,
				true AS is_current, false AS is_deleted) SELECT * FROM (%s)`, c.monthEnd(), m.SQL), nil
		}
	}
	return "", fmt.Errorf("%w: the models have no %s", ErrNotClosable, mart)
}

var closeColumns = []string{"close_id", "month_end", "project_id", "mart", "row_key", "measure", "value", "closed_by", "reason", "write_date"}

func (w *Warehouse) freeze(ctx context.Context, tx *sql.Tx, c Closing, f *Frozen) error {
	figures, err := w.asIfClosed(closedFigures, c)
	if err != nil {
		return err
	}
	documents, err := w.asIfClosed(closedDocuments, c)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	lines := csv.NewWriter(&out)
	end, at := strings.Trim(strings.TrimPrefix(c.monthEnd(), "DATE "), "'"), c.At.UTC().Format("2006-01-02T15:04:05.000000Z")
	id := int64(c.Month.Year()*100+int(c.Month.Month())) * 10_000_000
	write := func(values ...string) {
		_ = lines.Write(slices.Concat([]string{strconv.FormatInt(id+f.Rows, 10), end}, values, []string{at})) // into memory
		f.Rows++
	}
	_ = lines.Write(closeColumns)
	write("", "month", "", "closed", strconv.FormatInt(f.Sequence, 10), c.Actor, c.Reason)
	for _, part := range []struct {
		query string
		count *int64
	}{
		{fmt.Sprintf("SELECT p.project_id, f.mart, f.row_key, f.measure, f.as_restated AS value FROM (%s) AS f LEFT JOIN vault_h_project AS p ON p.hk_project = f.hk_project WHERE f.as_restated IS NOT NULL", figures), &f.Figures},
		{fmt.Sprintf("SELECT p.project_id, d.dataset, d.document_id, 'amount', d.amount_now FROM (%s) AS d LEFT JOIN vault_h_project AS p ON p.hk_project = d.hk_project", documents), &f.Documents},
	} {
		before := f.Rows
		if err := readTexts(ctx, tx, part.query+" ORDER BY 2, 1 NULLS FIRST, 3, 4", func(v []string) { write(v[0], v[1], v[2], v[3], v[4], "", "") }); err != nil {
			return err
		}
		*part.count = f.Rows - before
	}
	lines.Flush()
	if f.Figures == 0 {
		return fmt.Errorf("%w: the marts have no figure of it", ErrNotClosable)
	}
	f.Content = out.Bytes()
	return nil
}

// readTexts calls each for the rows of a query, NULL as the empty text.
func readTexts(ctx context.Context, tx *sql.Tx, query string, each func(values []string)) error {
	found, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (%s)", query))
	if err != nil {
		return fmt.Errorf("run %.60q: %w", query, err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return err
	}
	values, into, texts := make([]sql.NullString, len(columns)), make([]any, len(columns)), make([]string, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for found.Next() {
		if err := found.Scan(into...); err != nil {
			return fmt.Errorf("read %.60q: %w", query, err)
		}
		for i, v := range values {
			texts[i] = v.String
		}
		each(texts)
	}
	return found.Err()
}

// restatements is what documents have made of each closed month: a text that changes whenever one of its figures does.
func (w *Warehouse) restatements(ctx context.Context, tx *sql.Tx) (map[string]string, error) {
	found := map[string]string{}
	if len(w.o.Models.Marts()) == 0 || !slices.Contains(w.Tables(), closedFigures) {
		return found, nil
	}
	err := readTexts(ctx, tx, `SELECT strftime(month_end, '%Y-%m') AS month, count(*) || ' ' || sum(hash(mart, hk_project, row_key, measure, as_restated)) FROM `+closedFigures+`
		WHERE as_reported IS DISTINCT FROM as_restated GROUP BY month_end ORDER BY month_end`, func(v []string) { found[v[0]] = v[1] })
	return found, err
}

// restated are the closed months whose figures have moved between two looks.
func restated(before, after map[string]string) []string {
	var months []string
	for month, now := range after {
		if before[month] != now {
			months = append(months, month)
		}
	}
	for month := range before {
		if _, still := after[month]; !still {
			months = append(months, month) // it is again what was reported
		}
	}
	slices.Sort(months)
	return months
}

// tellRestated finds the closed months whose figures the load has moved, and warns of their documents that have come or changed since the closing, by their ids.
func (w *Warehouse) tellRestated(ctx context.Context, tx *sql.Tx, before map[string]string, r *Result) error {
	after, err := w.restatements(ctx, tx)
	if err != nil {
		return err
	}
	if r.Restated = restated(before, after); len(r.Restated) == 0 {
		return nil
	}
	return readTexts(ctx, tx, fmt.Sprintf(`SELECT strftime(month_end, '%%Y-%%m') AS month, count(*), string_agg(dataset || ' ' || document_id || ' (' || what || ')', ', ' ORDER BY dataset, document_id) FILTER (n <= %d)
		FROM (SELECT *, row_number() OVER (PARTITION BY month_end ORDER BY dataset, document_id) AS n FROM %s) WHERE strftime(month_end, '%%Y-%%m') IN ('%s') GROUP BY month_end ORDER BY month_end`,
		shownRows, closedDocuments, strings.Join(r.Restated, "', '")), func(v []string) {
		w.o.Log.WarnContext(ctx, "documents of a closed month restate it; what was reported stays", "month", v[0], "count", v[1], "documents", v[2])
	})
}
