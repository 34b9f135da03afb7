package export

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
	"github.com/ofitec/ofitec/models"
)

// IDs serves GET /of/export/{dataset}/ids: every id there is, archived records too, in one snapshot.
func (e *Exporter) IDs(w http.ResponseWriter, r *http.Request) {
	d, ok := e.dataset(w, r)
	if !ok {
		return
	}
	format, err := parseFormat(r.URL.Query())
	if err != nil {
		reply.Error(w, r, e.Log, err)
		return
	}
	var c content
	err = e.Database.Read(r.Context(), func(ctx context.Context, tx pgx.Tx, state database.State) error {
		clock, err := sourceClock(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, fmt.Sprintf("SELECT %s::text FROM %s ORDER BY %s.%s", d.Key, d.Name, d.Name, d.Key))
		if err != nil {
			return fmt.Errorf("list ids of dataset %s: %w", d.Name, err)
		}
		key, _ := d.Column(d.Key)
		out, count := newEncoder(format, []models.Column{key}), 0
		if err := scan(rows, func(values [][]byte) { out.row(values); count++ }); err != nil {
			return fmt.Errorf("list ids of dataset %s: %w", d.Name, err)
		}
		header := map[string]string{HeaderClock: clock, HeaderDatabase: string(state), HeaderRows: strconv.Itoa(count)}
		c = content{format, header, out.bytes()}
		return nil
	})
	if err != nil {
		reply.Error(w, r, e.Log, err)
		return
	}
	send(w, r, c)
}

// Summary is the answer of GET /of/export/{dataset}/summary.
type Summary struct {
	Dataset string `json:"dataset"`
	// From is in the window, To is not; empty for no bound.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Count and Digest are of the rows whose write_date is in the window; without any bound, of all rows.
	Count     int64  `json:"count"`
	Digest    string `json:"digest"`
	Algorithm string `json:"algorithm"`
	// WithoutWriteDate counts rows of the whole dataset that no window holds.
	WithoutWriteDate int64  `json:"without_write_date"`
	SourceClock      string `json:"source_clock"`
	Database         string `json:"database"`
}

// Summary serves GET /of/export/{dataset}/summary?from=&to=.
func (e *Exporter) Summary(w http.ResponseWriter, r *http.Request) {
	d, ok := e.dataset(w, r)
	if !ok {
		return
	}
	from, to, err := parseWindow(r)
	if err != nil {
		reply.Error(w, r, e.Log, err)
		return
	}
	var answer Summary
	err = e.Database.Read(r.Context(), func(ctx context.Context, tx pgx.Tx, state database.State) error {
		var err error
		answer, err = summarize(ctx, tx, d, from, to)
		answer.Database = string(state)
		return err
	})
	if err != nil {
		reply.Error(w, r, e.Log, err)
		return
	}
	w.Header().Set(HeaderClock, answer.SourceClock)
	w.Header().Set(HeaderDatabase, answer.Database)
	reply.JSON(w, http.StatusOK, answer)
}

func parseWindow(r *http.Request) (from, to *time.Time, err error) {
	if from, err = parseMoment(r.URL.Query(), "from"); err != nil {
		return nil, nil, err
	}
	if to, err = parseMoment(r.URL.Query(), "to"); err != nil {
		return nil, nil, err
	}
	if from != nil && to != nil && to.Before(*from) {
		return nil, nil, reply.Bad("to", "is before from")
	}
	return from, to, nil
}

func summarize(ctx context.Context, tx pgx.Tx, d models.Dataset, from, to *time.Time) (Summary, error) {
	s := Summary{Dataset: d.Name, From: momentText(from), To: momentText(to), Algorithm: Algorithm}
	var err error
	if s.SourceClock, err = sourceClock(ctx, tx); err != nil {
		return s, err
	}
	where, args := "true", []any{}
	if from != nil {
		args = append(args, *from)
		where += fmt.Sprintf(" AND %s >= $%d", d.Cursor, len(args))
	}
	if to != nil {
		args = append(args, *to)
		where += fmt.Sprintf(" AND %s < $%d", d.Cursor, len(args))
	}
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT %s::text, to_char(%s AT TIME ZONE 'UTC', %s) FROM %s WHERE %s", d.Key, d.Cursor, momentSQL, d.Name, where), args...)
	if err != nil {
		return s, fmt.Errorf("summarize dataset %s: %w", d.Name, err)
	}
	var sum digest
	if err := scan(rows, func(values [][]byte) { sum.add(values[0], values[1]) }); err != nil {
		return s, fmt.Errorf("summarize dataset %s: %w", d.Name, err)
	}
	s.Count, s.Digest = sum.count, sum.String()
	if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s IS NULL", d.Name, d.Cursor)).Scan(&s.WithoutWriteDate); err != nil {
		return s, fmt.Errorf("count rows without %s of dataset %s: %w", d.Cursor, d.Name, err)
	}
	return s, nil
}

func momentText(moment *time.Time) string {
	if moment == nil {
		return ""
	}
	return moment.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func idText(id *int64) string {
	if id == nil {
		return ""
	}
	return strconv.FormatInt(*id, 10)
}
