package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// withCrane adds a dataset to the models.
func (s *site) withCrane(t *testing.T, drift string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "datasets"), 0o750); err != nil {
		t.Fatal(err)
	}
	text := "dataset: crane\nkey: crane_id\ncursor: write_date\ndrift: " + drift + "\ncolumns:\n" +
		"  - {name: crane_id, type: integer, required: true}\n  - {name: name, type: text}\n  - {name: write_date, type: timestamp}\n"
	if err := os.WriteFile(filepath.Join(folder, "datasets", "crane.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.config.Models = folder
}

func (s *site) schemas(t *testing.T, dataset string) (fingerprints []string) {
	t.Helper()
	for _, r := range s.records(t) {
		if r.Dataset == dataset && r.Kind == manifest.KindRows && r.Path != "" {
			fingerprints = append(fingerprints, r.Schema)
		}
	}
	return fingerprints
}

func TestAFrozenDatasetWaitsUntilSourceAndModelAgreeAndOthersGoOn(t *testing.T) {
	s := newSite(t)
	s.withCrane(t, "freeze")
	s.erp.put("crane", 1, monday, "Liebherr")
	s.mustOnce(t)
	s.erp.extra = []string{"discount"}
	s.erp.put("crane", 2, monday.Add(time.Hour), "Potain")
	s.erp.put("partner", 9, monday.Add(time.Hour), "goes on")
	said, err := s.once(t)
	if err == nil || !strings.Contains(said, "new: discount") || !strings.Contains(said, "frozen") {
		t.Fatalf("%v\n%s", err, said)
	}
	s.mustMatch(t, "partner")
	if _, failed := s.announced(t); len(failed) != 1 || failed[0].Dataset != "crane" || failed[0].Code != "schema" {
		t.Errorf("announced %+v", failed)
	}
	if got := replay(t, openFolder(t, filepath.Join(s.config.Warehouse, "raw")), s.records(t), "crane"); len(got) != 1 {
		t.Errorf("%d rows were taken", len(got))
	}
	s.erp.extra = nil
	s.mustOnce(t)
	s.mustMatch(t, "crane")
}

func TestAnEvolvingDatasetTakesNewColumnsAndSaysSoInTheManifest(t *testing.T) {
	s := newSite(t)
	s.withCrane(t, "evolve")
	s.erp.put("crane", 1, monday, "Liebherr")
	s.mustOnce(t)
	s.erp.extra = []string{"discount", "weight"}
	s.erp.put("crane", 2, monday.Add(time.Hour), "Potain")
	s.mustOnce(t)
	s.mustMatch(t, "crane")
	f := s.schemas(t, "crane")
	if len(f) != 2 || f[0] == "" || f[1] == "" || f[0] == f[1] {
		t.Errorf("fingerprints %q", f)
	}
}

func TestAnExportOfThreeHundredColumnsIsTakenAsItIs(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	for range 300 {
		s.erp.extra = append(s.erp.extra, "c"+strings.Repeat("x", len(s.erp.extra)%40)+string(rune('a'+len(s.erp.extra)%26)))
	}
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
	s.mustMatch(t, "partner")
}
