package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
)

// readers is a PostgreSQL of the test's own with a database analytics.
type readers struct {
	t   *testing.T
	dsn string
}

func newReaders(t *testing.T) *readers {
	t.Helper()
	r := &readers{t: t, dsn: postgrestest.Bare(t)}
	r.exec("CREATE DATABASE analytics")
	r.dsn = strings.Replace(r.dsn, "/postgres?", "/analytics?", 1)
	return r
}

func (r *readers) connect() *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(context.Background(), r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func (r *readers) exec(sql string) {
	r.t.Helper()
	conn := r.connect()
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// rows gives an answer as text, a line a row.
func (r *readers) rows(sql string) string {
	r.t.Helper()
	conn := r.connect()
	defer conn.Close(context.Background())
	results, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
	if err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for _, row := range results[0].Rows {
		texts := make([]string, len(row))
		for i, value := range row {
			texts[i] = string(value)
		}
		lines = append(lines, strings.Join(texts, "|"))
	}
	return strings.Join(lines, "\n")
}

// copyIn makes a source table of a CSV, as Odoo has it.
func (r *readers) copyIn(table, columns, content string) {
	r.t.Helper()
	r.exec(fmt.Sprintf("CREATE TABLE %s (%s)", table, columns))
	conn := r.connect()
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().CopyFrom(context.Background(), strings.NewReader(content), "COPY "+table+" FROM STDIN (FORMAT csv, HEADER)"); err != nil {
		r.t.Fatal(err)
	}
}

const (
	costs    = "cost_line_id,project_id,cost_category,date,amount,kind,write_date\n1,42,labour,2026-02-10,300.00,actual,2026-02-10T00:00:00Z\n2,42,labour,2026-02-11,999.00,committed,2026-02-10T00:00:00Z\n3,42,labour,2026-04-11,50.00,actual,2026-04-12T00:00:00Z\n"
	balances = "balance_id,account,date,balance,currency,write_date\n1,main,2026-02-28,5000.00,CLP,2026-03-01T00:00:00Z\n2,dollars,2026-02-28,10.00,USD,2026-03-01T00:00:00Z\n3,main,2026-04-30,-20.00,CLP,2026-05-01T00:00:00Z\n"
	rates    = "rate_id,currency,date,rate,write_date\n1,USD,2026-02-25,900.500000,2026-02-25T00:00:00Z\n2,USD,2026-04-01,800,2026-04-01T00:00:00Z\n"
	good     = invoiceHeader +
		"1,42,7,out_invoice,2026-02-01,2026-03-01,1190.50,190.50,0,CLP,posted,2026-02-01T10:00:00Z\n" +
		"2,,7,out_refund,2026-02-02,,100.00,,,CLP,posted,2026-02-02T10:00:00Z\n" +
		"3,42,7,in_invoice,2026-02-02,,77.00,,,CLP,posted,2026-02-02T10:00:00Z\n" +
		"4,42,7,out_invoice,2026-02-26,,2.00,0.00,,USD,posted,2026-02-26T10:00:00Z\n" +
		"5,42,7,out_invoice,2026-02-27,,2.00,0.00,,USD,draft,2026-02-26T10:00:00Z\n"
)

// salesAtTheSource is mart_fact_sales by SQL that knows nothing of the warehouse, on Odoo's own table. README.md has it for people.
const salesAtTheSource = `SELECT date, CASE WHEN project_id IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE md5(project_id::text)::uuid END, CASE WHEN partner_id IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE md5(partner_id::text)::uuid END,
	md5(invoice_id::text)::uuid, invoice_id, CASE move_type WHEN 'out_refund' THEN 'credit_note' ELSE 'invoice' END, state, amount_total - coalesce(amount_tax, 0), amount_tax, amount_total, CASE move_type WHEN 'out_refund' THEN -1 ELSE 1 END
	FROM invoice WHERE state = 'posted' AND move_type IN ('out_invoice', 'out_refund', 'out_receipt') AND date IS NOT NULL AND amount_total > 0 ORDER BY invoice_id`

const salesAtTheReaders = `SELECT date, hk_project, hk_partner, hk_invoice, invoice_id, document_type, state, amount_untaxed, amount_tax, amount_total, sign FROM mart_fact_sales ORDER BY invoice_id`

func TestTheMartsThatReadersSeeEqualTheSourceBeforeAndAfterAChange(t *testing.T) {
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url, "OFITEC_ANALYTICS_DSN="+r.dsn)
	for dataset, content := range map[string]string{"project": projects, "partner": partners, "invoice": good, "cost_line": costs, "cash_balance": balances, "currency_rate": rates} {
		s.announce(dataset, content)
	}
	once := func(want string) {
		t.Helper()
		if status, out, complaints := chassistest.Run(t, []string{"--once"}, env...); status != 0 || !strings.Contains(out, want) {
			t.Fatalf("exit status %d, want 0 and %q\n%s\n%s", status, want, out, complaints)
		}
	}
	once("6 files")
	r.copyIn("invoice", "invoice_id bigint, project_id bigint, partner_id bigint, move_type text, date date, due_date date, amount_total numeric(18,2), amount_tax numeric(18,2), retention_amount numeric(18,2), currency text, state text, write_date timestamptz", good)
	if have, want := r.rows(salesAtTheReaders), r.rows(salesAtTheSource); have != want || strings.Count(have, "\n") != 2 {
		t.Errorf("readers see\n%s\nthe source has\n%s", have, want)
	}
	// 1000.00 + round(2 x 900.5) - 100; costs 300; dollars at the rate of the 25th. At the ends of March and April the last rate is too old, so cash is unknown; the open month takes the last that there is.
	if have, want := r.rows("SELECT month_end, revenue, direct_cost, gross_margin, cash FROM mart_kpi_company ORDER BY month_end LIMIT 4"), "2026-01-31|0.00|0.00||\n2026-02-28|2701.00|300.00|0.888930|14005.00\n2026-03-31|0.00|0.00||\n2026-04-30|0.00|50.00||"; have != want {
		t.Errorf("company is\n%s\nwant\n%s", have, want)
	}
	if have, want := r.rows("SELECT cash, projects, wip, backlog, is_open FROM mart_kpi_company WHERE month_end = '2026-10-31'"), "7980.00|1|-2101.00|999300.00|t"; have != want { // 350 of 500000 are spent of a million: 700 is earned, 1000 + 1801 billed
		t.Errorf("the open month is %s, want %s", have, want)
	}
	if have := r.rows("SELECT max(month_end) FROM mart_kpi_company"); have != "2026-10-31" {
		t.Errorf("months end with %s, want that of the greatest asof, in Santiago", have)
	}
	if have, want := r.rows("SELECT p.project_name, k.month_end, revenue, direct_cost, gross_margin FROM mart_kpi_project k JOIN mart_dim_project p USING (hk_project) ORDER BY p.project_name, month_end LIMIT 1"), "(unknown)|2026-02-28|-100.00|0.00|1.000000"; have != want {
		t.Errorf("project is %s, want %s", have, want)
	}
	if have := r.rows("SELECT rut FROM mart_dim_partner WHERE partner_id = 7"); !strings.HasPrefix(have, "rut_") {
		t.Errorf("rut is %q, want a token", have)
	}
	if published := s.facts(events.TypeWarehousePublished); len(published) != 1 {
		t.Errorf("%d warehouse.published, want 1", len(published))
	}

	s.announce("invoice", invoiceHeader+"1,,7,out_invoice,2026-02-01,2026-03-01,500.25,0,0,CLP,posted,2026-02-05T10:00:00Z\n2,,7,out_refund,2026-02-02,,100.00,,,CLP,cancel,2026-02-05T10:00:00Z\n")
	once("1 files")
	r.exec("UPDATE invoice SET project_id = NULL, amount_total = 500.25, amount_tax = 0 WHERE invoice_id = 1; UPDATE invoice SET state = 'cancel' WHERE invoice_id = 2")
	if have, want := r.rows(salesAtTheReaders), r.rows(salesAtTheSource); have != want || strings.Count(have, "\n") != 1 {
		t.Errorf("after a change readers see\n%s\nthe source has\n%s", have, want)
	}
	once("0 files in 0 transactions")
	if published := s.facts(events.TypeWarehousePublished); len(published) != 2 {
		t.Errorf("%d warehouse.published, want 2: a run that loads nothing publishes nothing", len(published))
	}
}

func TestReadersSeeTheMartsWhileTheyAreReplaced(t *testing.T) {
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	s.announce("invoice", good)
	p := chassistest.Start(t, append(env, "NATS_URL="+url, "OFITEC_ANALYTICS_DSN="+r.dsn, "OFITEC_ANALYTICS_VERIFY_EVERY=1us")...)
	p.Await(t, "/readyz", 200)
	await := func(sql, want string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for r.rows(sql) != want {
			if time.Now().After(deadline) {
				t.Fatalf("%s is %s, want %s", sql, r.rows(sql), want)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	await("SELECT to_regclass('mart_fact_sales') IS NOT NULL", "t")
	reader := r.connect()
	defer reader.Close(context.Background())
	tx, err := reader.Begin(t.Context()) // a dashboard that reads for long
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	var before, during int
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM mart_fact_sales").Scan(&before); err != nil {
		t.Fatal(err)
	}
	s.announce("invoice", invoiceHeader+"9,,7,out_invoice,2026-02-01,2026-03-01,500.25,0,0,CLP,posted,2026-02-05T10:00:00Z\n")
	await("SELECT count(*) FROM mart_fact_sales", strconv.Itoa(before+1))
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM mart_fact_sales").Scan(&during); err != nil || during < before {
		t.Errorf("a reader saw %d rows, then %d: %v", before, during, err)
	}
	// What somebody else has changed is found although the delta has nothing to do with it.
	r.exec("UPDATE mart_fact_sales SET amount_total = 1 WHERE invoice_id = 1")
	s.announce("partner", partners)
	await("SELECT amount_total FROM mart_fact_sales WHERE invoice_id = 1", "1190.50")
	if _, body := p.Get("/metrics"); !strings.Contains(body, `ofitec_etl_transform_altered_marts_total{mart="mart_fact_sales"} 1`) {
		t.Error("the metric does not tell of it")
	}
}
