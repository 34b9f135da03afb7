package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Delta is what has changed in a mart since a load that readers have seen.
type Delta struct {
	Since int64
	Grain []string
	// Keys gives the grain of the rows that have changed, Rows those of them that there are now, both in the text format of COPY.
	Keys, Rows func(ctx context.Context, out io.Writer) error
}

// Tables that are there within a transaction only: the publisher may make no temporary ones.
const (
	workKeys = "etl_work_keys"
	workRows = "etl_work_rows"
)

// errElse says that what readers have is not what the delta was made for.
var errElse = errors.New("what readers have is not what the delta was made for")

// change applies a delta, and proves by the digest that the table is what the warehouse has: that of before, less the rows that went, plus those that came. It returns errElse, and has
// changed nothing, when that is not so.
func change(ctx context.Context, conn *pgx.Conn, m Mart, before, after string) error {
	known, sound := parseTally(before)
	if !sound {
		return errElse
	}
	if _, err := conn.Exec(ctx, "SAVEPOINT delta"); err != nil {
		return fmt.Errorf("begin delta: %w", err)
	}
	end := "RELEASE SAVEPOINT delta"
	applied := known.apply(ctx, conn, m, after)
	if applied != nil {
		end = "ROLLBACK TO SAVEPOINT delta"
	}
	if _, err := conn.Exec(ctx, end); err != nil {
		return errors.Join(applied, fmt.Errorf("end delta: %w", err))
	}
	return applied
}

func (t tally) apply(ctx context.Context, conn *pgx.Conn, m Mart, after string) error {
	table := pgx.Identifier{m.Name}.Sanitize()
	var columns, all, same []string
	var keys []Column
	for _, c := range m.Columns {
		all = append(all, pgx.Identifier{c.Name}.Sanitize())
	}
	for _, name := range m.Delta.Grain {
		for _, c := range m.Columns {
			if c.Name == name {
				quoted := pgx.Identifier{name}.Sanitize()
				columns, keys, same = append(columns, quoted), append(keys, c), append(same, fmt.Sprintf("m.%[1]s = k.%[1]s", quoted))
			}
		}
	}
	prepare := fmt.Sprintf("CREATE UNLOGGED TABLE %s (%s); CREATE UNLOGGED TABLE %s (%s)", workKeys, definition(keys), workRows, definition(m.Columns))
	if _, err := conn.PgConn().Exec(ctx, prepare).ReadAll(); err != nil {
		return fmt.Errorf("make working tables: %w", err)
	}
	if _, err := copyIn(ctx, conn, workKeys, columns, "", m.Delta.Keys); err != nil {
		return err
	}
	if _, err := copyIn(ctx, conn, workRows, all, "", m.Delta.Rows); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "ANALYZE "+workKeys); err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	gone, known := sums(m.Columns, "gone")
	come, _ := sums(m.Columns, workRows)
	if !known {
		return errElse
	}
	went, err := ask(ctx, conn, fmt.Sprintf("WITH gone AS (DELETE FROM %s AS m USING %s AS k WHERE %s RETURNING m.*) %s", table, workKeys, strings.Join(same, " AND "), gone))
	if err != nil {
		return fmt.Errorf("take rows away: %w", err)
	}
	came, err := ask(ctx, conn, come)
	if err != nil {
		return fmt.Errorf("count rows: %w", err)
	}
	if now := t.plus(went, -1).plus(came, 1).String(); now != after {
		return fmt.Errorf("%w: digest would be %s, the warehouse has %s", errElse, now, after)
	}
	_, err = conn.PgConn().Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %[2]s FROM %s; DROP TABLE %[3]s, %s", table, strings.Join(all, ", "), workRows, workKeys)).ReadAll()
	if err != nil {
		return fmt.Errorf("bring rows: %w", err)
	}
	return nil
}

// settling is a mart that was replaced as a whole, and its digest at the warehouse.
type settling struct {
	Mart
	digest string
}

// settle looks at the mart after readers have it: its digest must be the warehouse's, and its grain gets an index, by which the next delta finds its rows. Neither keeps readers waiting.
func (m settling) settle(ctx context.Context, conn *pgx.Conn) error {
	table := pgx.Identifier{m.Name}.Sanitize()
	if query, known := sums(m.Columns, table); known {
		have, err := ask(ctx, conn, query)
		if err != nil {
			return fmt.Errorf("verify %s: %w", m.Name, err)
		}
		if have.String() != m.digest {
			// Whoever publishes next replaces it again, unless somebody has done so meanwhile: then readers have what that one wrote.
			cleared, err := conn.Exec(ctx, "UPDATE etl_published_mart SET digest = '' WHERE mart = $1 AND digest = $2", m.Name, m.digest)
			if err == nil && cleared.RowsAffected() == 0 {
				return nil
			}
			return errors.Join(fmt.Errorf("verify %s: readers have digest %s, the warehouse %s", m.Name, have, m.digest), err)
		}
	}
	if len(m.Grain) == 0 {
		return nil
	}
	names := make([]string, len(m.Grain))
	for i, name := range m.Grain {
		names[i] = pgx.Identifier{name}.Sanitize()
	}
	index := pgx.Identifier{m.Name + "_grain"}.Sanitize()
	// Not CONCURRENTLY: that waits for whoever reads, and nobody else writes.
	if _, err := conn.PgConn().Exec(ctx, fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s); ANALYZE %[2]s", index, table, strings.Join(names, ", "))).ReadAll(); err != nil {
		return fmt.Errorf("index %s: %w", m.Name, err)
	}
	return nil
}
