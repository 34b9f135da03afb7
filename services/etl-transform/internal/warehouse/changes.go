package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// etl_digest has a mart's digest as of a load, and etl_log_<mart> the grain of each row that was lost or won since the load that readers have; a row of it without a grain says
// that the whole mart was replaced.
const digests = `CREATE TABLE IF NOT EXISTS etl_digest (mart VARCHAR, load BIGINT, digest VARCHAR)`

func logOf(mart string) string { return "etl_log_" + mart }

func grainOf(m models.Mart, prefix string) string {
	names := make([]string, len(m.Grain))
	for i, name := range m.Grain {
		names[i] = prefix + canon.Quote(name)
	}
	return strings.Join(names, ", ")
}

// makeLog is for a mart that was never filled: one that is held back from the beginning has a log, too.
func makeLog(m models.Mart) string {
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s AS SELECT 0::BIGINT AS load, %s FROM %s LIMIT 0", logOf(m.Name), grainOf(m, ""), m.Name)
}

// note keeps what a refresh has changed for whoever publishes it, and carries the digest on.
func (w *Warehouse) note(ctx context.Context, tx *sql.Tx, m models.Mart, c change, before, load int64) error {
	log := logOf(m.Name)
	statements := []string{makeLog(m)}
	switch c {
	case none:
	case some:
		statements = append(statements, fmt.Sprintf("INSERT INTO %s SELECT DISTINCT %d, %s FROM %s", log, load, grainOf(m, ""), changedBy(m.Name)))
	case whole:
		statements = append(statements, "DELETE FROM "+log, fmt.Sprintf("INSERT INTO %s (load) VALUES (%d)", log, load))
	}
	if err := run(ctx, tx, statements...); err != nil {
		return err
	}
	// Nobody may ever publish from here: a log of more than the mart is worth nothing.
	long, err := number(ctx, tx, fmt.Sprintf("SELECT CASE WHEN (SELECT count(*) FROM %s) > (SELECT count(*) FROM %s) + 1000 THEN 1 ELSE 0 END", log, m.Name))
	if err != nil {
		return err
	}
	if long > 0 {
		if err := run(ctx, tx, "DELETE FROM "+log, fmt.Sprintf("INSERT INTO %s (load) VALUES (%d)", log, load)); err != nil {
			return err
		}
	}
	return carry(ctx, tx, m.Name, c, before, load)
}

// carry computes the digest of the changed mart from the one before and the rows that went and came, when the one before is known.
func carry(ctx context.Context, tx *sql.Tx, mart string, c change, before, load int64) error {
	known, err := keptDigest(ctx, tx, mart, before)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM etl_digest WHERE mart = ?", mart); err != nil {
		return fmt.Errorf("write digest: %w", err)
	}
	if known == "" || c == whole {
		return nil
	}
	if c == some {
		columns, err := columnsIn(ctx, tx, mart)
		if err != nil {
			return err
		}
		var sums [2][3]any
		for i, table := range []string{removed, added} {
			if err := tx.QueryRowContext(ctx, canon.DigestSQL(table, columns)).Scan(&sums[i][0], &sums[i][1], &sums[i][2]); err != nil {
				return fmt.Errorf("digest changes of mart %s: %w", mart, err)
			}
		}
		rows, sum := parseDigest(known)
		minus := func(n int) *big.Int { return new(big.Int).Sub(bigOf(sums[1][n]), bigOf(sums[0][n])) }
		known = canon.Digest(new(big.Int).Add(rows, minus(0)), minus(1), new(big.Int).Add(sum, minus(2)))
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO etl_digest VALUES (?, ?, ?)", mart, load, known); err != nil {
		return fmt.Errorf("write digest: %w", err)
	}
	return nil
}

func keptDigest(ctx context.Context, tx *sql.Tx, mart string, load int64) (string, error) {
	var digest string
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(digest), '') FROM etl_digest WHERE mart = ? AND load = ?", mart, load).Scan(&digest); err != nil {
		return "", fmt.Errorf("read digest of mart %s: %w", mart, err)
	}
	return digest, nil
}

// parseDigest reads what canon.Digest has written.
func parseDigest(digest string) (rows, sum *big.Int) {
	count, hex, _ := strings.Cut(digest, "-")
	rows, _ = new(big.Int).SetString(count, 10) // this program has written it
	sum, _ = new(big.Int).SetString(hex, 16)
	return rows, sum
}

// Changed says whether the log tells all that has changed in a mart since a load, and how many of its rows that are.
func (s *Snapshot) Changed(ctx context.Context, m *MartRows, since int64) (keys, rows int64, told bool, err error) {
	if since < s.forgotten {
		return 0, 0, false, nil
	}
	var missing int64
	conditions := make([]string, len(m.grain.Grain))
	for i, name := range m.grain.Grain {
		conditions[i] = canon.Quote(name) + " IS NULL"
	}
	err = s.tx.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*), count(*) FILTER (%s), (SELECT count(*) FROM %s) FROM %s WHERE load > %d", strings.Join(conditions, " OR "), m.Name, logOf(m.Name), since)).Scan(&keys, &missing, &rows)
	if err != nil {
		return 0, 0, false, fmt.Errorf("read changes of mart %s: %w", m.Name, err)
	}
	return keys, rows, missing == 0, nil
}

// WriteKeys gives the grain of the rows that have changed since a load, and WriteChanged those of them that there are now, in the format of Write.
func (s *Snapshot) WriteKeys(ctx context.Context, m *MartRows, since int64, out io.Writer) error {
	var columns []canon.Column
	for _, name := range m.grain.Grain {
		for _, c := range m.Columns {
			if c.Name == name {
				columns = append(columns, c)
			}
		}
	}
	return s.write(ctx, m.Name, columns, fmt.Sprintf("(SELECT DISTINCT %s FROM %s WHERE load > %d)", grainOf(m.grain, ""), logOf(m.Name), since), "", out)
}

// WriteChanged is described at WriteKeys.
func (s *Snapshot) WriteChanged(ctx context.Context, m *MartRows, since int64, out io.Writer) error {
	same := make([]string, len(m.grain.Grain))
	for i, name := range m.grain.Grain {
		same[i] = fmt.Sprintf("m.%[1]s = k.%[1]s", canon.Quote(name))
	}
	return s.write(ctx, m.Name, m.Columns, fmt.Sprintf("(SELECT m.* FROM %s AS m SEMI JOIN (SELECT * FROM %s WHERE load > %d) AS k ON %s)", m.Name, logOf(m.Name), since, strings.Join(same, " AND ")), "", out)
}
