package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
)

// must runs a command that ends with a status, and gives what it printed.
func must(t *testing.T, want int, env []string, args ...string) string {
	t.Helper()
	status, out, complaints := chassistest.Run(t, args, env...)
	if status != want {
		t.Fatalf("%v: exit status %d, want %d\n%s\n%s", args, status, want, out, complaints)
	}
	return out + complaints
}

// loadedOnce is a folder with a warehouse of a few files, and no bus any more.
func loadedOnce(t *testing.T) (folder string, env []string, s *source) {
	t.Helper()
	folder, env = alone(t)
	url := chassistest.NATS(t)
	s = newSource(t, folder, url)
	for dataset, content := range map[string]string{"project": projects, "partner": partners, "invoice": invoices} {
		s.keep(dataset, content)
	}
	must(t, 0, append(env, "NATS_URL="+url), "--once")
	return folder, env, s
}

func TestAWarehouseIsVerifiedByMakingItAnewAndADifferenceIsNamed(t *testing.T) {
	folder, env, s := loadedOnce(t)
	out := must(t, 0, env, "verify", "--rebuild")
	for _, want := range []string{"manifest record 3; rules ", "stage_invoice                    4-", "equal those of what the raw files make"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	said := filepath.Join(t.TempDir(), "said.json")
	if err := os.WriteFile(said, []byte(must(t, 0, env, "verify", "-o", "json")), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, 0, env, "verify", "--against", said)

	s.keep("invoice", invoiceHeader+"7,42,7,out_invoice,2026-02-01,2026-03-01,10.00,0,0,CLP,posted,2026-02-01T10:00:00Z\n")
	must(t, 0, env, "rebuild")
	if out = must(t, 1, env, "verify", "--against", said); !strings.Contains(out, "manifest record 4 and 3") {
		t.Errorf("warehouses of other records are compared:\n%s", out)
	}
	if out = must(t, 0, env, "verify", "--rebuild"); !strings.Contains(out, "equal those of") {
		t.Errorf("after a rebuild:\n%s", out)
	}
	tamper(t, folder, "UPDATE mart_fact_sales SET amount_total = amount_total + 1 WHERE invoice_id = 7")
	if out = must(t, 1, env, "verify", "--rebuild"); !strings.Contains(out, "DIFFERENT from what the raw files make: mart_fact_sales\n") {
		t.Errorf("a row that was changed by hand is not named:\n%s", out)
	}
}

// tamper changes the file behind the service's back.
func tamper(t *testing.T, folder, statement string) {
	t.Helper()
	c := NewConfig()
	c.Warehouse = folder
	db := openDuck(t, c, filepath.Join(folder, "ofitec.duckdb"), false)
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedFileIsToldAndMadeAnew(t *testing.T) {
	folder, env, _ := loadedOnce(t)
	before := digestsIn(t, folder)
	file := filepath.Join(folder, "ofitec.duckdb")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copy(content[4096:], bytes.Repeat([]byte{0xa5}, 64<<10))
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out := must(t, 1, append(env, "NATS_URL="+chassistest.NATS(t)), "--once")
	if !strings.Contains(out, "the warehouse file is damaged; etl-transform rebuild (ofitec etl rebuild) makes it anew") {
		t.Errorf("it says\n%s", out)
	}
	if out = must(t, 0, env, "rebuild"); !strings.Contains(out, "made anew from 3 raw files up to manifest record 3") {
		t.Errorf("rebuild says\n%s", out)
	}
	for table, digest := range digestsIn(t, folder) {
		if before[table] != digest {
			t.Errorf("%s has %s, before %s", table, digest, before[table])
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(folder, "ofitec.duckdb.2*")); len(aside) != 1 {
		t.Errorf("the damaged file is kept as %v, want one", aside)
	}
}

func TestARunningServiceGivesReadersCopiesAndTakesOverWhatARebuildMade(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	p := chassistest.Start(t, env...)
	p.Await(t, "/readyz", 200)
	s.announce("invoice", invoices)
	waitFor(t, "a snapshot", func() bool { _, load := readContentsIn(folder); return load != 0 })
	out := must(t, 0, env, "verify")
	if !strings.Contains(out, filepath.Join("snapshot", "ofitec.duckdb")+": load ") {
		t.Errorf("it does not say that it reads the snapshot:\n%s", out)
	}
	c := NewConfig()
	c.Warehouse = folder
	db := openDuck(t, c, filepath.Join(folder, "snapshot", "ofitec.duckdb"), true)
	var rows int
	var key string
	query := "SELECT count(*), min(hk_invoice)::VARCHAR FROM read_parquet('" + filepath.Join(folder, "marts", "mart_fact_sales.parquet") + "') WHERE invoice_id = 1"
	if err := db.QueryRowContext(t.Context(), query).Scan(&rows, &key); err != nil || rows != 1 || key != "c4ca4238-a0b9-2382-0dcc-509a6f75849b" {
		t.Errorf("Parquet has %d rows of invoice 1 with key %s: %v", rows, key, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	first, _ := readContentsIn(folder)

	if out = must(t, 0, env, "rebuild"); !strings.Contains(out, "equal those of the warehouse before") || !strings.Contains(out, "ofitec.duckdb.next") {
		t.Errorf("rebuild says\n%s", out)
	}
	waitFor(t, "the rebuilt file in its place", func() bool {
		aside, _ := filepath.Glob(filepath.Join(folder, "ofitec.duckdb.2*"))
		return len(aside) == 1
	})
	p.Await(t, "/readyz", 200)
	s.announce("project", projects)
	waitFor(t, "copies of the new file", func() bool { now, _ := readContentsIn(folder); return now.Sequence == 2 })
	second, _ := readContentsIn(folder)
	if first.Marts["mart_fact_sales"] != second.Marts["mart_fact_sales"] || first.Marts["mart_dim_project"] == second.Marts["mart_dim_project"] {
		t.Errorf("marts were %v, are %v", first.Marts, second.Marts)
	}
	p.Signal(t, syscall.SIGTERM)
	if status := p.AwaitEnd(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	must(t, 0, env, "verify", "--rebuild")
}

func readContentsIn(folder string) (contents, int64) {
	c, _ := readContents(filepath.Join(folder, "marts"))
	return c, c.Load
}

func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !there(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is no %s after a minute", what)
		}
	}
}

func TestTheAnswerOfACommandIsJSONWhenAskedFor(t *testing.T) {
	_, env, _ := loadedOnce(t)
	var v verified
	if err := json.Unmarshal([]byte(must(t, 0, env, "verify", "-o", "json")), &v); err != nil || v.Made.Sequence != 3 || v.Digests["mart_fact_sales"] == "" {
		t.Errorf("verify says %+v: %v", v, err)
	}
	if out := must(t, 2, env, "verify", "-o", "xml"); !strings.Contains(out, `-o "xml": want text or json`) {
		t.Errorf("it says %s", out)
	}
	if out := must(t, 2, env, "verify", "it"); !strings.Contains(out, "takes 0 arguments") {
		t.Errorf("it says %s", out)
	}
}

func openDuck(t *testing.T, c *Config, path string, readOnly bool) *sql.DB {
	t.Helper()
	db, err := duckdb.Open(t.Context(), path, c.engine(readOnly))
	if err != nil {
		t.Fatal(err)
	}
	return db
}
