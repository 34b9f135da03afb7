package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

func TestACellOfAKPIIsTracedToTheLinesOfRawFilesThatMadeIt(t *testing.T) {
	_, env, s := loadedOnce(t)
	out := must(t, 0, env, "trace", "mart_kpi_project", "--project", "42", "--month", "2026-02", "--column", "gross_margin", "-o", "json")
	var traced warehouse.Traced
	if err := json.Unmarshal([]byte(out), &traced); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if first := traced.Steps[0]; first.Value != "1.000000" || first.MadeOf != "revenue, direct_cost" {
		t.Errorf("the cell is %+v", first)
	}
	var invoice *warehouse.Row
	for i, row := range traced.Rows {
		if row.Satellite == "vault_s_invoice" {
			if invoice != nil {
				t.Errorf("there is a second invoice, %+v", row)
			}
			invoice = &traced.Rows[i]
		}
	}
	if invoice == nil || invoice.Key != "1" || invoice.Amount != "1000.00" || invoice.Raw.Line != 2 || invoice.Raw.Event == "" || invoice.Raw.AsOf == "" {
		t.Fatalf("the invoice is %+v in\n%s", invoice, out)
	}
	path := strings.TrimPrefix(invoice.Raw.URL, "file://")
	content, err := os.ReadFile(path)
	if err != nil || filepath.Base(path) != invoice.Raw.SHA256+".csv" || strings.Split(string(content), "\n")[invoice.Raw.Line-1] != strings.Split(invoices, "\n")[1] {
		t.Errorf("line %d of %s is not the invoice: %v", invoice.Raw.Line, path, err)
	}
	agreed := 0
	for _, step := range traced.Steps {
		if step.Agrees != nil && *step.Agrees {
			agreed++
		}
	}
	if agreed != 2 { // revenue and direct cost
		t.Errorf("%d sums agree, want 2\n%s", agreed, out)
	}
	out = must(t, 0, env, "trace", "mart_fact_receivable", "--project", "42", "--month", "2026-02", "--column", "open_amount")
	if !strings.Contains(out, "whatever the mart reads") || !strings.Contains(out, "invoice 1 version 1") {
		t.Errorf("a column without a declared trace gives\n%s", out)
	}
	if out = must(t, 1, env, "trace", "mart_kpi_project", "--project", "42", "--month", "2019-02", "--column", "revenue"); !strings.Contains(out, "no row of that project and month") {
		t.Errorf("it says %s", out)
	}
	must(t, 2, env, "trace", "mart_kpi_project", "--month", "2026-02")
	_ = s
}

func TestChecksRunAloneAndNameTableColumnAndRows(t *testing.T) {
	_, env, _ := loadedOnce(t)
	out := must(t, 1, env, "check")
	if !strings.Contains(out, "error: mart_fact_sales: positive.amount_total: column amount_total: 1 rows: is not positive\n    hk_invoice=a87ff679-a2f3-e71d-9181-a67b7542122c: 0.00\n") {
		t.Errorf("it says\n%s", out)
	}
	folder := t.TempDir()
	for name, c := range map[string]struct {
		test   string
		status int
		want   string
	}{
		"unique":           {"unique: [currency]", 1, "currency=CLP x 3"},
		"range":            {"accepted_range: {column: amount_total, max: 1000}", 1, "column amount_total: 1 rows: must be not more than 1000"},
		"range that holds": {"accepted_range: {column: amount_total, min: 0, max: 100000}", 0, "0 of 1 tests fail"},
		"regex":            {"regex: {column: document_type, pattern: 'inv.*'}", 1, "1 rows: does not match inv.*"},
		"relationship":     {"relationships: {column: hk_partner, to: mart_dim_project.hk_project}", 1, "3 rows: is not in mart_dim_project.hk_project"},
		"freshness":        {"freshness: {column: date, within: 24h}", 1, "1 rows break freshness.date"},
		"fresh enough":     {"freshness: {column: date, within: 9000h}", 0, "0 of 1 tests fail"},
		"row count":        {"row_count_change: {max_percent: 10}", 1, "1 rows break row_count_change"},
		"SQL":              {"sql: {name: big, query: 'SELECT * FROM {table} WHERE amount_total > 1000'}", 1, "1 rows break sql.big"},
		"a warning":        {"positive: {columns: [amount_total], severity: warn}", 0, "warn: mart_fact_sales: positive.amount_total"},
		"min rows":         {"min_rows: 4", 1, "1 rows break min_rows"},
	} {
		file := filepath.Join(folder, strings.ReplaceAll(name, " ", "-")+".yml")
		if err := os.WriteFile(file, []byte("checks:\n  - table: mart_fact_sales\n    tests:\n      - "+c.test+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := must(t, c.status, env, "check", "--file", file); !strings.Contains(out, c.want) {
			t.Errorf("%s: no %q in\n%s", name, c.want, out)
		}
	}
	file := filepath.Join(folder, "rut.yml")
	if err := os.WriteFile(file, []byte("checks:\n  - table: vault_s_partner\n    tests:\n      - rut: [rut]\n      - nothing: [x]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, 1, env, "check", "--file", file); !strings.Contains(out, "rut.yml:5: checks[0].tests[1].nothing: is not a kind of test") {
		t.Errorf("it says\n%s", out)
	}
}

func TestAPlanShowsTheSQLAndWhatOtherModelsWouldChange(t *testing.T) {
	_, env, _ := loadedOnce(t)
	if out := must(t, 0, env, "plan"); !strings.Contains(out, "CREATE TABLE IF NOT EXISTS stage_invoice (hk_invoice UHUGEINT") || !strings.Contains(out, "-- nothing would change in") {
		t.Errorf("plan says\n%.2000s", out)
	}
	folder := t.TempDir()
	for name, content := range map[string]string{
		"marts/mart_old.yml": "mart: mart_old\ngrain: [hk_invoice]\nreads: [invoice]\n",
		"marts/mart_old.sql": "SELECT hk_invoice FROM vault_s_invoice WHERE is_current",
		"checks.yml":         "checks:\n  - table: mart_old\n    tests:\n      - unique: [hk_invoice]\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := must(t, 0, append(env, "OFITEC_MODELS="+folder), "plan", "--changes")
	for _, want := range []string{"-- mart mart_old (marts/mart_old.yml): new\n", "-- check mart_old unique.hk_invoice (checks.yml): new", "-- check mart_fact_sales positive.amount_total (checks.yml): gone", "was made by other models"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "stage_invoice") {
		t.Errorf("it shows what stays as it is\n%s", out)
	}
}
