package warehouse

import (
	"context"
	"database/sql"
	"fmt"
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

// changedBy is the TEMP table of the rows that a mart has lost and won in this load.
func changedBy(mart string) string { return "changed_" + mart }

// reach is how far a refresh goes: the whole mart, or the keys that queries find.
type reach struct {
	whole bool
	keys  []string
}

// due says whether a mart must be refreshed, and how far. It is made as a whole when it was never filled or was held back, when something has changed that it does not know
// the keys of, and when it runs up to now and the day is another one.
func due(m models.Mart, o occasion, changed map[string]change, s martState) (due bool, r reach) {
	due = s.load == 0 && !s.blocked
	r.whole = m.Key == "" || s.load == 0 || s.blocked
	if o.day && (m.Key == "" || strings.Contains(m.SQL, "etl_batch")) {
		due, r.whole = true, true
	}
	for _, read := range m.Reads {
		if !o.touched[read] && changed[read] == none {
			continue
		}
		due = true
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
	return due, r
}

// compute makes the candidate: keys first, then the part of each table that they need, then the rows.
func (m narrowed) compute(ctx context.Context, tx *sql.Tx, r reach) error {
	if r.whole {
		return run(ctx, tx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT * FROM (%s) AS m", candidate, m.SQL))
	}
	key := canon.Quote(m.Key)
	statements := []string{fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT k AS %s FROM (%s) AS f(k) WHERE k IS NOT NULL", scope, key, strings.Join(r.keys, " UNION "))}
	parts := []string{fmt.Sprintf("scope AS (SELECT %s FROM %s)", key, scope)}
	for _, narrow := range m.Narrow {
		among := narrow.Among
		if among == "" {
			among = "SELECT " + key + " FROM scope"
		}
		// Not kept: a copy of all columns costs more than reading the few that are needed twice.
		parts = append(parts, fmt.Sprintf("%s AS NOT MATERIALIZED (SELECT t.* FROM main.%[1]s AS t WHERE %s IN (%s))", canon.Quote(narrow.Table), narrow.By, among))
	}
	// A name of a table that has a part of it before it means that part.
	statements = append(statements, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS WITH %s SELECT m.* FROM (%s) AS m WHERE m.%s IN (SELECT %[4]s FROM %[5]s)", candidate, strings.Join(parts, ", "), m.SQL, key, scope))
	return run(ctx, tx, statements...)
}

// narrowed is a mart that is computed in part.
type narrowed struct{ models.Mart }

// only is true for the rows that are computed anew.
func (r reach) only(m models.Mart) string {
	if r.whole {
		return "true"
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
	rows, err := number(ctx, tx, "SELECT count(*) FROM "+changedBy(m.Name))
	if err != nil || rows == 0 {
		return none, err
	}
	return some, nil
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
