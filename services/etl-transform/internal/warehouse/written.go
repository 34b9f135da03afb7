package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
)

// writing counts what the statements of one load write to tables that stay. A row has the width that the engine keeps it in before it compresses: a text has 16 bytes, in which one of up
// to 12 lies itself. Ledger and outbox are not in it.
type writing struct {
	width map[string]int64 // by table
	sum   events.Volume
	took  map[string]float64 // seconds by the table that statements fill, working tables too
}

type writingKey struct{}

// counted gives a context in which run counts into what is returned.
func (w *Warehouse) counted(ctx context.Context, tx *sql.Tx) (context.Context, *writing, error) {
	c := &writing{width: map[string]int64{}, took: map[string]float64{}}
	found, err := tx.QueryContext(ctx, "SELECT table_name, data_type FROM duckdb_columns() WHERE schema_name = 'main' AND database_name = current_database()")
	if err != nil {
		return ctx, nil, fmt.Errorf("describe tables: %w", err)
	}
	defer found.Close()
	for found.Next() {
		var table, kind string
		if err := found.Scan(&table, &kind); err != nil {
			return ctx, nil, fmt.Errorf("describe tables: %w", err)
		}
		c.width[table] += widthOf(kind)
	}
	return context.WithValue(ctx, writingKey{}, c), c, found.Err()
}

func widthOf(kind string) int64 {
	switch {
	case kind == "BOOLEAN":
		return 1
	case kind == "DATE", kind == "INTEGER":
		return 4
	case kind == "BIGINT", kind == "UBIGINT", strings.HasPrefix(kind, "TIMESTAMP"), strings.HasPrefix(kind, "DECIMAL(18"):
		return 8
	}
	return 16
}

// fillings are what the name of the table that a statement fills stands behind.
var fillings = []string{"INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE OR REPLACE TEMP TABLE "}

// filled is the table that a statement fills; "" when it fills none.
func filled(statement string) string {
	for _, begin := range fillings {
		if rest, found := strings.CutPrefix(statement, begin); found {
			table, _, _ := strings.Cut(rest, " ")
			return table
		}
	}
	return ""
}

// count adds a statement's time, and its rows when it writes to a table that stays.
func count(ctx context.Context, statement string, began time.Time, done sql.Result) {
	c, counting := ctx.Value(writingKey{}).(*writing)
	if !counting {
		return
	}
	table := filled(statement)
	c.took[table] += time.Since(began).Seconds()
	width, stays := c.width[table]
	rows, err := done.RowsAffected()
	if !stays || err != nil || strings.HasPrefix(statement, "DELETE") {
		return
	}
	c.sum.Rows += rows
	c.sum.Bytes += rows * width
}
