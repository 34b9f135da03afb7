package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

func TestReadersSeeWhatTheChecksHoldBackUntilItIsPutRight(t *testing.T) {
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	overlay := t.TempDir()
	checks := `checks:
  - table: mart_fact_sales
    tests:
      - positive: [amount_total]
      - not_null: {columns: [due_date], severity: warn}
  - table: mart_kpi_project
    tests:
      - accepted_range: {column: gross_margin, min: 0, severity: warn}
      - sql: {name: no_revenue_below_zero, query: "SELECT * FROM {table} WHERE revenue < 0"}
`
	if err := os.WriteFile(filepath.Join(overlay, "checks.yml"), []byte(checks), 0o600); err != nil {
		t.Fatal(err)
	}
	env = append(env, "NATS_URL="+url, "OFITEC_ANALYTICS_DSN="+r.dsn, "OFITEC_MODELS="+overlay)
	s.announce("project", projects)
	s.announce("invoice", invoiceHeader+"1,42,7,out_invoice,2026-02-01,,-5.25,0,0,CLP,posted,2026-02-01T10:00:00Z\n2,42,7,out_refund,2026-02-02,,100.00,,,CLP,posted,2026-02-02T10:00:00Z\n")
	loadOnce(t, env)
	want := "mart_fact_sales|not_null.due_date|warn|1||f|\nmart_fact_sales|positive.amount_total|error|1|-5.25|f|\n" +
		"mart_kpi_project|sql.no_revenue_below_zero|error|1||t|1 rows break sql.no_revenue_below_zero"
	if have := r.rows("SELECT mart, check_name, severity, failing, amount, blocks, reason FROM etl_held_back ORDER BY 1, 2"); have != want {
		t.Errorf("readers see\n%s\nwant\n%s", have, want)
	}
	s.announce("invoice", invoiceHeader+"1,42,7,out_invoice,2026-02-01,2026-03-01,500,0,0,CLP,posted,2026-02-03T10:00:00Z\n2,42,7,out_refund,2026-02-02,2026-02-02,100.00,,,CLP,posted,2026-02-03T10:00:00Z\n")
	loadOnce(t, env)
	if have := r.rows("SELECT count(*) FROM etl_held_back"); have != "0" {
		t.Errorf("%s are held back, want none: all was put right", have)
	}
}
