package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

// A document is converted and rounded as the warehouse does it: to whole pesos, at the rate of its date.
const documentsOfMonth = `SELECT d.document_type AS kind, d.invoice_id::bigint AS number, d.date, c.partner_name::text AS about, d.sign * d.amount_untaxed AS amount, coalesce(d.currency, 'CLP') AS currency,
		d.sign * CASE WHEN coalesce(d.currency, 'CLP') = 'CLP' THEN d.amount_untaxed ELSE round(d.amount_untaxed * r.rate, 0) END AS counted
	FROM mart_fact_sales AS d LEFT JOIN mart_dim_partner AS c ON c.hk_partner = d.hk_partner LEFT JOIN mart_dim_rate AS r ON r.currency = d.currency AND r.date = d.date
	WHERE d.hk_project = (SELECT hk_project FROM mart_dim_project WHERE project_id = $1) AND d.date BETWEEN $2 AND $3
	UNION ALL SELECT 'cost', cost_line_id::bigint, date, cost_category, amount, 'CLP', amount
	FROM mart_fact_cost WHERE hk_project = (SELECT hk_project FROM mart_dim_project WHERE project_id = $1) AND date BETWEEN $2 AND $3 AND kind = 'actual'`

const projectsOfMonth = `SELECT p.project_id::bigint, coalesce(p.project_name::text, ''), k.revenue::text, k.direct_cost::text, k.gross_margin::text, k.backlog::text, k.wip::text
	FROM mart_kpi_project AS k JOIN mart_dim_project AS p USING (hk_project) WHERE k.month_end = $1 ORDER BY p.project_id`

// What the page tells of a closed month are the KPIs; a project's key is zero in those of the company.
const (
	closedFigures = `SELECT measure, trim_scale(as_reported)::text, trim_scale(as_restated)::text, trim_scale(difference)::text, as_reported IS DISTINCT FROM as_restated
	FROM mart_closed_figure AS f WHERE month_end = $1 AND mart = CASE WHEN $2::bigint IS NULL THEN 'mart_kpi_company' ELSE 'mart_kpi_project' END
		AND ($2::bigint IS NULL OR hk_project = (SELECT hk_project FROM mart_dim_project WHERE project_id = $2)) ORDER BY 5 DESC, measure`
	closedDocuments = `SELECT d.dataset, d.document_id, d.what, p.project_id::bigint, trim_scale(d.amount_reported)::text, trim_scale(d.amount_now)::text
	FROM mart_closed_document AS d LEFT JOIN mart_dim_project AS p USING (hk_project) WHERE d.month_end = $1 AND ($2::bigint IS NULL OR p.project_id = $2) ORDER BY dataset, document_id`
)

// Ledger reads what a month's figures are made of, all of one instant.
func Ledger(ctx context.Context, dsnFile string, filter board.LedgerFilter) (board.Ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	conn, err := open(ctx, dsnFile)
	if err != nil {
		return board.Ledger{}, err
	}
	defer end(ctx, conn)
	var told board.Ledger
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		told, err = ledgerOf(ctx, tx, filter)
		return err
	})
	if err != nil {
		return board.Ledger{}, explainFigures(err)
	}
	return told, nil
}

func ledgerOf(ctx context.Context, tx pgx.Tx, filter board.LedgerFilter) (board.Ledger, error) {
	last := filter.Month.AddDate(0, 1, -1)
	told := board.Ledger{Month: last.Format("2006-01-02"), Documents: []board.Document{}, Projects: []board.ProjectMonth{}}
	months, err := kpisOf(ctx, tx, board.FigureFilter{Project: filter.Project, From: filter.Month, To: filter.Month})
	if err != nil {
		return told, err
	}
	told.Published = months.Publication
	if len(months.Months) > 0 {
		told.Kpi = &months.Months[0]
	}
	if filter.Project == nil {
		told.Projects, err = list(ctx, tx, told.Projects, projectsOfMonth, last)
	} else {
		err = documents(ctx, tx, &told, filter)
	}
	if err != nil {
		return told, err
	}
	told.Closed, err = closed(ctx, tx, filter)
	return told, err
}

// list reads rows into structs, column by field.
func list[T any](ctx context.Context, tx pgx.Tx, into []T, query string, arguments ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, arguments...)
	if err != nil {
		return into, err
	}
	return pgx.AppendRows(into, rows, pgx.RowToStructByPos[T])
}

// documents reads those of a project's month, and what they add up to before the list is cut.
func documents(ctx context.Context, tx pgx.Tx, told *board.Ledger, filter board.LedgerFilter) error {
	last := filter.Month.AddDate(0, 1, -1)
	sums := `SELECT count(*), coalesce(sum(counted) FILTER (WHERE kind <> 'cost'), 0)::text, coalesce(sum(counted) FILTER (WHERE kind = 'cost'), 0)::text FROM (` + documentsOfMonth + `) AS d`
	if err := tx.QueryRow(ctx, sums, filter.Project, filter.Month, last).Scan(&told.All, &told.Revenue, &told.Cost); err != nil {
		return err
	}
	most := told.All
	if filter.Most > 0 {
		most = int64(filter.Most)
	}
	rows := `SELECT kind, number, date::text, about, amount::text, currency, counted::text FROM (` + documentsOfMonth + `) AS d ORDER BY d.date, kind, number LIMIT $4`
	var err error
	told.Documents, err = list(ctx, tx, told.Documents, rows, filter.Project, filter.Month, last, most)
	return err
}

// closed is nil for a month that nobody has closed.
func closed(ctx context.Context, tx pgx.Tx, filter board.LedgerFilter) (*board.Closed, error) {
	if may, err := readable(ctx, tx, "mart_closed_month"); err != nil || !may {
		return nil, err
	}
	last := filter.Month.AddDate(0, 1, -1)
	c := board.Closed{Figures: []board.Frozen{}, Documents: []board.Restated{}}
	rows, err := tx.Query(ctx, `SELECT closed_at, closed_by, reason FROM mart_closed_month WHERE month_end = $1`, last)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (board.Closed, error) {
		return c, row.Scan(&c.At, &c.By, &c.Reason)
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if c.Figures, err = list(ctx, tx, c.Figures, closedFigures, last, filter.Project); err != nil {
		return nil, err
	}
	c.Documents, err = list(ctx, tx, c.Documents, closedDocuments, last, filter.Project)
	return &c, err
}
