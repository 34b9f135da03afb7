package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
)

// follow makes the source go on behind a record that somebody else has written.
func (s *source) follow(sequence int64) {
	s.t.Helper()
	line, err := os.ReadFile(filepath.Join(s.root, manifest.Name(sequence)))
	if err != nil {
		s.t.Fatal(err)
	}
	var r struct{ Hash string }
	if err := json.Unmarshal(line, &r); err != nil {
		s.t.Fatal(err)
	}
	s.sequence, s.previous = sequence, r.Hash
}

// reported is what was frozen, as a reader sees it.
func reported(t *testing.T, folder string) string {
	t.Helper()
	c := NewConfig()
	c.Warehouse = folder
	db := openDuck(t, c, filepath.Join(folder, "ofitec.duckdb"), true)
	defer func() { _ = db.Close() }()
	var text string
	err := db.QueryRowContext(t.Context(), `SELECT count(*) || ' ' || string_agg(CAST(f AS VARCHAR), ';' ORDER BY CAST(f AS VARCHAR)) FROM (
		SELECT month_end, mart, hk_project, row_key, measure, as_reported FROM mart_closed_figure WHERE as_reported IS NOT NULL) AS f`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAClosedMonthIsInTheManifestAndSurvivesARebuildAndALateDocument(t *testing.T) {
	folder, env, s := loadedOnce(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ring := filepath.Join(folder, "raw.key")
	if err := os.WriteFile(ring, []byte(key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env = append(env, "OFITEC_RAW_KEY_FILE="+ring)
	must(t, 2, env, "close", "2026-02")
	must(t, 2, env, "close", "february", "--reason", "x")
	if out := must(t, 1, env, "close", "2026-10", "--reason", "x"); !strings.Contains(out, "the month is not over") {
		t.Errorf("the open month is not refused for what it is: %s", out)
	}
	out := must(t, 0, env, "close", "2026-01", "--reason", "accounts approved", "--actor", "operator:ana")
	if !strings.Contains(out, "2026-01 is closed: ") || !strings.Contains(out, "as of manifest record 3 are frozen in record 4") || !strings.Contains(out, ".csv.zst.age") {
		t.Errorf("it says %s", out)
	}
	// Nothing has loaded it yet: it is the manifest that knows.
	if out = must(t, 1, env, "close", "2026-01", "--reason", "again"); !strings.Contains(out, "the month was closed by somebody else: record 4") {
		t.Errorf("it is closed twice: %s", out)
	}
	must(t, 0, env, "rebuild")
	if out = must(t, 1, env, "close", "2026-01", "--reason", "again"); !strings.Contains(out, "closed already: by operator:ana") {
		t.Errorf("it is closed twice: %s", out)
	}
	before := reported(t, folder)
	s.follow(4)
	s.keep("invoice", invoiceHeader+"7,42,7,out_invoice,2026-01-20,2026-03-01,119.00,19.00,0,CLP,posted,2026-02-01T10:00:00Z\n")
	must(t, 0, env, "rebuild")
	if after := reported(t, folder); after != before || strings.HasPrefix(before, "0 ") {
		t.Errorf("as reported is\n%s\nbefore the late document\n%s", after, before)
	}
	if out = must(t, 1, env, "check"); !strings.Contains(out, "warn: mart_closed_document: sql.restated") || !strings.Contains(out, "'document_id': 7, 'month_end': 2026-01-31") {
		t.Errorf("no warning names document and month:\n%s", out)
	}
	if out = must(t, 0, env, "verify", "--rebuild"); !strings.Contains(out, "equal those of what the raw files make") {
		t.Errorf("after a rebuild:\n%s", out)
	}
}
