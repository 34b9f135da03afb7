package warehouse

import (
	"slices"
	"strings"
	"testing"
)

const projectColumns = "project_id,project_name,partner_id,manager,state,date_start,date_end,contract_amount,contract_currency,approved_changes,budget_cost,estimate_at_completion,write_date\n"

// Each kind of bad input has its rule, and a line in the quarantine or among the warnings; the good document beside them is published.
func TestBadInputHasItsRuleAndALineAndTheRestIsPublished(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	b.close(t, march)
	const at = ",2025-12-31T00:00:00Z\n"
	r := b.load(t,
		b.file("invoice", "rows", invoiceColumns+
			"100,1,1,out_invoice,2025-11-03,2025-12-03,1000,0,0,CLP,posted"+at+ // the good one
			"101,,1,out_invoice,2025-11-04,2025-12-04,200,0,0,CLP,posted"+at+
			"102,1,1,out_invoice,2025-11-05,2025-12-05,0,0,0,CLP,posted"+at+
			"103,1,1,out_invoice,2025-11-06,2025-12-06,300,0,0,EUR,posted"+at+
			"104,1,1,out_invoice,2025-07-20,2025-08-20,400,0,0,USD,posted"+at+
			"105,1,1,out_invoice,2025-03-21,2025-04-21,500,0,0,CLP,posted"+at, -10),
		b.file("project", "rows", projectColumns+"50,Bodega,1,Ana,open,2025-11-01,,1000,CLP,0,0,500"+at, -10),
		b.file("cost_line", "rows", "cost_line_id,project_id,cost_category,date,amount,kind,write_date\n900,50,labour,2025-11-10,100,actual"+at, -10),
		b.file("site_progress", "rows", "progress_id,project_id,date,physical_percent,planned_percent,write_date\n90,50,2025-11-15,120,50"+at+"91,50,2025-12-15,80,60"+at, -10),
	)
	for _, m := range r.Marts {
		if m.BlockedBy != "" {
			t.Errorf("mart is blocked: %+v", m)
		}
	}
	project := func(id string) string {
		return "hk_project = (SELECT hk_project FROM vault_h_project WHERE project_id = " + id + ")"
	}
	// published: the good one, and 101 for the unknown project; what has no rate is in the sales and in no KPI
	b.expect(t, "SELECT revenue, documents_without_rate FROM mart_kpi_project WHERE month_end = '2025-11-30' AND "+project("1"), "1000|1")
	b.expect(t, "SELECT revenue FROM mart_kpi_project WHERE month_end = '2025-11-30' AND hk_project = 0", "200")
	b.expect(t, "SELECT revenue, documents_without_rate FROM mart_kpi_project WHERE month_end = '2025-07-31' AND "+project("1"), "-50000|1")
	b.expect(t, "SELECT count(*) FROM mart_fact_sales WHERE invoice_id IN (100, 101, 103, 104, 105)", "5")
	// kept out: no total
	b.expect(t, "SELECT count(*) FROM mart_fact_sales WHERE invoice_id = 102", "0")
	b.expect(t, "SELECT column_name, value, reason FROM etl_quarantine WHERE layer = 'mart' AND name = 'mart_fact_sales' AND hk = (SELECT hk_invoice FROM vault_h_invoice WHERE invoice_id = 102)",
		"amount_total|0.00|positive.amount_total: is not positive")
	// a budget of zero earns nothing and divides nothing; progress is capped, and may go back
	b.expect(t, "SELECT bac, ev, cpi, eac, percent_physical, percent_cost, earned_revenue FROM mart_fact_wip WHERE date = '2025-11-30' AND "+project("50"), "0|0|0||1|0.2|200")
	b.expect(t, "SELECT percent_physical, warnings FROM mart_fact_wip WHERE date = '2025-12-31' AND "+project("50"), "0.8|progress_went_back")
	// the lines
	for _, line := range []string{
		"2025-11 without_project project 0 200", "2025-11 unknown_currency invoice 103 300", "2025-07 no_rate invoice 104 400", "2025-03 restated_late invoice 105 500",
		"2025-11 budget_of_zero project 50 0", "2025-11 progress_over_100 project 50 -", "2025-12 progress_went_back project 50 -",
	} {
		b.expect(t, "SELECT count(*) FROM mart_warning WHERE concat_ws(' ', strftime(month_end, '%Y-%m'), kind, dataset, document_id, coalesce(CAST(CAST(amount AS BIGINT) AS VARCHAR), '-')) = '"+line+"'", "1")
	}
	findings, err := b.Audit(t.Context(), b.Checks())
	if err != nil {
		t.Fatal(err)
	}
	for check, names := range map[string]string{"sql.unknown_currency": "'document_id': 103", "sql.no_rate": "'document_id': 104", "sql.progress_over_100": "'document_id': 50"} {
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Check == check })
		if i < 0 || findings[i].Severity != "warn" || !strings.Contains(strings.Join(findings[i].Rows, "\n"), names) {
			t.Errorf("%s does not name %s: %+v", check, names, findings[max(i, 0)])
		}
	}
}

func TestACreditNoteOfAnotherCurrencyIsUsedAtTheRatesOfTheDayAndUnknownWithoutOne(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	const at = ",2025-12-31T00:00:00Z\n"
	const columns = "allocation_id,payment_id,invoice_id,credit_note_id,amount,date,write_date\n"
	receivable := func(id, want string) {
		t.Helper()
		b.expect(t, "SELECT credited, open_amount, open_company, bucket FROM mart_fact_receivable WHERE invoice_id = "+id, want)
	}
	warned := func(want string) {
		t.Helper()
		b.expect(t, "SELECT count(*) FROM mart_warning WHERE dataset = 'payment_allocation'", want)
	}
	// A note of 20 dollars settles 19000 pesos of invoice 5 and 0.25 UF of invoice 6: 19000/950.5 and 0.25 x 38300/945, of two days.
	b.load(t,
		b.file("invoice", "rows", invoiceColumns+"110,2,1,out_refund,2025-05-04,,40,0,,USD,posted"+at, -10),
		b.file("payment_allocation", "rows", columns+"110,,5,110,19000,2025-05-04"+at+"111,,6,110,0.25,2025-04-30"+at, -10),
	)
	receivable("110", "30.12|-9.88|-9391|credit") // 19.989... is 19.99, 10.132... is 10.13, each rounded once; 9.88 x 950.5 is 9390.94
	warned("0")
	// In June nobody has told the dollar.
	b.load(t, b.file("payment_allocation", "rows", columns+"112,,5,110,100,2025-06-30"+at, -10))
	receivable("110", "|||unknown")
	b.expect(t, "SELECT kind, strftime(month_end, '%Y-%m'), document_id, amount, currency FROM mart_warning WHERE dataset = 'payment_allocation'", "no_rate|2025-06|112|100|USD")
	// Who is credited owes less all the same.
	b.expect(t, "SELECT credited, open_amount FROM mart_fact_receivable WHERE invoice_id = 5", "19100|380900")
	// The rate comes late.
	b.load(t, b.file("currency_rate", "rows", "rate_id,currency,date,rate,write_date\n90,USD,2025-06-28,1000"+at, -10))
	receivable("110", "30.22|-9.78|-9296|credit")
	warned("0")
}
