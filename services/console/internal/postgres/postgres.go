// Package postgres reads the published marts as the analytics reader, through the proxy of the region that takes writes.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

const (
	readWithin = 4 * time.Second
	keepMonths = 60
)

// ErrUnpublished says that the database is there and the mart is not yet.
var ErrUnpublished = errors.New("mart_kpi_company is not published yet")

// Months reads gross margin and cash by month with the connection that a file names. The file is read each time: it may come, and change, later.
func Months(ctx context.Context, dsnFile string) ([]board.Month, error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	conn, err := open(ctx, dsnFile)
	if err != nil {
		return nil, err
	}
	defer end(ctx, conn)
	rows, err := conn.Query(ctx, `SELECT month_end::date::text, revenue::float8, direct_cost::float8, gross_margin::float8, cash::float8
		FROM mart_kpi_company ORDER BY month_end DESC LIMIT $1`, keepMonths)
	if err != nil {
		return nil, explain(err)
	}
	months, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (board.Month, error) {
		var m board.Month
		err := row.Scan(&m.End, &m.Revenue, &m.DirectCost, &m.Margin, &m.Cash)
		return m, err
	})
	if err != nil {
		return nil, explain(err)
	}
	slices.Reverse(months)
	return months, nil
}

// open connects; the password is in no text that an error could show.
func open(ctx context.Context, dsnFile string) (*pgx.Conn, error) {
	content, err := os.ReadFile(dsnFile)
	if err != nil {
		return nil, fmt.Errorf("read the reader's connection: %w", err)
	}
	settings, err := pgx.ParseConfig(strings.TrimSpace(string(content)))
	if err != nil {
		return nil, fmt.Errorf("read the reader's connection: %s holds no connection string that PostgreSQL's clients know", dsnFile)
	}
	settings.RuntimeParams["application_name"] = "ofitec-console"
	settings.RuntimeParams["default_transaction_read_only"] = "on"
	conn, err := pgx.ConnectConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("connect to analytics: %w", err)
	}
	return conn, nil
}

func end(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the session ends either way
}

const undefinedTable = "42P01"

func explain(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == undefinedTable {
		return ErrUnpublished
	}
	return fmt.Errorf("read mart_kpi_company: %w", err)
}
