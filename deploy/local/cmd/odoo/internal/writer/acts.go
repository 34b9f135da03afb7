package writer

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/company"
)

// act is one thing that people do in Odoo, in one transaction. An act that finds nothing to do does nothing.
type act struct {
	name   string
	weight int
	do     func(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error
}

// acts and how often each happens, against the sum of all.
var acts = []act{
	{"costs", 20, addCosts},
	{"progress", 12, addProgress},
	{"customer_invoice", 10, addCustomerInvoice},
	{"supplier_invoice", 14, addSupplierInvoice},
	{"receipt", 10, addReceipt},
	{"allocation", 8, addAllocation},
	{"credit_note", 4, addCreditNote},
	{"supplier_payment", 8, addSupplierPayment},
	{"move_invoice", 4, moveInvoice},
	{"touch", 10, touch},
	{"archive", 2, archive},
	{"change_order", 3, changeOrder},
	{"contact", 4, changeContact},
	{"unlink", 4, unlink},
	{"rates", 3, addRates},
	{"balance", 2, addBalances},
	{"cashflow", 4, shiftCashflow},
	{"cancel", 2, cancelInvoice},
}

// Kinds names all kinds of transactions, as the observer hears them.
func Kinds() []string {
	kinds := []string{longKind}
	for _, a := range acts {
		kinds = append(kinds, a.name)
	}
	return kinds
}

func draw(dice *rand.Rand) act {
	sum := 0
	for _, a := range acts {
		sum += a.weight
	}
	n := dice.IntN(sum)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	return acts[0]
}

// today is the company's day, in Santiago. anOpenProject and so on pick one row at random.
const (
	today         = "(now() AT TIME ZONE 'America/Santiago')::date"
	anOpenProject = "(SELECT project_id FROM project WHERE state = 'open' ORDER BY random() LIMIT 1)"
	aSupplier     = "(SELECT partner_id FROM partner WHERE is_supplier AND active ORDER BY random() LIMIT 1)"
)

func run(ctx context.Context, tx pgx.Tx, what, sql string, args ...any) error {
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// addCosts books a delivery: what was committed and what was spent, several lines with one write_date.
func addCosts(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	categories := company.CostCategories()
	return run(ctx, tx, "book costs", `INSERT INTO cost_line (project_id, cost_category, date, amount, kind, write_date)
		SELECT p.project_id, $1, `+today+`, round(($2::bigint * (1 + n))::numeric / 100) * 100, CASE WHEN n = 0 THEN 'committed' ELSE 'actual' END, now()
		FROM (SELECT project_id FROM project WHERE state = 'open' ORDER BY random() LIMIT 1) p, generate_series(0, $3::int) n`,
		categories[dice.IntN(len(categories))], 40_000+dice.Int64N(2_000_000), 1+dice.IntN(3))
}

// addProgress reports from a site: at most what is left to do.
func addProgress(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "report progress", `INSERT INTO site_progress (project_id, date, physical_percent, planned_percent, write_date)
		SELECT s.project_id, `+today+`, least(100, physical_percent + $1::bigint::numeric / 1000), least(100, planned_percent + $2::bigint::numeric / 1000), now()
		FROM site_progress s WHERE s.project_id = `+anOpenProject+` ORDER BY date DESC, progress_id DESC LIMIT 1`,
		dice.Int64N(400), dice.Int64N(400))
}

func addCustomerInvoice(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "invoice client", `INSERT INTO invoice (project_id, partner_id, move_type, date, due_date, amount_total, amount_tax, retention_amount, currency, state, write_date)
		SELECT project_id, partner_id, 'out_invoice', `+today+`, `+today+` + 30, n + round(n * 19 / 100), round(n * 19 / 100), round(n * 5 / 100), 'CLP', $2, now()
		FROM (SELECT project_id, partner_id, $1::bigint::numeric AS n FROM project WHERE project_id = `+anOpenProject+`) p`,
		1_000_000+dice.Int64N(60_000_000), either(dice, 4, "draft", "posted"))
}

func addSupplierInvoice(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "book supplier invoice", `INSERT INTO invoice (project_id, partner_id, move_type, date, due_date, amount_total, amount_tax, currency, state, write_date)
		SELECT CASE WHEN $2 THEN NULL ELSE `+anOpenProject+` END, `+aSupplier+`, 'in_invoice', `+today+`, `+today+` + 30, n + round(n * 19 / 100), round(n * 19 / 100), 'CLP', $3, now()
		FROM (SELECT $1::bigint::numeric AS n) a`,
		80_000+dice.Int64N(9_000_000), dice.IntN(6) == 0, either(dice, 5, "draft", "posted"))
}

// addReceipt books money from a client without saying what for; addAllocation says it later.
func addReceipt(ctx context.Context, tx pgx.Tx, _ *rand.Rand) error {
	return run(ctx, tx, "book receipt", `INSERT INTO payment (partner_id, date, amount, currency, direction, kind, account, state, write_date)
		SELECT partner_id, `+today+`, amount_total - retention_amount, currency, 'inbound', 'customer', $1, 'posted', now()
		FROM invoice i WHERE move_type = 'out_invoice' AND state = 'posted' AND currency = 'CLP'
		AND NOT EXISTS (SELECT FROM payment_allocation a WHERE a.invoice_id = i.invoice_id) ORDER BY random() LIMIT 1`, company.AccountMain)
}

func addAllocation(ctx context.Context, tx pgx.Tx, _ *rand.Rand) error {
	return run(ctx, tx, "allocate receipt", `INSERT INTO payment_allocation (payment_id, invoice_id, amount, date, write_date)
		SELECT p.payment_id, i.invoice_id, least(p.amount, i.amount_total - i.retention_amount), p.date, now()
		FROM payment p JOIN invoice i ON i.partner_id = p.partner_id AND i.move_type = 'out_invoice' AND i.state = 'posted' AND i.currency = p.currency AND i.date <= p.date
		WHERE p.kind = 'customer' AND p.state = 'posted' AND NOT EXISTS (SELECT FROM payment_allocation a WHERE a.payment_id = p.payment_id)
		AND NOT EXISTS (SELECT FROM payment_allocation a WHERE a.invoice_id = i.invoice_id) ORDER BY p.date, random() LIMIT 1`)
}

// addCreditNote takes back a part of an invoice and settles it against that invoice, in one transaction.
func addCreditNote(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "credit client", `WITH credited AS (
			SELECT invoice_id, project_id, partner_id, currency, round(amount_total * $1::int / 100) AS total, round(amount_tax * $1::int / 100) AS tax
			FROM invoice WHERE move_type = 'out_invoice' AND state = 'posted' AND currency = 'CLP' ORDER BY random() LIMIT 1),
		note AS (
			INSERT INTO invoice (project_id, partner_id, move_type, date, due_date, amount_total, amount_tax, currency, state, write_date)
			SELECT project_id, partner_id, 'out_refund', `+today+`, `+today+`, total, tax, currency, 'posted', now() FROM credited RETURNING invoice_id)
		INSERT INTO payment_allocation (invoice_id, credit_note_id, amount, date, write_date)
		SELECT c.invoice_id, n.invoice_id, c.total, `+today+`, now() FROM credited c, note n`, 2+dice.IntN(10))
}

// addSupplierPayment pays an open supplier invoice; the project's cash flow moves in the same transaction.
func addSupplierPayment(ctx context.Context, tx pgx.Tx, _ *rand.Rand) error {
	return run(ctx, tx, "pay supplier", `WITH due AS (
			SELECT invoice_id, project_id, partner_id, amount_total, currency FROM invoice i WHERE move_type = 'in_invoice' AND state = 'posted'
			AND NOT EXISTS (SELECT FROM payment_allocation a WHERE a.invoice_id = i.invoice_id) ORDER BY random() LIMIT 1),
		paid AS (
			INSERT INTO payment (partner_id, date, amount, currency, direction, kind, account, state, write_date)
			SELECT partner_id, `+today+`, amount_total, currency, 'outbound', 'supplier', $1, 'posted', now() FROM due RETURNING payment_id),
		flow AS (
			INSERT INTO cashflow_line (project_id, category, date, status, amount, write_date)
			SELECT project_id, 'outflow_materials', `+today+`, 'actual', amount_total, now() FROM due WHERE project_id IS NOT NULL)
		INSERT INTO payment_allocation (payment_id, invoice_id, amount, date, write_date)
		SELECT payment_id, invoice_id, amount_total, `+today+`, now() FROM due, paid`, company.AccountPayments)
}

func either(dice *rand.Rand, n int, seldom, often string) string {
	if dice.IntN(n) == 0 {
		return seldom
	}
	return often
}
