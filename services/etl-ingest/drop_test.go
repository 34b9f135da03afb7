package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// drop puts a file where people put them; it has lain there for a while.
func (s *site) drop(t *testing.T, name string, content []byte) {
	t.Helper()
	path := filepath.Join(s.config.DropDir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, before, before); err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func columnar(t *testing.T) []byte {
	t.Helper()
	type row struct {
		ID   int64     `parquet:"invoice_id"`
		Name string    `parquet:"name"`
		At   time.Time `parquet:"write_date,timestamp(microsecond)"`
	}
	var out bytes.Buffer
	if err := parquet.Write(&out, []row{{601, "g", monday}, {602, "h", monday}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFilesThatPeopleDropAreTakenWhateverTheirForm(t *testing.T) {
	s := newSite(t)
	s.config.DropDir = t.TempDir()
	fill(s.erp)
	s.mustOnce(t)
	const head = "invoice_id,name,write_date\n"
	s.drop(t, "invoice/a.csv", []byte("\xef\xbb\xbf"+head+"501,\"line\r\nend\",2026-11-01T10:00:00Z\r\n502,b,\n"))
	s.drop(t, "invoice/b.CSV.gz", packed(t, head+"503,c,2026-11-01 10:00:00\n"))
	s.drop(t, "invoice/c.json", []byte(` [ {"invoice_id": 504, "name": "d", "write_date": "2026-11-01T10:00:00Z", "amount": 1.50},
		{"invoice_id": 505, "write_date": null} ]`))
	s.drop(t, "invoice/d.ndjson", []byte(`{"invoice_id":506,"name":"f","write_date":"2026-11-01T10:00:00Z"}`+"\n"))
	s.drop(t, "invoice/d2.parquet", columnar(t))
	s.drop(t, "invoice/d3.parquet", columnar(t)[:50])
	s.drop(t, "invoice/e.xls", []byte("nobody knows"))
	s.drop(t, "invoice/f.csv", []byte("number,name\n1,x\n"))
	s.drop(t, "invoice/g.json", []byte(`[{"invoice_id": 507}`))
	s.drop(t, "invoice/h.csv.gz", packed(t, head+"508,x,2026-11-01T10:00:00Z\n")[:30])
	said := s.mustOnce(t)
	if !strings.Contains(said, "8 rows of files in OFITEC_DROP_DIR taken") {
		t.Errorf("it said\n%s", said)
	}
	s.mustHaveIn(t, "taken", "a.csv", "b.CSV.gz", "c.json", "d.ndjson", "d2.parquet")
	s.mustHaveIn(t, "refused", "d3.parquet", "d3.parquet.reason", "e.xls", "e.xls.reason", "f.csv", "f.csv.reason", "g.json", "g.json.reason", "h.csv.gz", "h.csv.gz.reason")
	var kept []string
	var rows int64
	for _, r := range s.records(t) {
		if r.Dataset != "invoice" || r.Kind != "rows" || r.At != "" || r.Path == "" {
			continue
		}
		rows += r.Rows
		if r.To != nil {
			t.Errorf("record %d moves the cursor", r.Sequence)
		}
		kept = append(kept, r.Format)
	}
	if rows != 8 || strings.Join(kept, " ") != "csv csv ndjson ndjson ndjson" {
		t.Errorf("%d rows in %v", rows, kept)
	}
	s.mustAnnounce(t)
	records := len(s.records(t))
	s.mustOnce(t)
	for _, r := range s.records(t)[records:] {
		if r.Kind == "rows" && r.At == "" && r.Path != "" {
			t.Errorf("record %d: a file was taken twice", r.Sequence)
		}
	}
}

func (s *site) mustHaveIn(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.config.DropDir, "invoice", folder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %v, want %v", folder, names, want)
	}
}

func TestAFileThatIsStillOnItsWayWaits(t *testing.T) {
	s := newSite(t)
	s.config.DropDir = t.TempDir()
	fill(s.erp)
	s.drop(t, "invoice/a.csv", []byte("invoice_id,name,write_date\n501,half"))
	now := time.Now()
	if err := os.Chtimes(filepath.Join(s.config.DropDir, "invoice/a.csv"), now, now); err != nil {
		t.Fatal(err)
	}
	if said := s.mustOnce(t); strings.Contains(said, "taken") {
		t.Errorf("it said\n%s", said)
	}
	if _, err := os.Stat(filepath.Join(s.config.DropDir, "invoice/a.csv")); err != nil {
		t.Error(err)
	}
}
