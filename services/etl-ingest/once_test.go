package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/file"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// site is an export, a bus and a warehouse.
type site struct {
	erp     *erp
	config  *Config
	natsURL string
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{erp: startERP(t), config: NewConfig(), natsURL: chassistest.NATS(t)}
	s.config.NATS.URLs = []string{s.natsURL}
	s.config.Odoo.URL, s.config.Warehouse, s.config.Export.PageRows, s.config.Export.Attempts = s.erp.url, t.TempDir(), 7, 1
	if problems := s.config.Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

// once runs and gives what it said.
func (s *site) once(t testing.TB) (string, error) {
	t.Helper()
	var said bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := once(ctx, s.config, &said)
	return said.String(), err
}

func (s *site) mustOnce(t testing.TB) string {
	t.Helper()
	said, err := s.once(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return said
}

// records walks the whole chain.
func (s *site) records(t testing.TB) []manifest.Record {
	t.Helper()
	return recordsOf(t, filepath.Join(s.config.Warehouse, "raw"))
}

func recordsOf(t testing.TB, folder string) []manifest.Record {
	t.Helper()
	var records []manifest.Record
	_, err := manifest.NewChain(openFolder(t, folder)).Verify(t.Context(), func(r manifest.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func openFolder(t testing.TB, folder string) *file.Store {
	t.Helper()
	store, err := file.Open(&url.URL{Scheme: "file", Path: folder})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// replay is what a reader of the raw files must take for the source's rows, by the README's contract.
func replay(t testing.TB, store store, records []manifest.Record, dataset string, keys ...spool.Sealer) map[int64]entry {
	t.Helper()
	b := &books{store: store, datasets: mustModels(t).Datasets()}
	if len(keys) > 0 {
		b.spool.Seal = keys[0]
	}
	rows := map[int64]entry{}
	for _, r := range records {
		if r.Dataset != dataset || r.Path == "" || r.Kind == manifest.KindSummary {
			continue
		}
		err := b.read(t.Context(), r, func(plain io.Reader) error {
			lines, err := csv.NewReader(plain).ReadAll()
			if err != nil {
				return err
			}
			if int64(len(lines)-1) != r.Rows {
				return fmt.Errorf("%d rows, the record says %d", len(lines)-1, r.Rows)
			}
			for _, line := range lines[1:] {
				id, _ := strconv.ParseInt(line[0], 10, 64)
				if r.Kind == manifest.KindAbsent {
					delete(rows, id)
					continue
				}
				at, _ := time.Parse(time.RFC3339Nano, line[2])
				if old, has := rows[id]; has && r.Kind == manifest.KindRows && at.Before(old.at) {
					continue
				}
				rows[id] = entry{at.UTC(), line[1]}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("record %d: %v", r.Sequence, err)
		}
	}
	return rows
}

func mustModels(t testing.TB) *models.Models {
	t.Helper()
	m, err := models.Open("")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mustMatch fails unless the raw files say exactly what the source has.
func (s *site) mustMatch(t testing.TB, dataset string) {
	t.Helper()
	mustEqual(t, replay(t, openFolder(t, filepath.Join(s.config.Warehouse, "raw")), s.records(t), dataset), s.erp.rows(dataset))
}

func mustEqual(t testing.TB, got, want map[int64]entry) {
	t.Helper()
	for id, row := range want {
		if got[id] != row {
			t.Errorf("row %d is %v, the source has %v", id, got[id], row)
		}
	}
	for id := range got {
		if _, has := want[id]; !has {
			t.Errorf("row %d is not in the source", id)
		}
	}
}

// announced gives the export events of FACTS in order.
func (s *site) announced(t testing.TB) (ready []events.ExportReady, failed []events.ExportFailed) {
	t.Helper()
	conn, err := nats.Connect(s.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := js.Stream(t.Context(), events.StreamFacts)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil // the service makes it before it tells of anything
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := facts.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for sequence := uint64(1); sequence <= info.State.LastSeq; sequence++ {
		msg, err := facts.GetMsg(t.Context(), sequence)
		if err != nil {
			t.Fatal(err)
		}
		event, err := events.Decode(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := event.Payload()
		if err != nil {
			t.Fatal(err)
		}
		switch p := payload.(type) {
		case events.ExportReady:
			ready = append(ready, p)
		case events.ExportFailed:
			failed = append(failed, p)
		}
	}
	return ready, failed
}

// mustAnnounce fails unless every record was announced, in order, and nothing else.
func (s *site) mustAnnounce(t testing.TB) {
	t.Helper()
	ready, _ := s.announced(t)
	var sequences []int64
	for _, r := range ready {
		sequences = append(sequences, r.Sequence)
	}
	sequences = slices.Compact(sequences)
	records := s.records(t)
	if len(sequences) != len(records) {
		t.Fatalf("%d records, %d announced: %v", len(records), len(sequences), sequences)
	}
	for n, sequence := range sequences {
		if sequence != int64(n+1) {
			t.Fatalf("announced in the order %v", sequences)
		}
	}
}

var monday = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func fill(e *erp) {
	for id := int64(1); id <= 40; id++ {
		e.put("invoice", id, monday, "tie") // more rows of one transaction than two pages hold
	}
	for id := int64(41); id <= 60; id++ {
		e.put("invoice", id, monday.Add(time.Duration(id)*time.Microsecond), "quote \" comma , line\nend ñ")
	}
	e.put("invoice", 61, time.Time{}, "written by SQL")
	e.put("invoice", 62, time.Time{}, "written by SQL, too")
	e.put("partner", 5, monday.Add(time.Hour), "whole second")
}

func TestOneRunReadsAllPagesAndASecondOneOnlyWhatChanged(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	said := s.mustOnce(t)
	if !strings.Contains(said, "not offered") || !strings.Contains(said, "datasets, 0 failed") {
		t.Errorf("it said\n%s", said)
	}
	s.mustMatch(t, "invoice")
	s.mustMatch(t, "partner")
	s.mustAnnounce(t)

	stored := func() (files, rows int64) {
		for _, r := range s.records(t) {
			if r.Dataset == "invoice" && r.Path != "" && r.Kind == manifest.KindRows {
				files, rows = files+1, rows+r.Rows
			}
		}
		return files, rows
	}
	files, _ := stored()
	s.mustOnce(t)
	if again, _ := stored(); again != files {
		t.Errorf("nothing changed, but there are %d files after %d", again, files)
	}
	s.erp.put("invoice", 3, monday.Add(48*time.Hour), "changed")
	s.mustOnce(t)
	if again, _ := stored(); again == files {
		t.Error("one row changed, and there is no new file")
	}
	s.mustMatch(t, "invoice")
	s.mustAnnounce(t)
}

func TestRowsThatCommitLateAreFoundInTheLookBack(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.mustOnce(t)
	s.erp.put("invoice", 100, monday.Add(-30*time.Minute), "began before the last ones and committed after them")
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
	for _, r := range s.records(t) {
		if r.Kind == manifest.KindAssert && r.Dataset == "invoice" && r.At == "" {
			t.Errorf("record %d: the pull should have found it", r.Sequence)
		}
	}
}

func TestTheCursorNeverPassesTheSourcesClock(t *testing.T) {
	s := newSite(t)
	s.erp.clock = func() time.Time { return monday }
	s.erp.put("invoice", 1, monday.Add(-time.Minute), "past")
	s.erp.put("invoice", 2, monday.Add(time.Hour), "from the future")
	s.mustOnce(t)
	for _, r := range s.records(t) {
		if r.To != nil && r.To.WriteDate.After(monday) {
			t.Errorf("record %d moves the cursor to %s", r.Sequence, r.To.WriteDate)
		}
	}
	s.erp.put("invoice", 3, monday.Add(time.Second), "behind the one from the future")
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
}

func TestDeletionsRestoresAndMissedRowsAreReconciled(t *testing.T) {
	for _, server := range []string{"full", "without ids and summary", "without headers"} {
		t.Run(server, func(t *testing.T) {
			s := newSite(t)
			s.erp.bare, s.erp.mute = server == "without ids and summary", server == "without headers"
			fill(s.erp)
			s.mustOnce(t)
			s.erp.remove("invoice", 7)
			s.erp.remove("invoice", 41)
			s.erp.remove("invoice", 61)
			s.erp.put("invoice", 50, monday.Add(-100*24*time.Hour), "restored from a backup")
			s.erp.put("invoice", 200, monday.Add(-300*24*time.Hour), "written with an old date")
			s.mustOnce(t)
			s.mustMatch(t, "invoice")
			s.mustMatch(t, "partner")
			s.mustAnnounce(t)
			s.erp.put("invoice", 7, monday.Add(72*time.Hour), "the id came back")
			s.mustOnce(t)
			s.mustMatch(t, "invoice")

			before := len(s.records(t))
			s.mustOnce(t)
			for _, r := range s.records(t)[before:] {
				if r.Kind == manifest.KindAbsent || r.Kind == manifest.KindAssert {
					t.Errorf("record %d: nothing changed, but it is %s of %s", r.Sequence, r.Kind, r.Dataset)
				}
			}
		})
	}
}

func TestAListOfIDsThatIsCutOffIsNotTakenForDeletions(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"fewer than it says": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X-Ofitec-Rows", "62")
			_, _ = io.WriteString(w, "invoice_id\r\n1\r\n")
			return true
		},
		"empty": func(w http.ResponseWriter, _ *http.Request) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			fill(s.erp)
			for id := int64(300); id < 500; id++ {
				s.erp.put("invoice", id, monday, "many")
			}
			s.mustOnce(t)
			s.erp.breaks(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/invoice/ids") && fault(w, r)
			})
			if said, err := s.once(t); err == nil {
				t.Errorf("it went well:\n%s", said)
			}
			s.mustMatch(t, "invoice")
		})
	}
}

// faults are ways in which a server fails to give a page.
var faults = map[string]struct {
	code  string
	fault func(http.ResponseWriter, *http.Request) bool
}{
	"500": {"status", func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }},
	"429 for an hour": {"status", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
		return true
	}},
	"half a body": {"truncated", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "5000")
		_, _ = io.WriteString(w, "invoice_id,name,write_date\r\n1,a,2026-11-23T12:00:00.000000Z\r\n2,b")
		return true
	}},
	"chunks that break off": {"truncated", func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, "invoice_id,name,write_date\r\n1,a,2026-11-23T12:00:00.000000Z\r\n2,b,2026-11-23T12:00:00.000000Z\r\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	"fewer rows than it says": {"truncated", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Ofitec-Rows", "2")
		_, _ = io.WriteString(w, "invoice_id,name,write_date\r\n1,a,2026-11-23T12:00:00.000000Z\r\n")
		return true
	}},
	"an end within quotes": {"truncated", func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, "invoice_id,name,write_date\r\n1,\"a,2026-11-23T12:00:00.000000Z\r\n")
		return true
	}},
	"a page of HTML": {"schema", func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, "<html>please log in</html>\n")
		return true
	}},
	"the same page for ever": {"contract", func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Ofitec-More", "true")
		_, _ = io.WriteString(w, "invoice_id,name,write_date\r\n1,tie,2026-11-23T12:00:00.000000Z\r\n")
		return true
	}},
	"silence": {"timeout", func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	}},
}

func TestAnExportThatFailsLosesNothingAndMovesNoCursor(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.config.Export.Timeout = time.Second
			fill(s.erp)
			s.erp.breaks(func(w http.ResponseWriter, r *http.Request) bool {
				// the first page comes, the second one does not
				return r.URL.Path == "/of/export/invoice" && r.URL.Query().Get("after_id") != "" && f.fault(w, r)
			})
			said, err := s.once(t)
			if err == nil || !strings.Contains(said, "FAILED") {
				t.Fatalf("it went well:\n%s", said)
			}
			records := s.records(t)
			last := records[len(records)-1]
			for _, r := range records {
				if r.Dataset == "invoice" && r.To != nil && r.To.WriteDate.After(monday) {
					t.Errorf("record %d moved the cursor to %s", r.Sequence, r.To.WriteDate)
				}
			}
			_, failed := s.announced(t)
			if len(failed) != 1 || failed[0].Dataset != "invoice" || failed[0].Code != f.code {
				t.Errorf("announced %+v after record %d", failed, last.Sequence)
			}
			s.erp.breaks(nil)
			s.mustOnce(t)
			s.mustMatch(t, "invoice")
			s.mustMatch(t, "partner")
			s.mustAnnounce(t)
		})
	}
}

func TestPagesThatShiftWhileTheyAreReadLoseNothing(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	var asked atomic.Int64 // two datasets are read at once
	s.erp.breaks(func(http.ResponseWriter, *http.Request) bool {
		// a row of a page that was read moves to the end, and one appears behind the reader's back
		next := asked.Add(1)
		s.erp.put("invoice", next, monday.Add(time.Duration(next)*time.Minute), "moved")
		s.erp.put("invoice", 1000+next, monday.Add(-time.Duration(next)*time.Second), "late")
		return false
	})
	s.mustOnce(t)
	s.erp.breaks(nil)
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
	s.mustAnnounce(t)
}

func TestAWrongManifestIsNotWrittenTo(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.mustOnce(t)
	s.config.Warehouse = t.TempDir()
	_, err := s.once(t)
	if err == nil || !strings.Contains(err.Error(), "not the store that was written to") {
		t.Errorf("an empty store under old cursors: %v", err)
	}
}

func TestReplayingIsWhatTheBooksSay(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.mustOnce(t)
	s.erp.remove("invoice", 9)
	s.mustOnce(t)
	store := openFolder(t, filepath.Join(s.config.Warehouse, "raw"))
	b := &books{dir: t.TempDir(), store: store, datasets: mustModels(t).Datasets(), chain: manifest.NewChain(store)}
	if err := b.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	book, err := b.open("invoice")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }() // only read
	want := s.erp.rows("invoice")
	if book.Rows() != int64(len(want)) {
		t.Errorf("%d rows, the source has %d", book.Rows(), len(want))
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if _, row, found, err := book.Find(id); err != nil || !found || !row.At.Equal(want[id].at) {
			t.Errorf("row %d: %v %v %v, the source has %v", id, row, found, err, want[id])
		}
	}
}

func TestCursorsThatAreLostAreFoundInTheManifest(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.mustOnce(t)
	before := len(s.records(t))
	conn, err := nats.Connect(s.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), events.BucketIngest); err != nil {
		t.Fatal(err)
	}
	s.erp.put("invoice", 77, monday.Add(time.Hour), "new")
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
	for _, r := range s.records(t)[before:] {
		if r.Kind == manifest.KindRows && r.Path != "" && r.From == nil {
			t.Errorf("record %d: %s was read from the start", r.Sequence, r.Dataset)
		}
	}
}
