// Package export serves /of/export/*: rows in the order of their changes, living ids, and count and digest of a window.
// The contract is in the stand-in's README.
package export

import (
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
	"github.com/ofitec/ofitec/models"
)

// The headers of an export's answer.
const (
	// HeaderClock is the source's own clock before the rows were read: no row that is committed later and that began later
	// has a smaller write_date. On a standby it is the time up to which changes have arrived.
	HeaderClock = "X-Ofitec-Source-Clock"
	// HeaderDatabase is writable or read-only.
	HeaderDatabase    = "X-Ofitec-Database"
	HeaderRows        = "X-Ofitec-Rows"
	HeaderMore        = "X-Ofitec-More"
	HeaderNextSince   = "X-Ofitec-Next-Since"
	HeaderNextAfterID = "X-Ofitec-Next-After-Id"
)

// Reader reads a snapshot on whichever side of the database answers; fn may run more than once.
type Reader interface {
	Read(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx, state database.State) error) error
}

// Exporter answers requests for datasets. It is safe for concurrent use.
type Exporter struct {
	Models   *models.Models
	Database Reader
	Log      *slog.Logger
}

// content is a body that was read completely before the first byte of it is sent: a page is whole or it is an error.
type content struct {
	format Format
	header map[string]string
	body   []byte
}

// Page serves GET /of/export/{dataset}.
func (e *Exporter) Page(w http.ResponseWriter, r *http.Request) {
	d, ok := e.dataset(w, r)
	if !ok {
		return
	}
	p, err := parsePage(r.URL.Query())
	if err != nil {
		reply.Error(w, r, e.Log, err)
		return
	}
	var c content
	err = e.Database.Read(r.Context(), func(ctx context.Context, tx pgx.Tx, state database.State) error {
		var err error
		c, err = readPage(ctx, tx, d, p, state)
		return err
	})
	if err != nil {
		reply.Error(w, r, e.Log, err)
		return
	}
	send(w, r, c)
}

func readPage(ctx context.Context, tx pgx.Tx, d models.Dataset, p pageRequest, state database.State) (content, error) {
	clock, err := sourceClock(ctx, tx)
	if err != nil {
		return content{}, err
	}
	sql, args := pageQuery(d, p)
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return content{}, fmt.Errorf("read dataset %s: %w", d.Name, err)
	}
	out := newEncoder(p.format, d.Columns)
	key, cursor := index(d, d.Key), index(d, d.Cursor)
	count, more := 0, false
	nextSince, nextID := momentText(p.since), idText(p.afterID)
	err = scan(rows, func(values [][]byte) {
		if p.ids == nil && count == p.limit {
			more = true
			return
		}
		out.row(values)
		count++
		nextSince, nextID = string(values[cursor]), string(values[key])
	})
	if err != nil {
		return content{}, fmt.Errorf("read dataset %s: %w", d.Name, err)
	}
	header := map[string]string{HeaderClock: clock, HeaderDatabase: string(state), HeaderRows: strconv.Itoa(count)}
	if p.ids == nil {
		header[HeaderMore] = strconv.FormatBool(more)
		header[HeaderNextSince], header[HeaderNextAfterID] = nextSince, nextID
	}
	return content{p.format, header, out.bytes()}, nil
}

// pageQuery asks for one row more than the page has, to know whether there are more.
func pageQuery(d models.Dataset, p pageRequest) (string, []any) {
	where, args := "true", []any{}
	switch {
	case p.ids != nil:
		where, args = d.Key+" = ANY ($1)", []any{p.ids}
	case p.since != nil && p.afterID != nil:
		where, args = fmt.Sprintf("(%s, %s) > ($1, $2)", d.Cursor, d.Key), []any{*p.since, *p.afterID}
	case p.since != nil:
		where, args = d.Cursor+" >= $1", []any{*p.since}
	case p.afterID != nil:
		where, args = fmt.Sprintf("(%s IS NOT NULL OR %s > $1)", d.Cursor, d.Key), []any{*p.afterID}
	}
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s.%s NULLS FIRST, %s.%s", selectList(d), d.Name, where, d.Name, d.Cursor, d.Name, d.Key)
	if p.ids == nil {
		sql += fmt.Sprintf(" LIMIT %d", p.limit+1)
	}
	return sql, args
}

// sourceClock is the transaction's start, which is before its snapshot. What a standby has not received yet may be older
// than its own clock, so there it is the last commit that arrived.
func sourceClock(ctx context.Context, tx pgx.Tx) (string, error) {
	var clock string
	err := tx.QueryRow(ctx, `SELECT to_char(least(now(), CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() END) AT TIME ZONE 'UTC', `+
		momentSQL+`)`).Scan(&clock)
	if err != nil {
		return "", fmt.Errorf("ask database for its clock: %w", err)
	}
	return clock, nil
}

func (e *Exporter) dataset(w http.ResponseWriter, r *http.Request) (models.Dataset, bool) {
	name := r.PathValue("dataset")
	d, ok := e.Models.Dataset(name)
	if !ok {
		var names []string
		for _, d := range e.Models.Datasets() {
			names = append(names, d.Name)
		}
		reply.JSON(w, http.StatusNotFound, reply.Problem{Error: fmt.Sprintf("dataset %q is not offered; datasets are %s", name, strings.Join(names, ", ")), Parameter: "dataset"})
	}
	return d, ok
}

func send(w http.ResponseWriter, r *http.Request, c content) {
	h := w.Header()
	for name, value := range c.header {
		h.Set(name, value)
	}
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	if c.format == JSON {
		h.Set("Content-Type", "application/x-ndjson")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
	if !wantsGzip(r) {
		h.Set("Content-Length", strconv.Itoa(len(c.body)))
		_, _ = w.Write(c.body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	// A client that went away is no event.
	_, _ = z.Write(c.body)
	_ = z.Close()
}

func index(d models.Dataset, column string) int {
	for i, c := range d.Columns {
		if c.Name == column {
			return i
		}
	}
	panic("dataset " + d.Name + " has no column " + column) // the loader checks it
}
