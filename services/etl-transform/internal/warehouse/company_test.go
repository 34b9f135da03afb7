package warehouse

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/check"
)

// newCompany is a warehouse of the built-in models with the exports of a folder of testdata, as of noon on the last day of 2025.
func newCompany(t *testing.T, folder string) *bench {
	t.Helper()
	m, err := models.Open("")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{shelf: shelf{}, Warehouse: openWith(t, t.TempDir(), m)}
	t.Cleanup(func() { _ = b.Close() })
	exports, err := filepath.Glob(filepath.Join("testdata", folder, "*.csv"))
	if err != nil || len(exports) == 0 {
		t.Fatalf("no exports in testdata/%s: %v", folder, err)
	}
	const noonOfTheLastDay = -12 // hours to the beginning of 2026
	var files []batch.Announced
	for _, export := range exports {
		content, err := os.ReadFile(export)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b.file(strings.TrimSuffix(filepath.Base(export), ".csv"), "rows", string(content), noonOfTheLastDay))
	}
	r := b.load(t, files...)
	for dataset, rejected := range r.Rejected {
		if rejected > 0 {
			t.Fatalf("%d rows of %s were rejected: %v", rejected, dataset, query(t, b.db, "SELECT row_key, column_name, value, reason FROM etl_quarantine"))
		}
	}
	for _, m := range r.Marts {
		if m.BlockedBy != "" {
			t.Fatalf("mart is blocked: %+v", m)
		}
	}
	return b
}

// worked is the value of a formula of the sheet, exact; only numbers, + - * / and brackets.
func worked(e ast.Expr) (*big.Rat, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if n, ok := new(big.Rat).SetString(e.Value); ok {
			return n, nil
		}
	case *ast.ParenExpr:
		return worked(e.X)
	case *ast.UnaryExpr:
		if n, err := worked(e.X); err != nil || e.Op == token.SUB {
			return new(big.Rat).Neg(n), err
		}
	case *ast.BinaryExpr:
		x, err := worked(e.X)
		if err != nil {
			return x, err
		}
		y, err := worked(e.Y)
		if err != nil {
			return y, err
		}
		switch n := new(big.Rat); e.Op {
		case token.ADD:
			return n.Add(x, y), nil
		case token.SUB:
			return n.Sub(x, y), nil
		case token.MUL:
			return n.Mul(x, y), nil
		case token.QUO:
			return n.Quo(x, y), nil
		}
	}
	return new(big.Rat), fmt.Errorf("%T is not arithmetic", e)
}

// condition says which row of a mart the sheet means: "1 2025-03" is a project and a month, "1 2025-03 labour" a category of it, "2025-03" a month, "invoice 2" a document; the project - is
// the unknown one.
func condition(mart, where string) string {
	words := strings.Fields(where)
	if words[0] == "invoice" {
		return "invoice_id = " + words[1]
	}
	column, day := "month_end", "last_day(DATE '%s-01')"
	switch mart {
	case "mart_fact_wip":
		column = "date"
	case "mart_fact_budget":
		column, day = "period", "DATE '%s-01'"
	}
	if len(words) == 1 {
		return column + " = " + fmt.Sprintf(day, words[0])
	}
	project := "0"
	if words[0] != "-" {
		project = "(SELECT hk_project FROM vault_h_project WHERE project_id = " + words[0] + ")"
	}
	c := fmt.Sprintf("hk_project = %s AND %s = %s", project, column, fmt.Sprintf(day, words[1]))
	if len(words) > 2 {
		c += fmt.Sprintf(" AND cost_category = '%s'", words[2])
	}
	return c
}

// compare reads a sheet (mart, where, column, formula) and looks each value up. A formula that is no arithmetic is the text itself; an empty one is NULL.
func (b *bench) compare(t *testing.T, sheet string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", sheet))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.Comment, r.LazyQuotes = '|', '#', true
	cells, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range cells {
		for i := range cell {
			cell[i] = strings.TrimSpace(cell[i])
		}
		mart, where, column, formula := cell[0], cell[1], cell[2], cell[3]
		want := []string{formula}
		if e, err := parser.ParseExpr(formula); err == nil && !strings.ContainsAny(formula, "_'") {
			if n, err := worked(e); err == nil {
				scale := query(t, b.db, fmt.Sprintf("SELECT numeric_scale FROM duckdb_columns() WHERE table_name = '%s' AND column_name = '%s'", mart, column))
				if len(scale) != 1 {
					t.Errorf("%s has no column %s", mart, column)
					continue
				}
				digits := 0
				if _, err := fmt.Sscan(scale[0], &digits); err != nil && scale[0] != "" {
					t.Fatal(err)
				}
				want = []string{n.FloatString(digits)} // half away from zero
			}
		}
		have := query(t, b.db, fmt.Sprintf("SELECT CAST(%s AS VARCHAR) FROM %s WHERE %s", column, mart, condition(mart, where)))
		if !slices.Equal(have, want) {
			t.Errorf("%s where %s: %s is %q, want %q: %s", mart, where, column, have, want, formula)
		}
	}
}

func TestTheWorkedCompanyHasTheFiguresOfItsSheet(t *testing.T) {
	t.Parallel()
	newCompany(t, "company").compare(t, "company.sheet")
}

// Every KPI of every project and month, as formulas of the documents' amounts that testdata/company_months.py derived from the same exports.
func TestEveryKPIOfEveryMonthHasTheFigureOfItsSheet(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	b.compare(t, "company_months.sheet")
	b.expect(t, "SELECT (SELECT count(*) FROM mart_kpi_project), (SELECT count(*) FROM mart_kpi_company)", fmt.Sprintf("%d|%d", rowsOf(t, "mart_kpi_project"), rowsOf(t, "mart_kpi_company")))
}

// rowsOf is how many revenues of a mart the sheet has: one a row, so that no row of the mart is without.
func rowsOf(t *testing.T, mart string) int {
	t.Helper()
	sheet, err := os.ReadFile(filepath.Join("testdata", "company_months.sheet"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(sheet)) {
		if strings.HasPrefix(line, mart+" | ") && strings.Contains(line, " | revenue | ") {
			rows++
		}
	}
	return rows
}

func TestTheZeroCasesAreAsPinned(t *testing.T) {
	t.Parallel()
	newCompany(t, "zeros").compare(t, "zeros.sheet")
}

func TestDraftAndDeletedProjectsHaveNoRowOfWorkInProgress(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "zeros")
	count := "SELECT count(*) FROM mart_fact_wip WHERE hk_project IN (SELECT hk_project FROM vault_h_project WHERE project_id IN (11, 18))"
	b.expect(t, count, "1")
	b.load(t, b.file("project", "absent", "project_id\n18\n", -11))
	b.expect(t, count, "0")
	b.expect(t, "SELECT direct_cost, projects, projects_left_out FROM mart_kpi_company WHERE month_end = '2025-12-31'", "1685|4|5")
}

func TestAgesGoOnFromDayToDayWithoutANewDocument(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	b.expect(t, "SELECT days_overdue, bucket FROM mart_fact_receivable WHERE invoice_id = 6", "30|1_30")
	b.load(t, b.file("partner", "rows", "partner_id,write_date\n", 12)) // noon of the next day, an export of nothing
	b.expect(t, "SELECT days_overdue, bucket FROM mart_fact_receivable WHERE invoice_id = 6", "31|31_60")
	b.expect(t, "SELECT max(month_end), max(date) FROM mart_kpi_company, mart_fact_wip", "2026-01-31 00:00:00 +0000 UTC|2026-01-31 00:00:00 +0000 UTC")
}

func TestALateRateRestatesTheMonthThatLackedIt(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	b.load(t, b.file("currency_rate", "rows", "rate_id,currency,date,rate,write_date\n6,UF,2025-06-30,38500,2025-12-31T00:00:00Z\n", -11))
	b.expect(t, "SELECT projects, projects_left_out FROM mart_kpi_company WHERE month_end = '2025-06-30'", "3|0")
	b.expect(t, "SELECT contract_value FROM mart_fact_wip WHERE date = '2025-06-30' AND contract_value > 4000000", "4235000") // 110 x 38500
}

func TestAContractOfHundredsOfBillionsIsMultipliedExactly(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	r := b.load(t, b.file("currency_rate", "rows", "rate_id,currency,date,rate,write_date\n6,UF,2025-06-30,38500,2025-12-31T00:00:00Z\n", -11),
		b.file("project", "rows", "project_id,project_name,partner_id,manager,state,date_start,date_end,contract_amount,contract_currency,approved_changes,budget_cost,estimate_at_completion,write_date\n"+
			"2,Puente,1,Ana,open,2025-02-01,2025-10-15,5939057.36,UF,,500000000000,,2025-12-31T00:00:00Z\n", -11))
	for _, m := range r.Marts {
		if m.BlockedBy != "" {
			t.Errorf("mart is blocked: %+v", m)
		}
	}
	b.expect(t, "SELECT contract_value, bac FROM mart_fact_wip WHERE date = '2025-06-30' AND contract_value > 4000000", "228653708360|500000000000")
}

// deltas are changes at random to rows of the company's exports, and deletions, each a file.
func (b *bench) deltas(t *testing.T, random *rand.Rand) []batch.Announced {
	t.Helper()
	others := map[string][]string{
		"project_id": {"", "1", "2", "3", "4"}, "state": {"posted", "draft", "cancel"}, "kind": {"actual", "committed"}, "currency": {"CLP", "UF", "USD", "EUR"}, "rate": {"900", "39000.5"},
		"date": {"2025-01-31", "2025-03-31", "2025-08-15", "2026-01-02"}, "physical_percent": {"", "10", "120"}, "estimate_at_completion": {"", "0", "2000000"}, "date_end": {"", "2025-11-30"},
		"amount": {"1", "1234.50"}, "amount_total": {"2", "98765.50"}, "period": {"", "2025-05-01"}, "balance": {"-5", "12345"}, "invoice_id": {"2", "3"},
	}
	exports, _ := filepath.Glob(filepath.Join("testdata", "company", "*.csv"))
	var files []batch.Announced
	for i := range 9 {
		export := exports[random.IntN(len(exports))]
		content, err := os.ReadFile(export)
		if err != nil {
			t.Fatal(err)
		}
		table, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		dataset, header, rows := strings.TrimSuffix(filepath.Base(export), ".csv"), table[0], table[1:]
		row := rows[random.IntN(len(rows))]
		if random.IntN(4) == 0 {
			files = append(files, b.file(dataset, "absent", header[0]+"\n"+row[0]+"\n", int64(i)))
			continue
		}
		for c, column := range header {
			choices, found := others[column]
			if dataset == "project" && column == "state" {
				choices = []string{"draft", "open", "done", "cancel"}
			}
			if dataset == "currency_rate" && column == "currency" {
				choices = []string{"UF", "USD"}
			}
			if found && c > 0 && random.IntN(3) == 0 {
				row[c] = choices[random.IntN(len(choices))]
			}
		}
		row[len(row)-1] = fmt.Sprintf("2025-12-31T0%d:00:00Z", i)
		files = append(files, b.file(dataset, "rows", strings.Join(header, ",")+"\n"+strings.Join(row, ",")+"\n", int64(i)))
	}
	return files
}

func TestTheMartsEqualThoseMadeAnewAfterAnyDeltas(t *testing.T) {
	t.Parallel()
	seeds := 3
	if testing.Short() {
		seeds = 1
	}
	if chassistest.Drill() {
		seeds = 20
	}
	compared := 0
	defer func() {
		chassistest.Evidence(t, "marts-made-anew", "After any sequence of deltas the marts equal those that are made anew",
			fmt.Sprintf("`OFITEC_DRILLS=1 go test -run TestTheMartsEqualThoseMadeAnewAfterAnyDeltas ./internal/warehouse` in services/etl-transform: the worked company, then %d histories of 9 random changes and deletions, each loaded one by one, "+
				"against all at once with every mart computed whole; the digest that each load carries on is held against the table's, too. %d marts compared, by digest.", seeds, compared))
	}()
	for seed := range seeds {
		step, anew := newCompany(t, "company"), newCompany(t, "company")
		for _, file := range step.deltas(t, rand.New(rand.NewPCG(uint64(seed), 11))) {
			step.load(t, file)
			step.carried(t, seed)
		}
		anew.load(t, anew.deltas(t, rand.New(rand.NewPCG(uint64(seed), 11)))...)
		for _, m := range anew.o.Models.Marts() { // none is spared
			if _, err := anew.db.ExecContext(t.Context(), "DELETE FROM "+m.Name+"; INSERT INTO "+m.Name+" BY NAME "+m.SQL); err != nil {
				t.Fatalf("make %s anew: %v", m.Name, err)
			}
			if checks := check.Rows(check.Of(anew.o.Models.Checks(), m.Name)); len(checks) > 0 {
				if _, err := anew.db.ExecContext(t.Context(), "DELETE FROM "+m.Name+" WHERE "+check.AnyFailing(checks)); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := anew.digests(t)
		for table, digest := range step.digests(t) {
			if strings.HasPrefix(table, "mart_") {
				compared++
			}
			if strings.HasPrefix(table, "mart_") && digest != want[table] {
				t.Errorf("seed %d: %s is %s, made anew %s", seed, table, digest, want[table])
			}
		}
		_, _ = step.Close(), anew.Close()
	}
}

// carried holds the digests that loads have carried on from row to row against those of the whole tables.
func (b *bench) carried(t *testing.T, seed int) {
	t.Helper()
	clear(b.Warehouse.digests.of) // as after a start
	s, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, m := range s.Marts {
		if err := s.Know(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if digest, err := b.Digest(t.Context(), m.Name); err != nil || digest != m.Digest {
			t.Errorf("seed %d: digest of %s is carried on as %s, and is %s: %v", seed, m.Name, m.Digest, digest, err)
		}
	}
	if err := b.Published(t.Context(), s, clock(), 0, nil); err != nil {
		t.Fatal(err)
	}
}

// The same documents in any order of delivery give the same marts.
func TestTheOrderOfTheExportsDoesNotChangeTheMarts(t *testing.T) {
	t.Parallel()
	forwards := newCompany(t, "company")
	m, err := models.Open("")
	if err != nil {
		t.Fatal(err)
	}
	backwards := &bench{shelf: shelf{}, Warehouse: openWith(t, t.TempDir(), m)}
	t.Cleanup(func() { _ = backwards.Close() })
	exports, _ := filepath.Glob(filepath.Join("testdata", "company", "*.csv"))
	slices.Reverse(exports)
	for _, export := range exports {
		content, err := os.ReadFile(export)
		if err != nil {
			t.Fatal(err)
		}
		header, rows, _ := strings.Cut(string(content), "\n")
		lines := strings.SplitAfter(strings.TrimSpace(rows)+"\n", "\n")
		slices.Reverse(lines)
		backwards.load(t, backwards.file(strings.TrimSuffix(filepath.Base(export), ".csv"), "rows", header+"\n"+strings.Join(lines, ""), -12))
	}
	want := forwards.digests(t)
	for table, digest := range backwards.digests(t) {
		if strings.HasPrefix(table, "mart_") && digest != want[table] {
			t.Errorf("%s is %s, in the other order %s", table, digest, want[table])
		}
	}
}

func TestTheHolidaysOfChileAreThoseOfTheCalendar(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	for year, want := range map[int]string{ // as published for the year
		2018: "01-01 03-30 03-31 05-01 05-21 07-02 07-16 08-15 09-17 09-18 09-19 10-15 11-01 11-02 12-08 12-25",
		2021: "01-01 04-02 04-03 05-01 05-21 06-21 06-28 07-16 08-15 09-17 09-18 09-19 10-11 10-31 11-01 12-08 12-25",
		2023: "01-01 01-02 04-07 04-08 05-01 05-21 06-21 06-26 07-16 08-15 09-18 09-19 10-09 10-27 11-01 12-08 12-25",
		2024: "01-01 03-29 03-30 05-01 05-21 06-20 06-29 07-16 08-15 09-18 09-19 09-20 10-12 10-31 11-01 12-08 12-25",
		2025: "01-01 04-18 04-19 05-01 05-21 06-20 06-29 07-16 08-15 09-18 09-19 10-12 10-31 11-01 12-08 12-25",
		2026: "01-01 04-03 04-04 05-01 05-21 06-21 06-29 07-16 08-15 09-18 09-19 10-12 10-31 11-01 12-08 12-25",
	} {
		b.expect(t, fmt.Sprintf("SELECT string_agg(strftime(date, '%%m-%%d'), ' ' ORDER BY date) FROM mart_dim_date WHERE is_holiday AND year = %d", year), want)
	}
	b.expect(t, "SELECT count(*), count(DISTINCT date), bool_and(is_working_day = (weekday < 6 AND NOT is_holiday)) FROM mart_dim_date", "11323|11323|true")
}
