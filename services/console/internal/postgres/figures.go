package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

// Figures reads the projects' KPIs by month, oldest first within a project. Amounts come as PostgreSQL writes them, so that no digit is lost on the way.
func Figures(ctx context.Context, dsnFile string, filter board.FigureFilter) ([]board.Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	conn, err := open(ctx, dsnFile)
	if err != nil {
		return nil, err
	}
	defer end(ctx, conn)
	from, to := bounds(filter)
	columns := make([]string, len(board.FigureColumns))
	for n, name := range board.FigureColumns {
		columns[n] = "k." + name + "::text"
	}
	rows, err := conn.Query(ctx, `SELECT p.project_id::bigint, p.project_name::text, k.month_end::date::text, coalesce(k.is_open, false), `+strings.Join(columns, ", ")+`
		FROM mart_kpi_project AS k JOIN mart_dim_project AS p USING (hk_project)
		WHERE ($1::bigint IS NULL OR p.project_id = $1) AND ($2::date IS NULL OR k.month_end >= $2) AND ($3::date IS NULL OR k.month_end < $3)
		ORDER BY p.project_id, k.month_end`, filter.Project, from, to)
	if err != nil {
		return nil, explainFigures(err)
	}
	figures, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (board.Figure, error) {
		var f board.Figure
		into := []any{&f.Project, &f.Name, &f.Month, &f.Open}
		for n := range f.Published {
			into = append(into, &f.Published[n])
		}
		return f, row.Scan(into...)
	})
	if err != nil {
		return nil, explainFigures(err)
	}
	return figures, nil
}

func explainFigures(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == undefinedTable {
		return errors.New("the marts of the KPIs are not published yet")
	}
	return fmt.Errorf("read the marts of the KPIs: %w", err)
}
