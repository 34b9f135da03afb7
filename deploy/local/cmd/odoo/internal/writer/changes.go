package writer

import (
	"context"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/company"
)

// moveInvoice books a document on another project, or on none.
func moveInvoice(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "move invoice", `UPDATE invoice SET project_id = CASE WHEN $1 THEN NULL ELSE `+anOpenProject+` END, write_date = now()
		WHERE invoice_id = (SELECT invoice_id FROM invoice WHERE state <> 'cancel' ORDER BY random() LIMIT 1)`, dice.IntN(6) == 0)
}

// touch writes rows without a change, as Odoo does when it stores a computed field again.
func touch(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	rows := []struct{ table, key string }{{"invoice", "invoice_id"}, {"project", "project_id"}, {"partner", "partner_id"}, {"payment", "payment_id"}}[dice.IntN(4)]
	return run(ctx, tx, "touch rows of "+rows.table, `UPDATE `+rows.table+` SET write_date = now()
		WHERE `+rows.key+` IN (SELECT `+rows.key+` FROM `+rows.table+` ORDER BY random() LIMIT $1)`, 1+dice.IntN(5))
}

// archive hides a partner or shows it again; the export does not show which.
func archive(ctx context.Context, tx pgx.Tx, _ *rand.Rand) error {
	return run(ctx, tx, "archive partner", `UPDATE partner SET active = NOT active, write_date = now()
		WHERE partner_id = (SELECT partner_id FROM partner WHERE is_supplier ORDER BY active, random() LIMIT 1)`)
}

// changeOrder changes a contract and the manager's estimate.
func changeOrder(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "change contract", `UPDATE project SET approved_changes = approved_changes + round(contract_amount * $1::int / 1000, CASE contract_currency WHEN 'CLP' THEN 0 ELSE 2 END),
		estimate_at_completion = round(coalesce(estimate_at_completion, budget_cost) * (1000 + $2::int) / 1000), write_date = now()
		WHERE project_id = `+anOpenProject, dice.IntN(25)-5, dice.IntN(12)-4)
}

// changeContact gives a contact another address, or moves it to another partner, or adds one.
func changeContact(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	contact := "(SELECT contact_id FROM partner_contact ORDER BY random() LIMIT 1)"
	switch dice.IntN(3) {
	case 0:
		return run(ctx, tx, "move contact", `UPDATE partner_contact SET partner_id = (SELECT partner_id FROM partner ORDER BY random() LIMIT 1), write_date = now() WHERE contact_id = `+contact)
	case 1:
		return run(ctx, tx, "change contact", `UPDATE partner_contact SET email = kind || $1::bigint || '@empresa.cl', write_date = now() WHERE contact_id = `+contact, dice.Int64N(1000))
	}
	return run(ctx, tx, "add contact", `INSERT INTO partner_contact (partner_id, kind, email, phone, write_date)
		SELECT partner_id, 'site', 'obra' || $1::bigint || '@empresa.cl', '+56 9 ' || (10000000 + $1::bigint), now() FROM partner ORDER BY random() LIMIT 1`, dice.Int64N(10_000))
}

// unlink deletes what people do delete; nothing in any export says so.
func unlink(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	switch dice.IntN(4) {
	case 0:
		return run(ctx, tx, "unlink draft", `DELETE FROM invoice WHERE invoice_id = (SELECT invoice_id FROM invoice WHERE state = 'draft' ORDER BY random() LIMIT 1)`)
	case 1:
		return run(ctx, tx, "unlink allocation", `DELETE FROM payment_allocation WHERE allocation_id = (SELECT allocation_id FROM payment_allocation WHERE payment_id IS NOT NULL ORDER BY random() LIMIT 1)`)
	case 2:
		return run(ctx, tx, "unlink contact", `DELETE FROM partner_contact WHERE contact_id = (SELECT contact_id FROM partner_contact ORDER BY random() LIMIT 1)`)
	}
	return run(ctx, tx, "unlink commitment", `DELETE FROM cost_line WHERE cost_line_id = (SELECT cost_line_id FROM cost_line WHERE kind = 'committed' ORDER BY random() LIMIT 1)`)
}

// addRates takes in the rates of the days since the last one; the dollar has none at weekends.
func addRates(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	return run(ctx, tx, "add rates", `INSERT INTO currency_rate (currency, date, rate, write_date)
		SELECT last.currency, d::date, round(last.rate * (1000000 + CASE last.currency WHEN 'UF' THEN 100 * (d::date - last.date) ELSE $1::int END) / 1000000, 2), now()
		FROM (SELECT DISTINCT ON (currency) currency, date, rate FROM currency_rate ORDER BY currency, date DESC) last,
			generate_series((last.date + 1)::timestamp, (`+today+`)::timestamp, '1 day') d
		WHERE last.currency = 'UF' OR extract(isodow FROM d) < 6
		ON CONFLICT (currency, date) DO NOTHING`, dice.IntN(12_000)-6_000)
}

// addBalances notes what is in the accounts today, from the last month's end on, or brings today's note up to date.
func addBalances(ctx context.Context, tx pgx.Tx, _ *rand.Rand) error {
	return run(ctx, tx, "note balances", `INSERT INTO cash_balance (account, date, balance, currency, write_date)
		SELECT b.account, `+today+`, b.balance + coalesce((SELECT sum(CASE direction WHEN 'inbound' THEN amount ELSE -amount END) FROM payment p
			WHERE p.account = b.account AND p.state = 'posted' AND p.date > b.date AND p.date <= `+today+`), 0), b.currency, now()
		FROM (SELECT DISTINCT ON (account) account, date, balance, currency FROM cash_balance WHERE date < `+today+` ORDER BY account, date DESC) b
		ON CONFLICT (account, date) DO UPDATE SET balance = excluded.balance, write_date = excluded.write_date`)
}

// shiftCashflow moves an expected payment, or plans a new one.
func shiftCashflow(ctx context.Context, tx pgx.Tx, dice *rand.Rand) error {
	if dice.IntN(2) == 0 {
		return run(ctx, tx, "shift cash flow", `UPDATE cashflow_line SET date = date + $1::int, write_date = now()
			WHERE line_id = (SELECT line_id FROM cashflow_line WHERE status = 'planned' AND date >= `+today+` ORDER BY random() LIMIT 1)`, 1+dice.IntN(20))
	}
	categories := company.CostCategories()
	return run(ctx, tx, "plan cash flow", `INSERT INTO cashflow_line (project_id, category, date, status, amount, write_date)
		SELECT project_id, 'outflow_' || $1::text, `+today+` + $2::int, 'planned', $3::bigint, now() FROM project WHERE project_id = `+anOpenProject,
		categories[dice.IntN(len(categories))], 5+dice.IntN(40), 100_000+dice.Int64N(4_000_000))
}

// cancelInvoice cancels a supplier's document that nobody paid.
func cancelInvoice(ctx context.Context, tx pgx.Tx, _ *rand.Rand) error {
	return run(ctx, tx, "cancel invoice", `UPDATE invoice SET state = 'cancel', write_date = now() WHERE invoice_id = (SELECT invoice_id FROM invoice i
		WHERE move_type = 'in_invoice' AND state <> 'cancel' AND NOT EXISTS (SELECT FROM payment_allocation a WHERE a.invoice_id = i.invoice_id) ORDER BY random() LIMIT 1)`)
}
