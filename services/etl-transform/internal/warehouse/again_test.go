package warehouse

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"
)

// fragileBench is a warehouse with a mart that can only be computed while a file is there, and one that reads that mart.
func fragileBench(t *testing.T) (b *bench, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "colours.csv")
	colours(t, path)
	return newBench(t, fstest.MapFS{
		"marts/mart_a_colour.yml": {Data: []byte("mart: mart_a_colour\ngrain: [colour]\nreads: [owner]\n")},
		"marts/mart_a_colour.sql": {Data: []byte("SELECT colour FROM read_csv('" + path + "', header = true, columns = {'colour': 'VARCHAR'})")},
		"marts/mart_b_count.yml":  {Data: []byte("mart: mart_b_count\ngrain: [n]\nreads: [mart_a_colour]\n")},
		"marts/mart_b_count.sql":  {Data: []byte("SELECT count(*) AS n FROM mart_a_colour")},
	}), path
}

func colours(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("colour\nred\nblue\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// age lets the time to the next try pass.
func (b *bench) age() {
	for mart, a := range b.attempts {
		b.attempts[mart] = attempt{time.Now(), a.after}
	}
}

const (
	owner2     = "owner_id,rut,write_date\n1,76.000.000-0,2026-01-01T00:00:00Z\n"
	colourMart = "SELECT coalesce(blocked_by, ''), rows FROM etl_mart WHERE mart = 'mart_a_colour'"
)

func TestAMartThatCouldNotBeComputedIsTriedAgainWithoutABatch(t *testing.T) {
	t.Parallel()
	b, path := fragileBench(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	before := b.load(t, b.file("owner", "rows", owner2, 1))
	b.expect(t, colourMart, "refresh|0")
	b.expect(t, "SELECT owner_id FROM vault_h_owner", "1")
	colours(t, path)
	if r, err := b.Again(t.Context()); err != nil || r.Load != 0 {
		t.Errorf("it does not wait before it tries again: load %d, %v", r.Load, err)
	}
	b.age()
	r, err := b.Again(t.Context())
	if err != nil || r.Load <= before.Load {
		t.Fatalf("load %d after %d, %v", r.Load, before.Load, err)
	}
	b.expect(t, colourMart, "|2")
	b.expect(t, "SELECT n FROM mart_b_count", "2") // what reads it follows
	b.expect(t, "SELECT files, read_rows, sequence FROM etl_load ORDER BY load DESC LIMIT 1", "0|0|1")
	b.expect(t, "SELECT count(*) FROM etl_outbox WHERE data LIKE '%warehouse.checked.v1%' AND data LIKE '%\"load\":"+query(t, b.db, "SELECT max(load) FROM etl_load")[0]+"%'", "1")
	if r, err = b.Again(t.Context()); err != nil || r.Load != 0 {
		t.Errorf("nothing waits, and it gives load %d, %v", r.Load, err)
	}
}

func TestAMartThatCouldNotBeComputedIsTriedAgainWithABatchThatTouchesNothingOfIt(t *testing.T) {
	t.Parallel()
	b, path := fragileBench(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.load(t, b.file("owner", "rows", owner2, 1))
	colours(t, path)
	b.age()
	b.load(t, b.file("thing", "rows", thingHeader+"1,1,red,5.00,2026-01-01T00:00:00Z\n", 2))
	b.expect(t, colourMart, "|2")
}

func TestAMartThatStaysBrokenIsTriedLessAndLessOftenAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	b, path := fragileBench(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.load(t, b.file("owner", "rows", owner2, 1))
	for _, want := range []time.Duration{2 * againFirst, 4 * againFirst} {
		b.age()
		if r, err := b.Again(t.Context()); err != nil || r.Load != 0 {
			t.Fatalf("load %d, %v", r.Load, err)
		}
		if have := b.attempts["mart_a_colour"].after; have != want {
			t.Errorf("the next try is after %s, want %s", have, want)
		}
	}
	b.expect(t, "SELECT count(*) FROM etl_load", "1")
	b.load(t, b.file("thing", "rows", thingHeader+"1,1,red,5.00,2026-01-01T00:00:00Z\n", 2))
	b.expect(t, "SELECT thing_id FROM mart_thing", "1")
	var a attempts = map[string]attempt{}
	now := time.Now()
	for range 20 {
		a.failed("m", now)
	}
	if a.may("m", now.Add(againMost-time.Second)) || !a.may("m", now.Add(againMost)) {
		t.Error("the longest wait is not an hour")
	}
}
