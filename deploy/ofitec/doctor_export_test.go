package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"os"
)

// exporter is an export server with one dataset, that keeps the contract but for what a test breaks.
type exporter struct {
	rows                                           []exportRow
	noLimit, noAfterID, noSince, exclusive, noSort bool
	bare, noIDsCount, lost, wrongDigest, open      bool
	columns                                        string
}

const exporterToken = "s3cret"

func newExporter() *exporter {
	e := &exporter{columns: "balance_id,account,date,balance,currency,write_date"}
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for id := int64(1); id <= 40; id++ {
		at := begin.Add(time.Duration(id/5) * time.Hour)
		if id == 7 {
			at = time.Time{}
		}
		e.rows = append(e.rows, exportRow{at: at, id: id})
	}
	return e
}

// ServeHTTP implements http.Handler.
func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+exporterToken && !e.open {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-Ofitec-Source-Clock", time.Now().UTC().Format(exportMoment))
	q := r.URL.Query()
	switch path := strings.TrimPrefix(r.URL.Path, "/of/export/cash_balance"); {
	case path == r.URL.Path || e.bare && path != "" || r.Method != http.MethodGet:
		http.NotFound(w, r)
	case path == "/ids":
		e.ids(w)
	case path == "/summary":
		e.summary(w, q.Get("from"), q.Get("to"))
	default:
		e.page(w, q.Get("since"), q.Get("after_id"), q.Get("limit"), q.Get("format"))
	}
}

func (e *exporter) page(w http.ResponseWriter, since, after, limitText, format string) {
	rows := slices.Clone(e.rows)
	if !e.noSort {
		slices.SortFunc(rows, exportRow.compare)
	}
	from, _ := time.Parse(time.RFC3339Nano, since)
	afterID, _ := strconv.ParseInt(after, 10, 64)
	limit, _ := strconv.Atoi(limitText)
	var chosen []exportRow
	for _, row := range rows {
		switch {
		case since != "" && !e.noSince && row.at.Before(from),
			after != "" && !e.noAfterID && row.at.Equal(from) && row.id <= afterID,
			after == "" && since != "" && e.exclusive && row.at.Equal(from):
			continue
		}
		if chosen = append(chosen, row); len(chosen) == limit && !e.noLimit {
			break
		}
	}
	if format == "csv" {
		_, _ = io.WriteString(w, e.columns+"\r\n")
	}
	for _, row := range chosen {
		at := ""
		if !row.at.IsZero() {
			at = row.at.Format(exportMoment)
		}
		if format == "json" {
			_, _ = fmt.Fprintf(w, `{"balance_id":%d,"balance":1.50,"write_date":%q}`+"\n", row.id, at)
			continue
		}
		_, _ = fmt.Fprintf(w, "%d%s%s\r\n", row.id, strings.Repeat(",", strings.Count(e.columns, ",")), at)
	}
}

func (e *exporter) ids(w http.ResponseWriter) {
	rows := e.rows
	if e.lost {
		rows = rows[5:]
	}
	if !e.noIDsCount {
		w.Header().Set("X-Ofitec-Rows", strconv.Itoa(len(rows)))
	}
	_, _ = io.WriteString(w, "balance_id\r\n")
	for _, row := range rows {
		_, _ = fmt.Fprintf(w, "%d\r\n", row.id)
	}
}

func (e *exporter) summary(w http.ResponseWriter, from, to string) {
	begin, _ := time.Parse(time.RFC3339Nano, from)
	end, _ := time.Parse(time.RFC3339Nano, to)
	var in []exportRow
	for _, row := range e.rows {
		if (from == "" || !row.at.Before(begin)) && (to == "" || row.at.Before(end)) {
			in = append(in, row)
		}
	}
	digest := digestOf(in)
	if e.wrongDigest {
		digest = digestOf(in[1:])
	}
	_, _ = fmt.Fprintf(w, `{"count":%d,"digest":%q,"algorithm":%q}`, len(in), digest, exportDigest)
}

// doctored runs the command and gives the verdicts of the dataset.
func doctored(t *testing.T, e *exporter) (verdicts map[string]string, all string, status int) {
	t.Helper()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(exporterToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	root := newRoot()
	root.SetOut(&out)
	root.SetArgs([]string{"doctor", "export", server.URL, "--token-file", token, "-o", "json"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		status = 1
	}
	var answer struct{ Remarks []exportRemark }
	if err := json.Unmarshal([]byte(out.String()), &answer); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	verdicts = map[string]string{}
	for _, r := range answer.Remarks {
		if r.Dataset == "cash_balance" {
			verdicts[r.Check] = r.Verdict
			all += r.Check + " " + r.Verdict + ": " + r.Why + "\n"
		}
	}
	return verdicts, all, status
}

func TestAServerThatKeepsTheContractIsGoodInEveryPart(t *testing.T) {
	verdicts, all, status := doctored(t, newExporter())
	for _, check := range []string{"columns", "clock", "order", "limit", "after_id", "since", "pages", "json", "ids", "summary", "rights"} {
		if verdicts[check] != verdictOK {
			t.Errorf("%s is %q", check, verdicts[check])
		}
	}
	if status != 0 || len(verdicts) != 11 {
		t.Errorf("status %d\n%s", status, all)
	}
}

func TestEachWayToBreakTheContractIsSeenAndSaid(t *testing.T) {
	for name, c := range map[string]struct {
		breaks         func(*exporter)
		check, verdict string
		status         int
	}{
		"ignores limit":              {func(e *exporter) { e.noLimit = true }, "limit", verdictDegraded, 0},
		"ignores after_id":           {func(e *exporter) { e.noAfterID = true }, "after_id", verdictDegraded, 0},
		"ignores since and after_id": {func(e *exporter) { e.noSince, e.noAfterID = true, true }, "since", verdictDegraded, 0},
		"since is exclusive":         {func(e *exporter) { e.exclusive = true }, "since", verdictRefused, 1},
		"does not sort":              {func(e *exporter) { e.noSort = true; slices.Reverse(e.rows) }, "order", verdictRefused, 1},
		"no summary":                 {func(e *exporter) { e.bare = true }, "summary", verdictDegraded, 0},
		"no ids":                     {func(e *exporter) { e.bare = true }, "ids", verdictDegraded, 0},
		"ids without a count":        {func(e *exporter) { e.noIDsCount = true }, "ids", verdictDegraded, 0},
		"ids that lack some":         {func(e *exporter) { e.lost = true }, "ids", verdictRefused, 1},
		"a wrong digest":             {func(e *exporter) { e.wrongDigest = true }, "summary", verdictRefused, 1},
		"a column that is new":       {func(e *exporter) { e.columns = "balance_id,account,date,balance,currency,bank,write_date" }, "columns", verdictDegraded, 0},
		"no key":                     {func(e *exporter) { e.columns = "account,date,balance,currency,write_date" }, "pages", verdictRefused, 1},
		"open to everybody":          {func(e *exporter) { e.open = true }, "rights", verdictDegraded, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter()
			c.breaks(e)
			verdicts, all, status := doctored(t, e)
			if verdicts[c.check] != c.verdict || status != c.status {
				t.Errorf("%s is %q, status %d, want %q and %d\n%s", c.check, verdicts[c.check], status, c.verdict, c.status, all)
			}
		})
	}
}
