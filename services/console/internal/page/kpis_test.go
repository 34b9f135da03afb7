package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
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

// published are marts of a company with three projects and a month that is not over; amounts have digits that a float of 64 bits would lose.
const published = `
CREATE TABLE mart_dim_project AS SELECT n::numeric(39,0) AS hk_project, n AS project_id, CASE n WHEN 0 THEN '(unknown)' ELSE 'Obra ' || n END AS project_name FROM generate_series(0, 2) AS n;
CREATE TABLE mart_kpi_project AS SELECT hk_project, m.month_end, m.is_open, (project_id * 1000000.25 - n * 1234.5)::numeric(18,2) AS revenue, (n * 98765.43)::numeric(18,2) AS direct_cost,
	CASE WHEN n > 2 THEN round(n / 7.0, 6) END AS gross_margin, 1.00 AS revenue_to_date, 2.00 AS direct_cost_to_date, 3.00 AS earned_revenue,
	CASE WHEN project_id > 0 THEN (9007199254740993.25 - n)::numeric(18,2) END AS backlog, CASE WHEN project_id > 0 THEN (n * -1000.01)::numeric(18,2) END AS wip
	FROM mart_dim_project, (SELECT n, (date '2025-01-31' + n * interval '1 month')::date AS month_end, n = 13 AS is_open FROM generate_series(0, 13) AS n) AS m;
UPDATE mart_kpi_project SET month_end = (date_trunc('month', month_end) + interval '1 month - 1 day')::date;
CREATE TABLE mart_fact_wip AS SELECT hk_project, month_end AS date, (direct_cost * 1.5)::numeric(18,2) AS pv, (direct_cost * 1.25)::numeric(18,2) AS ev, direct_cost AS ac FROM mart_kpi_project WHERE hk_project > 0;
CREATE TABLE mart_kpi_company AS SELECT month_end, bool_or(is_open) AS is_open, sum(revenue) AS revenue, sum(direct_cost) AS direct_cost, max(gross_margin) AS gross_margin, sum(backlog) AS backlog,
	sum(wip) AS wip, sum(revenue) * 3 AS cash, round(sum(revenue) / 12345.67, 6) AS days_of_cash FROM mart_kpi_project GROUP BY month_end;
CREATE TABLE etl_publication (load bigint, published_at timestamptz);
INSERT INTO etl_publication VALUES (41, now() - interval '5 minutes')`

// fields are what the page's table shows: of the company, and of a project.
var fields = map[bool]string{
	true:  "revenue, direct_cost, gross_margin, backlog, wip, cash, round(days_of_cash, 1) AS days_of_cash",
	false: "revenue, direct_cost, gross_margin, backlog, wip, pv, ev, ac",
}

func TestTheNumbersOnThePageAreThoseOfAnalytics(t *testing.T) {
	dsn := postgrestest.Bare(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), published); err != nil {
		t.Fatal(err)
	}
	for language, scheme := range map[string]string{"en": "light", "es": "dark"} {
		t.Run(language, func(t *testing.T) {
			b := newBrowser(t, language)
			s := open(t, boardtest.Day(time.Now())...)
			s.analytics = filepath.Join(t.TempDir(), "analytics.dsn")
			if err := os.WriteFile(s.analytics, []byte(dsn), 0o600); err != nil {
				t.Fatal(err)
			}
			b.open(s.link(t), 1280, 900, "light")
			b.await(`document.querySelectorAll("#kpi tbody tr").length === 14 && document.querySelectorAll("#kpi canvas").length === 5`)
			if aside := b.eval(`document.getElementById("kpi-aside").innerText`); !strings.Contains(aside, "41") {
				t.Errorf("the page does not say from which load: %q", aside)
			}
			for _, project := range []string{"", "0", "1", "2"} {
				for _, months := range [][2]string{{"", ""}, {"2025-06", ""}, {"", "2025-03"}, {"2025-03", "2025-03"}, {"2031-01", ""}} {
					if months[0] == "2025-03" && project != "1" || months[0] == "2031-01" && project == "0" { // states that differ in nothing
						continue
					}
					b.eval(fmt.Sprintf(`window.marked = document.querySelector("#kpi > *"); for (const [id, v] of [["project", %q], ["from", %q], ["to", %q]]) document.getElementById("kpi-" + id).value = v;
						document.getElementById("kpi-form").dispatchEvent(new Event("change"))`, project, months[0], months[1]))
					b.await(`document.querySelector("#kpi > *") !== window.marked`)
					want := expected(t, conn, project, months)
					if got := shown(t, b, language); got != want {
						t.Errorf("project %q, months %v: the page shows\n%s\nanalytics has\n%s", project, months, got, want)
					}
				}
			}
			if file := b.eval(`document.getElementById("kpi-file").href`); !strings.Contains(file, "project=2") || !strings.Contains(file, "from=2031-01") || !strings.Contains(file, "lang="+language) {
				t.Errorf("the file is at %s", file)
			}
			for _, size := range sizes {
				b.open(s.link(t), size.width, size.height, scheme)
				b.await(`document.querySelectorAll("#kpi canvas").length === 5`)
				if wide := b.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide != "0" {
					t.Errorf("%s: the page is %s pixels wider than the window", size.name, wide)
				}
				b.eval(`document.getElementById("kpi-project").value = "1"; document.getElementById("kpi-form").dispatchEvent(new Event("change"))`)
				b.await(`document.querySelectorAll("#kpi canvas").length === 4`)
				b.size(size.width, 3600)
				b.picture("kpi-" + language + "-" + scheme + "-" + size.name)
			}
			if len(b.said) > 0 {
				t.Errorf("the browser says %v", b.said)
			}
		})
	}
}

// expected asks PostgreSQL in its own words, not in the page's.
func expected(t *testing.T, conn *pgx.Conn, project string, months [2]string) string {
	t.Helper()
	from := "mart_kpi_company AS k"
	if project != "" {
		from = "mart_kpi_project AS k LEFT JOIN mart_fact_wip AS w ON w.hk_project = k.hk_project AND w.date = k.month_end"
	}
	where := "to_char(month_end, 'YYYY-MM') BETWEEN coalesce(nullif($1, ''), '0000') AND coalesce(nullif($2, ''), '9999')"
	if project != "" {
		where += " AND k.hk_project = " + project
	}
	rows, err := conn.Query(t.Context(), "SELECT row_to_json(x)::text FROM (SELECT month_end::text AS month, "+fields[project == ""]+" FROM "+from+" WHERE "+where+" ORDER BY month_end DESC) AS x", months[0], months[1])
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, row := range list {
		decoder := json.NewDecoder(strings.NewReader(row))
		decoder.UseNumber()
		cells := map[string]any{}
		if err := decoder.Decode(&cells); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line(cells, func(cell any) string {
			if cell == nil {
				return "—"
			}
			return plain(t, fmt.Sprint(cell))
		}))
	}
	return strings.Join(lines, "\n")
}

// shown reads the page's table back into plain numbers.
func shown(t *testing.T, b *browser, language string) string {
	t.Helper()
	var rows []map[string]any
	decode(t, json.RawMessage(b.eval(`JSON.stringify([...document.querySelectorAll("#kpi tbody tr")].map((r) => ({ month: r.dataset.month, ...Object.fromEntries([...r.querySelectorAll("[data-field]")].map((c) => [c.dataset.field, c.textContent])) })))`)), &rows)
	group, decimal := ",", "."
	if language == "es" {
		group, decimal = ".", ","
	}
	var lines []string
	for _, cells := range rows {
		lines = append(lines, line(cells, func(cell any) string {
			text := strings.NewReplacer(group, "", decimal, ".", "−", "-", "\u00a0", "", "\u202f", "", " ", "").Replace(fmt.Sprint(cell))
			if text == "—" {
				return text
			}
			if number, isShare := strings.CutSuffix(text, "%"); isShare {
				return plain(t, number+"e-2")
			}
			return plain(t, text)
		}))
	}
	return strings.Join(lines, "\n")
}

func line(cells map[string]any, number func(any) string) string {
	text := fmt.Sprint(cells["month"])
	for _, name := range []string{"revenue", "direct_cost", "gross_margin", "backlog", "wip", "cash", "days_of_cash", "pv", "ev", "ac"} {
		if cell, there := cells[name]; there {
			text += " " + name + " " + number(cell)
		}
	}
	return text
}

// plain is a number to the last digit, in one form.
func plain(t *testing.T, text string) string {
	t.Helper()
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return exact.RatString()
}

func TestAKpiFilterThatCannotBeReadIsNamedWithItsValue(t *testing.T) {
	s := open(t)
	v := inside(t, s)
	if status, body, _ := v.get(s.url + "/api/kpis?to=hoy"); status != http.StatusBadRequest || !strings.Contains(body, `to \"hoy\"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := newVisitor(t).get(s.url + "/api/kpis"); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
}
