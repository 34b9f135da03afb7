package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Working tables of one mart's refresh, TEMP all of them.
const (
	candidate = "work_mart"    // rows that were computed anew
	scope     = "work_scope"   // keys to be computed anew; there is none when the whole mart is
	standing  = "work_stand"   // rows that the mart has for them
	removed   = "work_removed" // rows that go, with their place in _at
	added     = "work_added"   // rows that come
	moved     = "work_moved"   // what changed rows add to groups of a mart of sums
)

// wholesale is the number of rows above which a mart that is computed as a whole is replaced without looking which rows differ.
const wholesale = 2_000_000

// occasion is why marts are refreshed.
type occasion struct {
	touched map[string]bool // datasets with touched keys
	day     bool            // the greatest asof has come into another day
	without map[string]bool // marts that could not be computed
}

// change is what a refresh has done to a mart.
type change int

const (
	none  change = iota
	some         // changedBy has the rows
	whole        // every row may be another
)

// lostBy and wonBy are its TEMP tables of them apart, when another mart sums it.
func lostBy(mart string) string { return "lost_" + mart }
func wonBy(mart string) string  { return "won_" + mart }

// changedBy is the TEMP table of the rows that a mart has lost and won in this load.
func changedBy(mart string) string { return "changed_" + mart }

// reach is how far a refresh goes: the whole mart, or the keys that queries find.
type reach struct {
	whole bool
	keys  []string
	sums  bool // nothing but what the mart sums has changed, by some rows
	// near is true when all keys have a number, from low to high, by which rows are looked for.
	near      bool
	low, high int64
}

// due says whether a mart must be refreshed, and how far. It is made as a whole when it was never filled or was held back, when something has changed that it does not know
// the keys of, and when it runs up to now and the day is another one.
func due(m models.Mart, o occasion, changed map[string]change, s martState) (due bool, r reach) {
	due = s.load == 0 && !s.blocked
	r.whole = m.Key == "" || s.load == 0 || s.blocked
	r.sums = m.Sums != ""
	if o.day && (m.Key == "" || strings.Contains(m.SQL, "etl_batch")) {
		due, r.whole = true, true
	}
	for _, read := range m.Reads {
		if !o.touched[read] && changed[read] == none {
			continue
		}
		due = true
		r.sums = r.sums && read == m.Sums && changed[read] == some
		found, known := m.RefreshOf(read)
		if !known || changed[read] == whole {
			r.whole = true
			continue
		}
		source := touchedBy(read)
		if changed[read] == some {
			source = changedBy(read)
		}
		r.keys = append(r.keys, fmt.Sprintf("SELECT * FROM (WITH touched AS (SELECT * FROM %s) %s)", source, found.Keys))
	}
	r.sums = r.sums && !r.whole
	return due, r
}

// narrowed is a mart that is computed in part.
type narrowed struct{ models.Mart }

// compute makes the candidate: keys first, then the part of each table that they need, then the rows. It tells r where the keys are.
func (m narrowed) compute(ctx context.Context, tx *sql.Tx, r *reach) error {
	if r.whole {
		return run(ctx, tx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT * FROM (%s) AS m", candidate, m.SQL))
	}
	if r.sums {
		return m.sum(ctx, tx)
	}
	if err := m.find(ctx, tx, r); err != nil {
		return err
	}
	key := canon.Quote(m.Key)
	parts := []string{fmt.Sprintf("scope AS (SELECT * FROM %s)", scope)}
	for _, narrow := range m.Narrow {
		among := narrow.Among
		if among == "" {
			among = "SELECT " + key + " FROM scope"
		}
		// Not kept: a copy of all columns costs more than reading the few that are needed twice.
		parts = append(parts, fmt.Sprintf("%s AS NOT MATERIALIZED (SELECT t.* FROM main.%[1]s AS t WHERE %s IN (%s))", canon.Quote(narrow.Table), narrow.By, among))
	}
	// A name of a table that has a part of it before it means that part.
	return run(ctx, tx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS WITH %s SELECT m.* FROM (%s) AS m WHERE %s", candidate, strings.Join(parts, ", "), m.SQL, r.only(m.Mart)))
}

// find makes the scope. The least and the greatest number are told to the engine as they are, so that it passes over what lies beside them without reading it.
func (m narrowed) find(ctx context.Context, tx *sql.Tx, r *reach) error {
	columns, given := "k AS "+canon.Quote(m.Key), "k"
	if m.Near != "" {
		columns, given = columns+", n AS "+canon.Quote(m.Near), "k, n"
	}
	err := run(ctx, tx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM (%s) AS f(%s) WHERE k IS NOT NULL", scope, columns, strings.Join(r.keys, " UNION "), given))
	if err != nil || m.Near == "" {
		return err
	}
	var low, high sql.NullInt64
	var without int64
	err = tx.QueryRowContext(ctx, fmt.Sprintf("SELECT min(%[1]s), max(%[1]s), count(*) - count(%[1]s) FROM %[2]s", canon.Quote(m.Near), scope)).Scan(&low, &high, &without)
	if err != nil {
		return fmt.Errorf("look where the keys of %s are: %w", m.Name, err)
	}
	r.near, r.low, r.high = without == 0, low.Int64, high.Int64
	return nil
}

// sum makes the candidate of a mart of sums: what its groups were, with what the rows that were won add to them, less what those that were lost had added.
func (m narrowed) sum(ctx context.Context, tx *sql.Tx) error {
	columns, err := columnsIn(ctx, tx, m.Name)
	if err != nil {
		return err
	}
	of := func(rows string) string {
		return fmt.Sprintf("SELECT * FROM (WITH %s AS (SELECT * FROM %s) SELECT * FROM (%s))", canon.Quote(m.Sums), rows, m.SQL)
	}
	var grain, all, negative []string
	for _, c := range columns {
		name := canon.Quote(c.Name)
		if slices.Contains(m.Grain, c.Name) {
			grain, all, negative = append(grain, name), append(all, name), append(negative, name)
			continue
		}
		all, negative = append(all, fmt.Sprintf("CAST(sum(%s) AS %s) AS %[1]s", name, c.Type)), append(negative, fmt.Sprintf("-%s AS %[1]s", name))
	}
	return run(ctx, tx,
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS %s UNION ALL BY NAME SELECT %s FROM (%s)", moved, of(wonBy(m.Sums)), strings.Join(negative, ", "), of(lostBy(m.Sums))),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT DISTINCT %s FROM %s", scope, canon.Quote(m.Key), moved),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM (SELECT * FROM %s WHERE %s UNION ALL BY NAME SELECT * FROM %s) GROUP BY %s HAVING sum(%s) <> 0",
			candidate, strings.Join(all, ", "), m.Name, reach{}.only(m.Mart), moved, strings.Join(grain, ", "), canon.Quote(m.Count)))
}

// only is true for the rows that are computed anew.
func (r reach) only(m models.Mart) string {
	switch {
	case r.whole:
		return "true"
	case r.near:
		return fmt.Sprintf("%s BETWEEN %d AND %d AND %[1]s IN (SELECT %[1]s FROM %[4]s)", canon.Quote(m.Near), r.low, r.high, scope)
	}
	return fmt.Sprintf("%s IN (SELECT %[1]s FROM %s)", canon.Quote(m.Key), scope)
}

// quarantined is true for the rows of the quarantine that are decided anew.
func (r reach) quarantined(m models.Mart) string {
	if r.whole {
		return "true"
	}
	return fmt.Sprintf("hk IN (SELECT %s FROM %s)", canon.Quote(m.Key), scope)
}

// apply makes the mart equal to the candidate where the refresh reaches, and leaves alone the rows that are so already.
func (w *Warehouse) apply(ctx context.Context, tx *sql.Tx, m models.Mart, r reach) (change, error) {
	columns, err := columnsIn(ctx, tx, m.Name)
	if err != nil {
		return none, err
	}
	before, err := number(ctx, tx, "SELECT count(*) FROM "+m.Name)
	if err != nil {
		return none, err
	}
	if r.whole && (before == 0 || before > wholesale) {
		return whole, run(ctx, tx, "DELETE FROM "+m.Name, fmt.Sprintf("INSERT INTO %s BY NAME SELECT * FROM %s", m.Name, candidate))
	}
	names, same := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i] = canon.Quote(c.Name)
		same[i] = fmt.Sprintf("a.%[1]s IS NOT DISTINCT FROM b.%[1]s", names[i])
	}
	list := strings.Join(names, ", ")
	differ := func(name, what, from, than string) string {
		return fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM %s AS a ANTI JOIN %s AS b ON %s", name, what, from, than, strings.Join(same, " AND "))
	}
	err = run(ctx, tx,
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT rowid AS _at, %s FROM %s WHERE %s", standing, list, m.Name, r.only(m)),
		differ(removed, "_at, "+list, standing, candidate), differ(added, list, candidate, standing))
	if err != nil {
		return none, err
	}
	// Rows that are there twice do not show in a comparison of sets.
	twice, err := number(ctx, tx, fmt.Sprintf("SELECT (SELECT count(*) FROM %s) - (SELECT count(*) FROM %s) + (SELECT count(*) FROM %s) - (SELECT count(*) FROM %s)", standing, removed, added, candidate))
	if err != nil {
		return none, err
	}
	if twice != 0 {
		err = run(ctx, tx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT * FROM %s", removed, standing), fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM %s", added, list, candidate))
		if err != nil {
			return none, err
		}
	}
	err = run(ctx, tx,
		fmt.Sprintf("DELETE FROM %s WHERE rowid IN (SELECT _at FROM %s)", m.Name, removed),
		fmt.Sprintf("INSERT INTO %s BY NAME SELECT * FROM %s", m.Name, added),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM %s UNION ALL SELECT %[2]s FROM %[4]s", changedBy(m.Name), list, removed, added))
	if err != nil {
		return none, err
	}
	if w.isSummed(m.Name) {
		err = run(ctx, tx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM %s", lostBy(m.Name), list, removed), fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM %s", wonBy(m.Name), list, added))
		if err != nil {
			return none, err
		}
	}
	rows, err := number(ctx, tx, "SELECT count(*) FROM "+changedBy(m.Name))
	if err != nil || rows == 0 {
		return none, err
	}
	return some, nil
}

// isSummed says whether a mart is what another one sums.
func (w *Warehouse) isSummed(mart string) bool {
	return slices.ContainsFunc(w.o.Models.Marts(), func(m models.Mart) bool { return m.Sums == mart })
}

// restated lists the months before the open one whose rows have changed.
func (w *Warehouse) restated(ctx context.Context, tx *sql.Tx, m models.Mart) ([]string, error) {
	if m.Period == "" {
		return nil, nil
	}
	found, err := tx.QueryContext(ctx, fmt.Sprintf(`SELECT DISTINCT strftime(%s, '%%Y-%%m') AS month FROM %s
WHERE %[1]s < (SELECT date_trunc('month', CAST(timezone('America/Santiago', timezone('UTC', max(asof_clock))) AS DATE)) FROM etl_batch) AND year(%[1]s) BETWEEN 1 AND 9999 ORDER BY month`, canon.Quote(m.Period), changedBy(m.Name)))
	if err != nil {
		return nil, fmt.Errorf("list restated months: %w", err)
	}
	defer found.Close()
	var months []string
	for found.Next() {
		var month string
		if err := found.Scan(&month); err != nil {
			return nil, fmt.Errorf("list restated months: %w", err)
		}
		months = append(months, month)
	}
	return months, found.Err()
}
