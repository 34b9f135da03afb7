package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

func TestOnlyWhatHasChangedIsPublishedAndAPublisherThatWasAwayCatchesUp(t *testing.T) {
	r := newReaders(t)
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	once := func(env []string, want string) {
		t.Helper()
		if status, out, complaints := chassistest.Run(t, []string{"--once"}, env...); status != 0 || !strings.Contains(out+complaints, want) {
			t.Fatalf("exit status %d, want 0 and %q\n%s\n%s", status, want, out, complaints)
		}
	}
	publishing := append(env[:len(env):len(env)], "OFITEC_ANALYTICS_DSN="+r.dsn)
	many := strings.Builder{}
	many.WriteString(invoiceHeader)
	for id := 1; id <= 400; id++ {
		fmt.Fprintf(&many, "%d,%d,7,out_invoice,2026-%02d-10,,%d.50,10.00,,CLP,posted,2026-02-01T10:00:00Z\n", id, 1+id%40, 1+id%6, 1000+id)
	}
	r.copyIn("invoice", "invoice_id bigint, project_id bigint, partner_id bigint, move_type text, date date, due_date date, amount_total numeric(18,2), amount_tax numeric(18,2), retention_amount numeric(18,2), currency text, state text, write_date timestamptz", many.String())
	same := func() {
		t.Helper()
		if have, want := r.rows(salesAtTheReaders), r.rows(salesAtTheSource); have != want {
			t.Errorf("readers see\n%s\nthe source has\n%s", have, want)
		}
	}
	s.announce("project", projects)
	s.announce("invoice", many.String())
	once(publishing, `"changed":null`)
	same()
	if have := r.rows("SELECT count(*) FROM pg_indexes WHERE indexname = 'mart_fact_sales_grain'"); have != "1" {
		t.Errorf("%s indexes of the grain, want 1", have)
	}
	// Two loads that nobody publishes: one document is changed, one cancelled, one comes, and it is changed again.
	first := r.rows("SELECT min(xmin::text) || max(xmin::text) FROM mart_fact_sales")
	s.announce("invoice", invoiceHeader+"5,9,7,out_invoice,2026-03-10,,77.00,1.00,,CLP,posted,2026-02-02T10:00:00Z\n6,7,7,out_invoice,2026-01-10,,1006.50,10.00,,CLP,cancel,2026-02-02T10:00:00Z\n401,9,7,out_invoice,2026-03-10,,5.00,1.00,,CLP,posted,2026-02-02T10:00:00Z\n")
	once(env, "1 files")
	s.announce("invoice", invoiceHeader+"401,9,7,out_refund,2026-03-11,,6.25,1.00,,CLP,posted,2026-02-03T10:00:00Z\n")
	once(env, "1 files")
	s.announce("partner", partners)
	once(publishing, `"mart_fact_sales"`)
	r.exec("UPDATE invoice SET project_id = 9, date = '2026-03-10', amount_total = 77, amount_tax = 1 WHERE invoice_id = 5; UPDATE invoice SET state = 'cancel' WHERE invoice_id = 6; INSERT INTO invoice VALUES (401, 9, 7, 'out_refund', '2026-03-11', NULL, 6.25, 1, NULL, 'CLP', 'posted', now())")
	same()
	if have := r.rows("SELECT count(*) FROM mart_fact_sales WHERE xmin::text || xmin::text <> '" + first + "'"); have != "2" {
		t.Errorf("%s rows of mart_fact_sales were written, want 2: the others are as they were", have)
	}
	// Somebody has changed a row behind our back: the digest says so, and the whole mart is replaced.
	r.exec("UPDATE mart_fact_sales SET amount_total = 1 WHERE invoice_id = 5")
	s.announce("invoice", invoiceHeader+"5,9,7,out_invoice,2026-03-10,,78.00,1.00,,CLP,posted,2026-02-04T10:00:00Z\n")
	once(publishing, `"replaced":["mart_fact_sales"]`)
	r.exec("UPDATE invoice SET amount_total = 78 WHERE invoice_id = 5")
	same()
}
