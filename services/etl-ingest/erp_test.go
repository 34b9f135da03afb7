package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/reconcile"
)

// erp is an export server that keeps the contract, and breaks it where a test says so.
type erp struct {
	url string

	mu       sync.Mutex
	tables   map[string]map[int64]entry
	clock    func() time.Time
	fault    func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	requests int
	mute     bool     // no X-Ofitec headers at all
	extra    []string // columns behind the others, whose value is "x"
	bare     bool     // no ids, no summary, and ids= is not understood
}

// entry is a row but for its id. The zero at is NULL.
type entry struct {
	at   time.Time
	name string
}

var keys = map[string]string{"partner": "partner_id", "invoice": "invoice_id", "crane": "crane_id"}

func startERP(t testing.TB) *erp {
	t.Helper()
	e := &erp{tables: map[string]map[int64]entry{"partner": {}, "invoice": {}, "crane": {}}, clock: func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *erp) put(dataset string, id int64, at time.Time, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tables[dataset][id] = entry{at.UTC(), name}
}

func (e *erp) remove(dataset string, id int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tables[dataset], id)
}

func (e *erp) breaks(fault func(w http.ResponseWriter, r *http.Request) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = fault
}

func (e *erp) asked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}

func (e *erp) rows(dataset string) map[int64]entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	rows := map[int64]entry{}
	for id, r := range e.tables[dataset] {
		rows[id] = r
	}
	return rows
}

// ServeHTTP implements http.Handler.
func (e *erp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.requests++
	fault := e.fault
	e.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/of/export/"), "/")
	key, offered := keys[parts[0]]
	if !offered || e.bare && len(parts) > 1 {
		http.NotFound(w, r)
		return
	}
	clock := e.clock() // before the lock: a test's clock may have one of its own
	e.mu.Lock()
	defer e.mu.Unlock()
	table, q := e.tables[parts[0]], r.URL.Query()
	e.say(w, "X-Ofitec-Source-Clock", stamp(clock))
	switch {
	case len(parts) == 1:
		e.page(w, key, table, q.Get("since"), q.Get("after_id"), q.Get("ids"), q.Get("limit"))
	case parts[1] == "ids":
		ids := sortedIDs(table)
		e.say(w, "X-Ofitec-Rows", strconv.Itoa(len(ids)))
		_, _ = fmt.Fprintf(w, "%s\r\n", key)
		for _, id := range ids {
			_, _ = fmt.Fprintf(w, "%d\r\n", id)
		}
	default:
		e.summary(w, table, clock, q.Get("from"), q.Get("to"))
	}
}

func (e *erp) say(w http.ResponseWriter, header, value string) {
	if !e.mute {
		w.Header().Set(header, value)
	}
}

func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func (e *erp) page(w http.ResponseWriter, key string, table map[int64]entry, since, after, wanted, limitText string) {
	ids := sortedIDs(table)
	slices.SortStableFunc(ids, func(a, b int64) int { return table[a].at.Compare(table[b].at) })
	limit, _ := strconv.Atoi(limitText)
	from, _ := time.Parse(time.RFC3339Nano, since)
	afterID, hasID := int64(0), after != ""
	if hasID {
		afterID, _ = strconv.ParseInt(after, 10, 64)
	}
	var chosen []int64
	for _, id := range ids {
		at := table[id].at
		switch {
		case wanted != "" && !e.bare:
			if !slices.Contains(strings.Split(wanted, ","), strconv.FormatInt(id, 10)) {
				continue
			}
		case since == "" && hasID && at.IsZero() && id <= afterID,
			since != "" && (at.Before(from) || hasID && at.Equal(from) && id <= afterID):
			continue
		}
		chosen = append(chosen, id)
	}
	more := limit > 0 && len(chosen) > limit
	if more {
		chosen = chosen[:limit]
	}
	e.say(w, "X-Ofitec-Rows", strconv.Itoa(len(chosen)))
	e.say(w, "X-Ofitec-More", strconv.FormatBool(more))
	var body bytes.Buffer
	out := csv.NewWriter(&body)
	out.UseCRLF = true
	_ = out.Write(append([]string{key, "name", "write_date"}, e.extra...))
	for _, id := range chosen {
		_ = out.Write(append([]string{strconv.FormatInt(id, 10), table[id].name, stamp(table[id].at)}, slices.Repeat([]string{"x"}, len(e.extra))...))
	}
	out.Flush()
	_, _ = w.Write(body.Bytes())
}

func (e *erp) summary(w http.ResponseWriter, table map[int64]entry, clock time.Time, fromText, toText string) {
	var window reconcile.Window
	window.From, _ = time.Parse(time.RFC3339Nano, fromText)
	window.To, _ = time.Parse(time.RFC3339Nano, toText)
	var sum reconcile.Tally
	without := 0
	for id, r := range table {
		if window.Has(r.at) {
			sum.Add(id, r.at)
		}
		if r.at.IsZero() {
			without++
		}
	}
	_, _ = fmt.Fprintf(w, `{"count":%d,"digest":%q,"algorithm":%q,"without_write_date":%d,"source_clock":%q}`, sum.Count, sum.Digest, reconcile.Algorithm, without, stamp(clock))
}

func sortedIDs(table map[int64]entry) []int64 {
	var ids []int64
	for id := range table {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
