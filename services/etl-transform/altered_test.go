package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
)

func TestWhatSomebodyElseChangesAtTheReadersIsSaidAndReplaced(t *testing.T) {
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url, "OFITEC_ANALYTICS_DSN="+r.dsn)
	s.announce("project", projects)
	s.announce("partner", partners)
	s.announce("invoice", good)
	verify := func(want int) string {
		t.Helper()
		status, out, complaints := chassistest.Run(t, []string{"verify", "--analytics"}, env...)
		if status != want {
			t.Fatalf("verify --analytics ends with %d, want %d\n%s\n%s", status, want, out, complaints)
		}
		return out
	}
	run := func(want string, env ...string) {
		t.Helper()
		if status, out, complaints := chassistest.Run(t, []string{"--once"}, env...); status != 0 || !strings.Contains(out+complaints, want) {
			t.Fatalf("exit status %d, want 0 and %q\n%s\n%s", status, want, out, complaints)
		}
	}
	run(`"published"`, env...)
	before := r.rows("SELECT * FROM mart_fact_sales ORDER BY invoice_id") + r.rows("SELECT * FROM mart_dim_partner ORDER BY partner_id") + r.rows("SELECT * FROM mart_dim_project ORDER BY project_id")
	if out := verify(0); !strings.Contains(out, "readers have all") {
		t.Errorf("verify says %q of what nobody has changed", out)
	}
	// A row, one that is no more, one too many; a table without a column; a table that is gone.
	r.exec(`UPDATE mart_fact_sales SET amount_total = amount_total + 1 WHERE invoice_id = 1;
		DELETE FROM mart_dim_project WHERE project_id = 42; ALTER TABLE mart_dim_partner DROP COLUMN partner_name; DROP TABLE mart_kpi_company`)
	altered := []string{"mart_dim_partner", "mart_dim_project", "mart_fact_sales", "mart_kpi_company"}
	out := verify(1)
	for _, mart := range altered {
		if !strings.Contains(out, "CHANGED BY SOMEBODY ELSE: "+mart+": ") {
			t.Errorf("verify does not name %s:\n%s", mart, out)
		}
	}
	if strings.Count(out, "\n") != len(altered) {
		t.Errorf("verify names others, too:\n%s", out)
	}
	run("0 files", env...) // within the hour nobody looks
	if r.rows("SELECT amount_total FROM mart_fact_sales WHERE invoice_id = 1") != "1191.50" {
		t.Error("it was looked again although the time has not come")
	}
	run("somebody else has changed a published mart", append(env[:len(env):len(env)], "OFITEC_ANALYTICS_VERIFY_EVERY=1us")...)
	verify(0)
	if after := r.rows("SELECT * FROM mart_fact_sales ORDER BY invoice_id") + r.rows("SELECT * FROM mart_dim_partner ORDER BY partner_id") + r.rows("SELECT * FROM mart_dim_project ORDER BY project_id"); after != before {
		t.Errorf("readers have\n%s\nbefore they had\n%s", after, before)
	}
	published := s.facts(events.TypeWarehousePublished)
	if len(published) != 2 {
		t.Fatalf("%d warehouse.published, want 2", len(published))
	}
	told, _ := published[1].(events.WarehousePublished)
	if slices.Sort(told.Altered); !slices.Equal(told.Altered, altered) {
		t.Errorf("the event names %v, want %v", told.Altered, altered)
	}
	// The process that finds one dies before it has replaced it: what it has written of that stays.
	r.exec(`UPDATE mart_fact_sales SET amount_total = 1 WHERE invoice_id = 1; UPDATE etl_published_mart SET digest = '' WHERE mart = 'mart_fact_sales'`)
	if out := verify(1); !strings.HasPrefix(out, "CHANGED BY SOMEBODY ELSE: mart_fact_sales: it was found so before") || strings.Count(out, "\n") != 1 {
		t.Errorf("verify says %q of a mart that waits to be replaced", out)
	}
	run("0 files", env...)
	verify(0)
	if have := r.rows("SELECT amount_total FROM mart_fact_sales WHERE invoice_id = 1"); have != "1190.50" {
		t.Errorf("readers still have %s", have)
	}
	if published = s.facts(events.TypeWarehousePublished); len(published) != 3 {
		t.Fatalf("%d warehouse.published, want 3", len(published))
	}
	if told, _ = published[2].(events.WarehousePublished); !slices.Equal(told.Altered, []string{"mart_fact_sales"}) {
		t.Errorf("the event names %v", told.Altered)
	}
}
