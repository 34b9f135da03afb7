package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
)

func TestFiguresAreThoseOfTheFilterToTheLastDigit(t *testing.T) {
	dsn := postgrestest.Bare(t)
	reader := file(t, dsn)
	if _, err := postgres.Figures(t.Context(), reader, board.FigureFilter{}); err == nil || !strings.Contains(err.Error(), "not published yet") {
		t.Fatalf("before the first publication: %v", err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `CREATE TABLE mart_dim_project AS SELECT * FROM (VALUES (7::numeric(39,0), 42, 'Torre'), (0, 0, NULL)) AS p(hk_project, project_id, project_name);
		CREATE TABLE mart_kpi_project AS SELECT hk_project, month_end::date, open AS is_open, revenue::numeric(18,2), 1.00 AS direct_cost, NULL::numeric AS gross_margin, 3.00 AS revenue_to_date,
			4.00 AS direct_cost_to_date, 5.00 AS earned_revenue, -6.00 AS backlog, 7.00 AS wip
		FROM (VALUES (7::numeric(39,0), '2026-02-28', false, 1234567890123456.78), (7, '2026-03-31', true, 2), (0, '2026-02-28', false, 3)) AS k(hk_project, month_end, open, revenue)`)
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"":                                   "0 2026-02-28, 42 2026-02-28, 42 2026-03-31 open",
		"project=42":                         "42 2026-02-28, 42 2026-03-31 open",
		"project=0":                          "0 2026-02-28",
		"from=2026-03":                       "42 2026-03-31 open",
		"to=2026-02":                         "0 2026-02-28, 42 2026-02-28",
		"project=42&from=2026-02&to=2026-02": "42 2026-02-28",
		"project=5":                          "",
	} {
		values, _ := url.ParseQuery(query)
		filter, err := board.ParseFigureFilter(values)
		if err != nil {
			t.Fatal(err)
		}
		figures, err := postgres.Figures(t.Context(), reader, filter)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range figures {
			line := map[int64]string{0: "0 ", 42: "42 "}[f.Project] + f.Month
			if f.Open {
				line += " open"
			}
			got = append(got, line)
			if f.Project == 42 && !f.Open && *f.Published[0] != "1234567890123456.78" || f.Published[2] != nil || *f.Published[6] != "-6.00" || (f.Name == nil) != (f.Project == 0) {
				t.Errorf("%q: %+v", query, f)
			}
		}
		if have := strings.Join(got, ", "); have != want {
			t.Errorf("%q gives %s, want %s", query, have, want)
		}
	}
}
