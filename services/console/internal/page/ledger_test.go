package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/services/console/internal/board/boardtest"
)

// ledgers are what March 2025 is made of: the documents of project 1 add up to its revenue, one of them in dollars, its cost lines do not to its cost; February is closed and was restated.
const ledgers = published + `;
CREATE TABLE mart_dim_partner AS SELECT 7::numeric(39,0) AS hk_partner, 'Municipalidad <b>' AS partner_name;
CREATE TABLE mart_dim_rate AS SELECT 'USD' AS currency, date '2025-03-11' AS date, 940.5::numeric(18,6) AS rate;
CREATE TABLE mart_fact_sales AS SELECT date::date, project::numeric(39,0) AS hk_project, 7::numeric(39,0) AS hk_partner, id AS invoice_id, kind AS document_type, amount::numeric(18,2) AS amount_untaxed, sign, currency FROM (VALUES
	('2025-03-10', 1, 101, 'invoice', 907040.25, 1, 'CLP'), ('2025-03-11', 1, 102, 'invoice', 100.5, 1, 'USD'), ('2025-03-31', 1, 103, 'credit_note', 4029, -1, NULL),
	('2025-03-12', 1, 104, 'invoice', 3, 1, 'EUR'), ('2025-04-01', 1, 105, 'invoice', 5, 1, 'CLP'), ('2025-03-01', 2, 106, 'invoice', 6, 1, 'CLP')) AS d(date, project, id, kind, amount, sign, currency);
CREATE TABLE mart_fact_cost AS SELECT date::date, project::numeric(39,0) AS hk_project, category AS cost_category, kind, amount::numeric(18,2), id AS cost_line_id FROM (VALUES
	('2025-03-05', 1, '=1+1', 'actual', 197530.85, 201), ('2025-03-06', 1, 'labour', 'committed', 9, 202)) AS c(date, project, category, kind, amount, id);
CREATE TABLE mart_closed_month AS SELECT date '2025-02-28' AS month_end, timestamp '2025-03-05 12:00' AS closed_at, 'ana' AS closed_by, 'board meeting' AS reason;
CREATE TABLE mart_closed_figure AS SELECT date '2025-02-28' AS month_end, mart, project::numeric(39,0) AS hk_project, measure, a::numeric(38,6) AS as_reported, b::numeric(38,6) AS as_restated, (b - a)::numeric(38,6) AS difference FROM (VALUES
	('mart_kpi_project', 1, 'revenue', 1000.5, 998765.75), ('mart_kpi_project', 1, 'direct_cost', 98765.43, 98765.43), ('mart_kpi_project', 2, 'revenue', 1, 2), ('mart_kpi_company', 0, 'cash', 5, 7)) AS f(mart, project, measure, a, b);
CREATE TABLE mart_closed_document AS SELECT date '2025-02-28' AS month_end, 'invoice' AS dataset, '99' AS document_id, 'late' AS what, 1::numeric(39,0) AS hk_project, NULL::numeric AS amount_reported, 997765.25::numeric AS amount_now;
CREATE TABLE etl_held_back AS SELECT mart, name AS check_name, severity, failing::bigint, amount::numeric, blocks, reason FROM (VALUES
	('mart_fact_sales', 'positive.amount_total', 'error', 3, 1234.5, false, ''), ('mart_fact_budget', 'unique.hk_project', 'error', 2, NULL, true, '2 rows break unique.hk_project'), ('mart_warning', 'sql.no_rate', 'warn', 1, NULL, false, '')) AS h(mart, name, severity, failing, amount, blocks, reason)`

// monthly fills a database, and gives a site that reads it.
func monthly(t *testing.T) (*site, *pgx.Conn) {
	t.Helper()
	dsn := postgrestest.Bare(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), ledgers); err != nil {
		t.Fatal(err)
	}
	s := open(t, boardtest.Day(time.Now())...)
	s.analytics = filepath.Join(t.TempDir(), "analytics.dsn")
	if err := os.WriteFile(s.analytics, []byte(dsn), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, conn
}

func TestAMonthLeadsToItsProjectsTheirDocumentsAndWhatWasReported(t *testing.T) {
	s, conn := monthly(t)
	for language, scheme := range map[string]string{"en": "light", "es": "dark"} {
		t.Run(language, func(t *testing.T) {
			b := newBrowser(t, language)
			b.open(s.link(t), 1280, 900, scheme)
			b.await(`document.querySelectorAll("#kpi tbody tr").length === 14 && document.querySelectorAll("#kpi-held li").length === 3`)
			if have := b.eval(`[...document.querySelectorAll("#kpi-held li")].map((li) => li.className + " " + li.dataset.check).join(", ")`); have != "blocks mart_fact_budget unique.hk_project, error mart_fact_sales positive.amount_total, warn mart_warning sql.no_rate" {
				t.Errorf("held back is %s", have)
			}
			b.eval(`document.querySelector('#kpi tr[data-month="2025-03-31"] button').click()`)
			b.await(`document.querySelectorAll("#month tr[data-project]").length === 3`)
			want := asked(t, conn, "SELECT k.hk_project || ' ' || coalesce(trim_scale(k.revenue)::text, '—') || ' ' || trim_scale(k.direct_cost) || ' ' || coalesce(trim_scale(k.backlog)::text, '—') FROM mart_kpi_project AS k WHERE month_end = '2025-03-31' ORDER BY hk_project")
			if have := cells(t, b, language, "project", "revenue", "direct_cost", "backlog"); have != want {
				t.Errorf("the projects are\n%s\nanalytics has\n%s", have, want)
			}
			b.eval(`document.querySelector('#month tr[data-project="1"] button').click()`)
			b.await(`document.querySelectorAll("#month tr[data-document]").length === 5 && document.getElementById("kpi-project").value === "1"`)
			if have, want := cells(t, b, language, "document", "counted"), "cost 201 197530.85\ninvoice 101 907040.25\ninvoice 102 94520\ninvoice 104 —\ncredit_note 103 -4029"; have != want {
				t.Errorf("the documents are\n%s\nwant\n%s", have, want)
			}
			// The revenue of the month is 1000000.25 - 2 x 1234.5; its cost 2 x 98765.43, and a peso short in the documents.
			if have := b.eval(`[...document.querySelectorAll("#month .sum")].map((p) => p.dataset.sum + " " + p.lastChild.className).join(", ")`); have != "money.revenue good, money.cost held" {
				t.Errorf("the sums are %s", have)
			}
			if have := b.eval(`document.querySelector("#month .trace").textContent`); !strings.Contains(have, "etl trace mart_kpi_project --project 1 --month 2025-03 --column gross_margin") {
				t.Errorf("trace is %s", have)
			}
			b.size(1280, 2600)
			b.picture("month-" + language + "-" + scheme + "-1280")
			b.eval(`document.querySelector('#kpi tr[data-month="2025-02-28"] button').click()`)
			b.await(`document.querySelectorAll("#month tr[data-measure]").length === 2`)
			if have, want := tidy(b.eval(`[...document.querySelectorAll("#month tr[data-measure], #month tr[data-restated]")].map((r) => [r.dataset.measure ?? r.dataset.restated, ...[...r.querySelectorAll(".number")].map((c) => c.textContent)].join(" ")).join("\n")`), language),
				"revenue 1000.5 998765.75 997765.25\ndirect_cost 98765.43 98765.43 —\ninvoice 99 — 997765.25"; have != want {
				t.Errorf("as reported is\n%s\nwant\n%s", have, want)
			}
			b.size(390, 2600)
			b.await(`document.documentElement.scrollWidth === document.documentElement.clientWidth`) // the plots follow with the next frame
			b.picture("month-closed-" + language + "-" + scheme + "-390")
			b.eval(`document.getElementById("kpi-project").value = ""; document.getElementById("kpi-project").dispatchEvent(new Event("change", { bubbles: true }))`)
			b.await(`document.querySelectorAll("#kpi canvas").length === 5 && !document.querySelector("#month > *")`)
			if len(b.said) > 0 {
				t.Errorf("the browser says %v", b.said)
			}
		})
	}
}

// asked is a column of an answer.
func asked(t *testing.T, conn *pgx.Conn, query string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// cells reads a table of the month back: what a row is of, and its fields as numbers of PostgreSQL.
func cells(t *testing.T, b *browser, language, of string, fields ...string) string {
	t.Helper()
	names, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return tidy(b.eval(fmt.Sprintf(`[...document.querySelectorAll("#month tr[data-%[1]s]")].map((r) => [r.dataset.%[1]s, ...%[2]s.map((f) => { const text = r.querySelector('[data-field="' + f + '"]').textContent; return /\d/.test(text) ? text : "—"; })].join(" ")).join("\n")`, of, names)), language)
}

func tidy(text, language string) string {
	group, decimal := ",", "."
	if language == "es" {
		group, decimal = ".", ","
	}
	return strings.NewReplacer(group, "", decimal, ".", "−", "-", "\u00a0", "", "\u202f", "").Replace(text)
}

func TestTheDocumentsOfAMonthAndWhatWasReportedAreFilesInTheLanguagesOwnForm(t *testing.T) {
	s, _ := monthly(t)
	v := inside(t, s)
	for query, want := range map[string]string{
		"documents.csv?lang=es&month=2025-03&project=1": "Mes;Proyecto;Fecha;Tipo;Número;Cliente o categoría;Monto;Moneda;Contado\n2025-03-31;1;2025-03-05;costo;201;'=1+1;197530,85;CLP;197530,85\n" +
			"2025-03-31;1;2025-03-10;factura;101;Municipalidad <b>;907040,25;CLP;907040,25\n2025-03-31;1;2025-03-11;factura;102;Municipalidad <b>;100,50;USD;94520\n" +
			"2025-03-31;1;2025-03-12;factura;104;Municipalidad <b>;3,00;EUR;\n2025-03-31;1;2025-03-31;nota de crédito;103;Municipalidad <b>;-4029,00;CLP;-4029,00\n",
		"documents.csv?lang=en&month=2031-01&project=1": "Month,Project,Date,Kind,Number,Client or category,Amount,Currency,Counted\n",
		"closed.csv?lang=es&month=2025-02&project=1":    "Mes;Proyecto;Cifra o documento;Qué;Informado;Reexpresado;Diferencia\n2025-02-28;1;revenue;;1000,5;998765,75;997765,25\n2025-02-28;1;direct_cost;;98765,43;98765,43;0\n2025-02-28;1;invoice 99;tardío;;997765,25;\n",
		"closed.csv?lang=en&month=2025-02":              "Month,Project,Figure or document,What,As reported,As restated,Difference\n2025-02-28,,cash,,5,7,2\n2025-02-28,1,invoice 99,late,,997765.25,\n",
	} {
		if status, body, _ := v.get(s.url + "/api/" + query); status != http.StatusOK || body != want {
			t.Errorf("%s: %d\n%s\nwant\n%s", query, status, body, want)
		}
	}
	for query, want := range map[string]string{
		"ledger?month=hoy":                    `month \"hoy\"`,
		"ledger?month=2025-03&project=Torre":  `project \"Torre\"`,
		"documents.csv?month=2025-03&lang=x":  `lang \"x\"`,
		"documents.csv?month=2025-03&lang=es": `project \"\"`,
		"closed.csv?lang=es&month=":           `month \"\"`,
	} {
		if status, body, _ := v.get(s.url + "/api/" + query); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	if status, body, _ := v.get(s.url + "/api/closed.csv?lang=es&month=2025-03"); status != http.StatusNotFound || !strings.Contains(body, "not closed") {
		t.Errorf("a month that is not closed: %d %s", status, body)
	}
	for _, path := range []string{"ledger", "documents.csv", "closed.csv"} {
		if status, _, _ := newVisitor(t).get(s.url + "/api/" + path); status != http.StatusUnauthorized {
			t.Errorf("%s without a session: %d", path, status)
		}
	}
}
