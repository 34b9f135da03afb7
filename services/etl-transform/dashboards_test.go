package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
)

// query is one question of a dashboard, as it is sent when all projects are chosen; one is the same with a single project, where it makes a difference.
type query struct{ where, all, one string }

// TestEveryQueryOfTheDashboardsSaysWhatTheMartsSay loads the worked company, publishes it, and asks each query of Grafana and Metabase of the readers'
// PostgreSQL and of the marts in the warehouse.
func TestEveryQueryOfTheDashboardsSaysWhatTheMartsSay(t *testing.T) {
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	files, err := filepath.Glob("internal/warehouse/testdata/company/*.csv")
	if err != nil || len(files) == 0 {
		t.Fatalf("no company: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.announce(strings.TrimSuffix(filepath.Base(file), ".csv"), string(content))
	}
	s.announce("partner", "partner_id,partner_name,rut,email,phone,is_customer,is_supplier,write_date\n1,Municipalidad,,,,true,false,2025-12-30T00:00:00Z\n")
	s.announce("cashflow_line", "line_id,project_id,category,date,status,amount,write_date\n1,1,inflow_billing,2025-03-31,planned,300000,2025-12-30T00:00:00Z\n"+
		"2,1,outflow_labour,2025-03-15,actual,90000,2025-12-30T00:00:00Z\n3,2,inflow_billing,2025-04-30,actual,1500,2025-12-30T00:00:00Z\n")
	if status, out, complaints := chassistest.Run(t, []string{"--once"}, append(env, "NATS_URL="+url, "OFITEC_ANALYTICS_DSN="+r.dsn)...); status != 0 {
		t.Fatalf("exit status %d\n%s\n%s", status, out, complaints)
	}
	db, err := duckdb.Open(t.Context(), filepath.Join(folder, "ofitec.duckdb"), duckdb.Options{MemoryLimit: "512MiB", Threads: 1, ReadOnly: true, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	filled := 0
	for _, q := range append(ofGrafana(t), ofMetabase(t)...) {
		for _, text := range []string{q.all, q.one} {
			have, want := r.rows(text), inWarehouse(t, db, text)
			if have != want {
				t.Errorf("%s: readers see\n%s\nthe marts say\n%s", q.where, have, want)
			}
			if have != "" {
				filled++
			}
		}
	}
	if filled < 60 {
		t.Errorf("%d answers have rows: the company no longer shows what the dashboards are for", filled)
	}
	if have := r.rows("SELECT project_name FROM mart_dim_project WHERE NOT is_deleted AND project_id = 1"); have != "Torre" {
		t.Fatalf("project 1 is %q, the choice above means another one", have)
	}
}

var timeFilter = regexp.MustCompile(`\$__timeFilter\(([a-z_.]+)\)`)

// ofGrafana reads the panels' and the variables' queries; macros and variables are filled in as Grafana does.
func ofGrafana(t *testing.T) []query {
	t.Helper()
	var queries []query
	for _, file := range dashboards(t) {
		var board struct {
			Title      string
			Templating struct {
				List []struct{ Name, Query string }
			}
			Panels []struct {
				Title   string
				Targets []struct{ RawSQL string }
			}
		}
		read(t, file, &board)
		for _, v := range board.Templating.List {
			queries = append(queries, query{board.Title + ", variable " + v.Name, v.Query, v.Query})
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				text := timeFilter.ReplaceAllString(target.RawSQL, "$1 BETWEEN '2020-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z'")
				all := "1,2,3"
				if strings.Contains(text, "= ${project:csv}") { // one can be chosen
					all = "2"
				}
				queries = append(queries, query{board.Title + ", " + p.Title, strings.ReplaceAll(text, "${project:csv}", all), strings.ReplaceAll(text, "${project:csv}", "1")})
			}
		}
	}
	return queries
}

var optional = regexp.MustCompile(`\[\[(.*?)\]\]`)

// ofMetabase reads the questions; an optional clause is left out without its variable.
func ofMetabase(t *testing.T) []query {
	t.Helper()
	var cards []struct {
		Name         string
		DatasetQuery struct {
			Native struct{ Query string }
		} `json:"dataset_query"`
	}
	read(t, "../../deploy/metabase/questions.json", &cards)
	queries := make([]query, len(cards))
	for i, c := range cards {
		text := c.DatasetQuery.Native.Query
		queries[i] = query{"Metabase, " + c.Name, optional.ReplaceAllString(text, ""), strings.ReplaceAll(optional.ReplaceAllString(text, "$1"), "{{project}}", "'Torre'")}
	}
	return queries
}

func dashboards(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("want four dashboards, found %d: %v", len(files), err)
	}
	return files
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// inWarehouse asks DuckDB and gives the answer as readers.rows does.
func inWarehouse(t *testing.T, db *sql.DB, text string) string {
	t.Helper()
	var lines []string
	columns, err := columnsOf(t.Context(), db, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	rows, err := db.QueryContext(t.Context(), "SELECT "+columns+" FROM ("+text+")")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// columnsOf is one expression that writes a row as text, its columns between bars, NULL as nothing.
func columnsOf(ctx context.Context, db *sql.DB, text string) (string, error) {
	rows, err := db.QueryContext(ctx, "SELECT column_name FROM (DESCRIBE "+text+")")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var columns []string
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			return "", err
		}
		columns = append(columns, fmt.Sprintf(`coalesce("%s"::VARCHAR, '')`, column))
	}
	return strings.Join(columns, " || '|' || "), rows.Err()
}
