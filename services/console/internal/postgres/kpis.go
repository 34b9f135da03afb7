package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

const companyMonths = `SELECT month_end::date::text, coalesce(is_open, false), revenue::text, direct_cost::text, gross_margin::text, backlog::text, wip::text, cash::text, days_of_cash::text,
		NULL::text, NULL::text, NULL::text
	FROM mart_kpi_company WHERE $1::bigint IS NULL AND ($2::date IS NULL OR month_end >= $2) AND ($3::date IS NULL OR month_end < $3) ORDER BY month_end`

const projectMonths = `SELECT k.month_end::date::text, coalesce(k.is_open, false), k.revenue::text, k.direct_cost::text, k.gross_margin::text, k.backlog::text, k.wip::text, NULL::text, NULL::text,
		w.pv::text, w.ev::text, w.ac::text
	FROM mart_kpi_project AS k JOIN mart_dim_project AS p USING (hk_project) LEFT JOIN mart_fact_wip AS w ON w.hk_project = k.hk_project AND w.date = k.month_end
	WHERE p.project_id = $1::bigint AND ($2::date IS NULL OR k.month_end >= $2) AND ($3::date IS NULL OR k.month_end < $3) ORDER BY k.month_end`

// Kpis reads the company's months, or those of the filter's project, with the projects there are, all of one instant: a publication in between is not seen by half.
func Kpis(ctx context.Context, dsnFile string, filter board.FigureFilter) (board.Kpis, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	conn, err := open(ctx, dsnFile)
	if err != nil {
		return board.Kpis{}, err
	}
	defer end(ctx, conn)
	var told board.Kpis
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		told, err = kpisOf(ctx, tx, filter)
		return err
	})
	if err != nil {
		return board.Kpis{}, explainFigures(err)
	}
	return told, nil
}

func kpisOf(ctx context.Context, tx pgx.Tx, filter board.FigureFilter) (board.Kpis, error) {
	told := board.Kpis{Projects: []board.Project{}, Months: []board.Kpi{}}
	query := companyMonths
	if filter.Project != nil {
		query = projectMonths
	}
	from, to := bounds(filter)
	rows, err := tx.Query(ctx, query, filter.Project, from, to)
	if err != nil {
		return told, err
	}
	told.Months, err = pgx.AppendRows(told.Months, rows, func(row pgx.CollectableRow) (board.Kpi, error) {
		var k board.Kpi
		err := row.Scan(&k.Month, &k.Open, &k.Revenue, &k.DirectCost, &k.Margin, &k.Backlog, &k.Wip, &k.Cash, &k.Days, &k.Planned, &k.Earned, &k.Actual)
		return k, err
	})
	if err != nil {
		return told, err
	}
	rows, err = tx.Query(ctx, `SELECT project_id::bigint, coalesce(project_name::text, '') FROM mart_dim_project ORDER BY project_id`)
	if err != nil {
		return told, err
	}
	told.Projects, err = pgx.AppendRows(told.Projects, rows, pgx.RowToStructByPos[board.Project])
	if err != nil {
		return told, err
	}
	if told.Publication, err = publication(ctx, tx); err != nil {
		return told, err
	}
	told.Held, err = held(ctx, tx)
	return told, err
}

// readable says whether a table is there that the reader may look at: those beside the marts came with later versions of whoever publishes.
func readable(ctx context.Context, tx pgx.Tx, table string) (bool, error) {
	var may bool
	err := tx.QueryRow(ctx, `SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)`, table).Scan(&may)
	return may, err
}

// held lists what checks have found in the marts, what holds back first.
func held(ctx context.Context, tx pgx.Tx) ([]board.Held, error) {
	list := []board.Held{}
	if may, err := readable(ctx, tx, "etl_held_back"); err != nil || !may {
		return list, err
	}
	rows, err := tx.Query(ctx, `SELECT mart, check_name, severity, failing, amount::text, blocks, reason FROM etl_held_back ORDER BY blocks DESC, severity, mart, check_name`)
	if err != nil {
		return list, err
	}
	return pgx.AppendRows(list, rows, pgx.RowToStructByPos[board.Held])
}

// publication is nil where the reader may not look at it.
func publication(ctx context.Context, tx pgx.Tx) (*board.Publication, error) {
	if may, err := readable(ctx, tx, "etl_publication"); err != nil || !may {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT load, published_at FROM etl_publication`)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[board.Publication])
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// bounds are what the filter's months mean to a query: from a day on, and before a day.
func bounds(filter board.FigureFilter) (from, before any) {
	if !filter.From.IsZero() {
		from = filter.From
	}
	if !filter.To.IsZero() {
		before = filter.To.AddDate(0, 1, 0)
	}
	return from, before
}
