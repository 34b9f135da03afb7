package warehouse

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ofitec/ofitec/models"
)

var march = Closing{Month: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), At: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC), Actor: "operator:ana", Reason: "accounts of March approved"}

// close freezes a month and loads what was frozen.
func (b *bench) close(t *testing.T, c Closing) Frozen {
	t.Helper()
	f, err := b.Freeze(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	b.load(t, b.file(DatasetClose, "close", string(f.Content), -11))
	return f
}

const invoiceColumns = "invoice_id,project_id,partner_id,move_type,date,due_date,amount_total,amount_tax,retention_amount,currency,state,write_date\n"

func TestALateDocumentRestatesAClosedMonthAndNotWhatWasReported(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	var said bytes.Buffer
	b.o.Log = slog.New(slog.NewTextHandler(&said, nil))
	f := b.close(t, march)
	b.expect(t, "SELECT count(*), count(*) FILTER (as_reported IS DISTINCT FROM as_restated) FROM mart_closed_figure", numberText(f.Figures)+"|0")
	b.expect(t, "SELECT count(*) FROM mart_closed_document", "0")
	b.expect(t, "SELECT strftime(month_end, '%Y-%m-%d'), strftime(closed_at, '%Y-%m-%d'), closed_by, reason, manifest_sequence, figures, figures_restated, documents_restated FROM mart_closed_month",
		"2025-03-31|2026-01-05|operator:ana|accounts of March approved|"+numberText(f.Sequence)+"|"+numberText(f.Figures)+"|0|0")

	// a document of 40 without tax for project 1, dated in March, in April's export
	r := b.load(t, b.file("invoice", "rows", invoiceColumns+"77,1,1,out_invoice,2025-03-20,2025-04-20,40000,0,0,CLP,posted,2025-12-31T10:00:00Z\n", -10))
	if !slices.Equal(r.Restated, []string{"2025-03"}) {
		t.Errorf("months restated are %v", r.Restated)
	}
	if !strings.Contains(said.String(), "month=2025-03") || !strings.Contains(said.String(), "invoice 77 (late)") {
		t.Errorf("the warning does not name document and month: %s", said.String())
	}
	b.expect(t, `SELECT count(*) FROM etl_outbox WHERE contains(data, '"restated_months":["2025-03"')`, "1")
	one := "FROM mart_closed_figure WHERE mart = 'mart_kpi_project' AND hk_project = (SELECT hk_project FROM vault_h_project WHERE project_id = 1) AND measure = "
	b.expect(t, "SELECT as_reported::DOUBLE, as_restated::DOUBLE, difference::DOUBLE "+one+"'revenue'", "150000|190000|40000")
	b.expect(t, "SELECT as_reported::DOUBLE, as_restated::DOUBLE "+one+"'wip'", "50000|10000")
	b.expect(t, "SELECT dataset, document_id, what, amount_now::DOUBLE FROM mart_closed_document", "invoice|77|late|40000")
	findings, err := b.Audit(t.Context(), b.Checks())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(findings, func(f Finding) bool { return f.Check == "sql.restated" })
	if i < 0 || findings[i].Severity != "warn" || findings[i].Failing != 1 || len(findings[i].Rows) != 1 || !strings.Contains(findings[i].Rows[0], "'document_id': 77") {
		t.Errorf("no warning of the check names the document: %+v", findings)
	}

	// what is changed and what is gone is told too, and a document that is put back is no difference any more
	b.load(t, b.file("invoice", "absent", "invoice_id\n77\n", -9), b.file("cost_line", "absent", "cost_line_id\n3\n", -9))
	b.expect(t, "SELECT dataset, document_id, what FROM mart_closed_document", "cost_line|3|gone")
	if r = b.load(t, b.file("partner", "rows", "partner_id,write_date\n", -8)); len(r.Restated) > 0 {
		t.Errorf("a load that moved nothing restates %v", r.Restated)
	}
}

func TestAMonthIsClosedOnceAndOnlyWhenItIsOver(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	open := march
	for _, month := range []time.Month{time.December, time.January} { // exports reach December 2025
		open.Month = time.Date(2025+int(time.December-month)/11, month, 1, 0, 0, 0, 0, time.UTC)
		if _, err := b.Freeze(t.Context(), open); !errors.Is(err, ErrOpenMonth) {
			t.Errorf("%s: %v", open.Name(), err)
		}
	}
	early := march
	early.Month = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := b.Freeze(t.Context(), early); !errors.Is(err, ErrNotClosable) {
		t.Errorf("a month without figures: %v", err)
	}
	b.close(t, march)
	if _, err := b.Freeze(t.Context(), march); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "operator:ana") {
		t.Errorf("closed again: %v", err)
	}
}

// What was reported comes from the raw file of the closing, so that neither the order of the files nor a formula that was corrected since can change it.
func TestAClosingIsTheSameInAWarehouseThatIsMadeAnewByOtherFormulas(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	f := b.close(t, march)
	before := query(t, b.db, "SELECT CAST(COLUMNS(* EXCLUDE (as_restated, difference)) AS VARCHAR) FROM mart_closed_figure ORDER BY ALL")
	m, err := models.Load(models.Builtin(), otherFormula(t))
	if err != nil {
		t.Fatal(err)
	}
	anew := &bench{shelf: shelf{}, Warehouse: openWith(t, t.TempDir(), m)}
	t.Cleanup(func() { _ = anew.Close() })
	anew.load(t, anew.file(DatasetClose, "close", string(f.Content), -11))
	for _, dataset := range exportsOf(t, "company") {
		anew.load(t, anew.file(dataset.name, "rows", dataset.content, -12))
	}
	if after := query(t, anew.db, "SELECT CAST(COLUMNS(* EXCLUDE (as_restated, difference)) AS VARCHAR) FROM mart_closed_figure ORDER BY ALL"); !slices.Equal(before, after) {
		t.Errorf("as reported is\n%v\nbefore\n%v", after, before)
	}
	anew.expect(t, "SELECT count(*) FROM mart_closed_figure WHERE mart = 'mart_kpi_project' AND measure = 'backlog' AND as_restated = as_reported + 1", "3")
}

// otherFormula is a model of the project's KPIs whose backlog is higher by one.
func otherFormula(t *testing.T) fstest.MapFS {
	t.Helper()
	const file = "marts/mart_kpi_project.sql"
	text, err := fs.ReadFile(models.Builtin(), file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "w.contract_value - w.earned_revenue AS backlog", "w.contract_value - w.earned_revenue + 1 AS backlog", 1)
	if changed == string(text) {
		t.Fatal("the formula is not where it was")
	}
	return fstest.MapFS{file: {Data: []byte(changed)}}
}

type export struct{ name, content string }

func exportsOf(t *testing.T, folder string) []export {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("testdata", folder, "*.csv"))
	exports := make([]export, 0, len(files))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		exports = append(exports, export{strings.TrimSuffix(filepath.Base(file), ".csv"), string(content)})
	}
	return exports
}

func numberText(n int64) string { return strconv.FormatInt(n, 10) }
