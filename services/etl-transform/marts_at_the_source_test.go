package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/models"
)

// odoo is the source: its tables in PostgreSQL, and the exports of what happens to them.
type odoo struct {
	t       *testing.T
	readers *readers
	source  *source
	models  *models.Models
	minute  int
	tables  map[string][][]string // each with its header
}

func newOdoo(t *testing.T, r *readers, s *source) *odoo {
	t.Helper()
	m, err := models.Open("")
	if err != nil {
		t.Fatal(err)
	}
	o := &odoo{t: t, readers: r, source: s, models: m, tables: map[string][][]string{}}
	for _, d := range m.Datasets() {
		if d.Own {
			continue
		}
		var columns []string
		for _, c := range d.Columns {
			columns = append(columns, c.Name+" "+map[models.Kind]string{models.Integer: "bigint", models.Enum: "text", models.Timestamp: "timestamptz"}[c.Type.Kind]+plain(c.Type))
		}
		r.exec(fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s))", d.Name, strings.Join(columns, ", "), d.Key))
	}
	return o
}

// plain is a type that both engines call the same.
func plain(t models.Type) string {
	switch t.Kind {
	case models.Decimal:
		return fmt.Sprintf("numeric(%d,%d)", t.Precision, t.Scale)
	case models.Text, models.Boolean, models.Date:
		return string(t.Kind)
	}
	return ""
}

// write puts rows into a table, with a header, and exports them.
func (o *odoo) write(dataset string, rows [][]string) {
	o.t.Helper()
	key := rows[0][0]
	anew := o.tables[dataset] == nil
	if anew {
		o.tables[dataset] = rows[:1:1]
	}
	for _, row := range rows[1:] {
		if anew {
			o.tables[dataset] = append(o.tables[dataset], row)
			continue
		}
		o.readers.exec(fmt.Sprintf("DELETE FROM %s WHERE %s = %s", dataset, key, row[0]))
		o.tables[dataset] = append(slices.DeleteFunc(o.tables[dataset], func(r []string) bool { return r[0] == row[0] }), row)
	}
	content := text(rows)
	conn := o.readers.connect()
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().CopyFrom(o.t.Context(), strings.NewReader(content), fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT csv, HEADER)", dataset, strings.Join(rows[0], ", "))); err != nil {
		o.t.Fatalf("%s: %v", dataset, err)
	}
	o.source.announce(dataset, content)
}

// delete takes a row away and tells of it.
func (o *odoo) delete(dataset, id string) {
	o.t.Helper()
	key := o.tables[dataset][0][0]
	o.readers.exec(fmt.Sprintf("DELETE FROM %s WHERE %s = %s", dataset, key, id))
	o.tables[dataset] = slices.DeleteFunc(o.tables[dataset], func(r []string) bool { return r[0] == id })
	event := o.source.keepAs("absent", dataset, key+"\n"+id+"\n")
	if _, err := bus.NewJetStream(o.source.js, nil).Publish(o.t.Context(), event); err != nil {
		o.t.Fatal(err)
	}
}

func text(rows [][]string) string {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.WriteAll(rows)
	return b.String()
}

// change does something at random to one row.
func (o *odoo) change(random *rand.Rand) {
	o.t.Helper()
	others := map[string][]string{
		"project_id": {"", "1", "2", "3", "4"}, "kind": {"actual", "committed"}, "currency": {"CLP", "UF", "USD", "EUR", ""}, "rate": {"900", "39000.5"}, "cost_category": {"", "labour"},
		"date": {"2025-01-31", "2025-03-31", "2025-08-15", "2026-10-31", "2026-11-02", ""}, "due_date": {"", "2026-08-02", "2026-10-31"}, "physical_percent": {"", "10", "120", "-3"}, "planned_percent": {"", "33.3333"},
		"estimate_at_completion": {"", "0", "2000000"}, "budget_cost": {"", "0", "777777.77"}, "date_end": {"", "2025-11-30"}, "date_start": {"", "2024-12-31"}, "contract_currency": {"", "CLP", "UF"}, "approved_changes": {"", "-33.3333"},
		"amount": {"1", "1234.50", "-7"}, "amount_total": {"2", "98765.50", "0", ""}, "amount_tax": {"", "1.5"}, "retention_amount": {"", "9"}, "period": {"2025-05-09"}, "balance": {"-5", "12345"}, "invoice_id": {"2", "3"},
		"move_type": {"out_refund", "out_invoice", "in_invoice"}, "direction": {"outbound"}, "credit_note_id": {"4", "15"}, "account": {"main", "other"},
	}
	datasets := []string{"project", "invoice", "payment", "payment_allocation", "cost_line", "budget_line", "cash_balance", "currency_rate", "site_progress", "cashflow_line"}
	dataset := datasets[random.IntN(len(datasets))]
	table := o.tables[dataset]
	row := slices.Clone(table[1+random.IntN(len(table)-1)])
	if dataset != "project" && len(table) > 3 && random.IntN(5) == 0 { // a project that documents name cannot be deleted
		o.delete(dataset, row[0])
		return
	}
	switch dataset {
	case "project":
		others["state"] = []string{"draft", "open", "done", "cancel"}
	case "currency_rate":
		others["currency"], others["date"] = []string{"UF", "USD"}, others["date"][:4]
	case "payment":
		others["kind"], others["state"] = []string{"transfer", "payroll", ""}, []string{"draft", "posted"}
	default:
		others["state"] = []string{"posted", "draft", "cancel"}
	}
	for c, column := range table[0] {
		if choices, found := others[column]; found && c > 0 && random.IntN(3) == 0 {
			row[c] = choices[random.IntN(len(choices))]
		}
	}
	if dataset == "payment_allocation" && row[1] != "" {
		row[3] = "" // one of the two
	}
	o.minute++
	row[len(row)-1] = fmt.Sprintf("2025-12-31T%02d:%02d:00Z", o.minute/60, o.minute%60)
	o.write(dataset, [][]string{table[0], row})
}

// differences compares each mart that readers see with SQL on the source's tables, and says in which rows they differ.
func (o *odoo) differences() map[string][]string {
	o.t.Helper()
	definition, err := os.ReadFile("testdata/marts_at_the_source.sql")
	if err != nil {
		o.t.Fatal(err)
	}
	conn := o.readers.connect()
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(o.t.Context(), strings.ReplaceAll(string(definition), ":'as_of'", "'2026-10-31'")).ReadAll(); err != nil {
		o.t.Fatal(err)
	}
	found := map[string][]string{}
	for _, mart := range atTheSource {
		columns := columnsAt(o.t, conn, "mart_"+mart)
		want := columnsAt(o.t, conn, "source_"+mart)
		if missing := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == "warnings" || slices.Contains(want, c) }); len(missing) > 0 {
			o.t.Errorf("testdata/marts_at_the_source.sql does not say what %v of mart_%s are", missing, mart)
		}
		query := fmt.Sprintf(`WITH want AS MATERIALIZED (SELECT %[1]s FROM source_%[2]s), have AS (SELECT %[1]s FROM mart_%[2]s)
			(SELECT 'readers alone have', t::text FROM (TABLE have EXCEPT ALL TABLE want) AS t LIMIT 5)
			UNION ALL (SELECT 'the source alone has', t::text FROM (TABLE want EXCEPT ALL TABLE have) AS t LIMIT 5)
			UNION ALL SELECT 'no row of', '%[2]s' WHERE NOT EXISTS (TABLE want)`, strings.Join(want, ", "), mart)
		results, err := conn.PgConn().Exec(o.t.Context(), query).ReadAll()
		if err != nil {
			o.t.Fatalf("%s: %v", mart, err)
		}
		for _, row := range results[0].Rows {
			found[mart] = append(found[mart], fmt.Sprintf("%s %s", row[0], row[1]))
		}
	}
	return found
}

// atTheSource are the marts that testdata/marts_at_the_source.sql has.
var atTheSource = []string{"fact_sales", "fact_cost", "fact_cashflow", "fact_budget", "fact_receivable", "fact_project_month", "fact_wip", "kpi_project", "kpi_company"}

func columnsAt(t *testing.T, conn *pgx.Conn, relation string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", relation)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// exports are the CSVs of a folder of the worked companies; ids of all but projects begin after first.
func exports(t *testing.T, folder string, first int) map[string][][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("internal/warehouse/testdata", folder, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no company in %s: %v", folder, err)
	}
	found := map[string][][]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		dataset := strings.TrimSuffix(filepath.Base(file), ".csv")
		for _, row := range rows[1:] {
			if id, _ := strconv.Atoi(row[0]); dataset != "project" {
				row[0] = strconv.Itoa(id + first)
			}
		}
		found[dataset] = rows
	}
	return found
}

// newCompany is a source with both worked companies in it, the one of zero cases beside the other.
func newCompany(t *testing.T) (o *odoo, env []string) {
	t.Helper()
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	o = newOdoo(t, r, newSource(t, folder, url))
	for _, found := range []map[string][][]string{exports(t, "company", 0), exports(t, "zeros", 1000)} {
		for _, dataset := range slices.Sorted(maps.Keys(found)) {
			o.write(dataset, found[dataset])
		}
	}
	o.write("cashflow_line", [][]string{
		{"line_id", "project_id", "category", "date", "status", "amount", "write_date"},
		{"1", "1", "inflow_billing", "2025-03-31", "planned", "300000", "2025-12-30T00:00:00Z"},
		{"2", "", "outflow_labour", "2025-03-15", "actual", "90000.50", "2025-12-30T00:00:00Z"},
		{"3", "2", "", "2025-04-30", "actual", "1500", "2025-12-30T00:00:00Z"},
	})
	return o, append(env, "NATS_URL="+url, "OFITEC_ANALYTICS_DSN="+r.dsn)
}

func loadOnce(t *testing.T, env []string) {
	t.Helper()
	if status, out, complaints := chassistest.Run(t, []string{"--once"}, env...); status != 0 {
		t.Fatalf("exit status %d\n%s\n%s", status, out, complaints)
	}
}

func TestEveryMartEqualsSQLOnTheSourcesTablesAfterAnyChanges(t *testing.T) {
	o, env := newCompany(t)
	loadOnce(t, env)
	if found := o.differences(); len(found) > 0 {
		t.Fatalf("at first %v", found)
	}
	rounds, seed := 2, uint64(1)
	if chosen, err := strconv.ParseUint(os.Getenv("OFITEC_SEED"), 10, 64); err == nil {
		seed = chosen
	}
	if chassistest.Drill() {
		rounds = 20
	}
	var told strings.Builder
	defer func() {
		chassistest.Evidence(t, "marts-at-the-source", "Every mart that readers see equals SQL on the source's own tables",
			fmt.Sprintf("`OFITEC_SEED=%d OFITEC_DRILLS=1 go test -run TestEveryMartEqualsSQLOnTheSourcesTablesAfterAnyChanges .` in services/etl-transform: both worked companies, then 12 random changes and deletions a round, loaded and published; "+
				"all columns of all rows of %s, in PostgreSQL.\n\n%s", seed, strings.Join(atTheSource, ", "), told.String()))
	}()
	random := rand.New(rand.NewPCG(seed, 7))
	for round := range rounds {
		for range 12 {
			o.change(random)
		}
		loadOnce(t, env)
		if found := o.differences(); len(found) > 0 {
			t.Fatalf("seed %d, round %d: %v", seed, round, found)
		}
		fmt.Fprintf(&told, "- round %d: %s rows compared, none differs\n", round+1, o.readers.rows("SELECT (SELECT count(*) FROM mart_"+strings.Join(atTheSource, ") + (SELECT count(*) FROM mart_")+")"))
	}
}

// A comparison is worth what it finds: each mart is broken by itself, as a slip of its author would.
func TestSQLOnTheSourcesTablesFindsABrokenMart(t *testing.T) {
	if !chassistest.Drill() {
		t.Skip("OFITEC_DRILLS is not set")
	}
	var told strings.Builder
	defer func() {
		chassistest.Evidence(t, "broken-marts", "SQL on the source's own tables finds each mart that is broken on purpose",
			"`OFITEC_DRILLS=1 go test -run TestSQLOnTheSourcesTablesFindsABrokenMart .` in services/etl-transform: the slip in the mart's SQL, and the first row in which the two differ.\n\n"+told.String())
	}()
	for mart, slip := range map[string][2]string{
		"fact_sales":         {"'out_receipt'", "'out_receipts'"},
		"fact_cost":          {"kind,\n", "'actual' AS kind,\n"},
		"fact_cashflow":      {"coalesce(hk_project, 0)", "hk_project"},
		"fact_budget":        {"budget - actual", "budget - actual - committed"},
		"fact_receivable":    {"AND p.state = 'posted'", ""},
		"fact_project_month": {"AND kind = 'actual'", ""},
		"fact_wip":           {"ORDER BY progress_id DESC", "ORDER BY progress_id"},
		"kpi_project":        {"m.revenue - m.direct_cost,", "m.revenue - m.direct_cost_to_date,"},
		"kpi_company":        {"m.month_end - 89", "m.month_end - 90"},
	} {
		t.Run(mart, func(t *testing.T) {
			file := "marts/mart_" + mart + ".sql"
			sound, err := os.ReadFile("../../models/" + file)
			if err != nil {
				t.Fatal(err)
			}
			broken := strings.Replace(string(sound), slip[0], slip[1], 1)
			if broken == string(sound) {
				t.Fatalf("%s has no %q: give it another slip", file, slip[0])
			}
			overlay := t.TempDir()
			if err := os.Mkdir(overlay+"/marts", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay+"/"+file, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			o, env := newCompany(t)
			loadOnce(t, append(env, "OFITEC_MODELS="+overlay))
			if found := o.differences(); len(found[mart]) == 0 {
				t.Errorf("it was not found, only %v", found)
			} else {
				fmt.Fprintf(&told, "- mart_%s, `%s` for `%s`: %s\n", mart, strings.TrimSpace(slip[1]), strings.TrimSpace(slip[0]), found[mart][0])
			}
		})
	}
}
