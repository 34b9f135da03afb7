package vault

import (
	"fmt"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Recall has the touched keys' observations, those of the delta too, and what was said of them.
func (p Plan) Recall() []string {
	if !p.Kept {
		return nil
	}
	key := p.Vault.Key
	return []string{
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE work_said AS SELECT r.* FROM %[1]s AS r SEMI JOIN %[2]s AS t ON t.%[3]s = r.%[3]s", p.Tracking(), Touched, key),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE work_history AS SELECT s.rowid AS _at, s.* FROM %s AS s SEMI JOIN %s AS t ON t.%[3]s = s.%[3]s WHERE %[4]s", p.Stage(), Touched, key, p.near()),
	}
}

// Tell makes a TEMP table of the touched keys with their business keys, for what is computed from the vault. A key of which nothing was ever observed has none. After First it is a view: all
// rows are touched, and what is made as a whole asks for none.
func (p Plan) Tell(table string, first bool) string {
	business, one := make([]string, len(p.Vault.BusinessKey)), make([]string, len(p.Vault.BusinessKey))
	for i, column := range p.Vault.BusinessKey {
		business[i] = canon.Quote(column)
		one[i] = fmt.Sprintf("any_value(%s) AS %[1]s", business[i]) // texts of one key may differ in case
	}
	list := strings.Join(business, ", ")
	switch {
	case first:
		return fmt.Sprintf("CREATE OR REPLACE TEMP VIEW %s AS SELECT %s, %s FROM %s", table, p.Vault.Key, list, p.rows())
	case !p.Kept:
		return fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS FROM %s", table, Touched)
	}
	return fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT t.%s, %s FROM %s AS t LEFT JOIN (SELECT %[2]s, %[5]s FROM work_history GROUP BY %[2]s) AS h ON h.%[2]s = t.%[2]s", table, p.Vault.Key, list, Touched, strings.Join(one, ", "))
}

// Grow adds the delta's new keys and pairs to hubs and links: sets that only grow. A hub also has the keys that other datasets name; a link has the pairs of this dataset's observations alone,
// so that those of the touched keys tell which are new, and its table need not be read.
func (p Plan) Grow(load int64) []string {
	if !p.Kept {
		return nil
	}
	from := fmt.Sprintf("%s AS r JOIN %s AS d ON d._n = r._n", p.rows(), fresh)
	add := func(table, among, key, columns, where string) string {
		return fmt.Sprintf("INSERT INTO %s BY NAME SELECT n.*, %d AS load FROM (SELECT DISTINCT %s FROM %s WHERE %s) AS n ANTI JOIN %s AS h ON h.%[7]s = n.%[7]s", table, load, columns, from, where, among, key)
	}
	business := make([]string, len(p.Vault.BusinessKey))
	for i, column := range p.Vault.BusinessKey {
		business[i] = "r." + canon.Quote(column)
	}
	hub := fmt.Sprintf("(SELECT * FROM %s AS s WHERE %s)", p.Vault.Hub, p.near())
	statements := []string{add(p.Vault.Hub, hub, p.Vault.Key, "r."+p.Vault.Key+", "+strings.Join(business, ", "), "true")}
	for i, link := range p.Vault.Links {
		column, other := "r."+canon.Quote(link.Column), p.hubs[i]
		before := fmt.Sprintf("(SELECT %s AS %s FROM work_history AS s WHERE s.load <> %d)", p.linkKey("s.", link), link.LinkKey, load)
		statements = append(statements,
			add(other.table, other.table, other.key, fmt.Sprintf("r._other%d AS %s, %s AS %s", i, other.key, column, canon.Quote(other.businessKey)), column+" IS NOT NULL"),
			add(link.Table, before, link.LinkKey, fmt.Sprintf("r._link%d AS %s, r._other%[1]d AS %[3]s, r.%[4]s", i, link.LinkKey, link.Key, p.Vault.Key), column+" IS NOT NULL"))
	}
	return statements
}

// Derive makes the touched keys' versions and periods anew from their observations.
//
// Observations stand in order of cursor (none first) and, at one cursor, of payload hash; one whose payload is that of the one before it is no version. An assertion comes behind
// all observations that are older than it, by asof, and before all others. A key is deleted when an absence is newer than all observations and assertions; it has no current version
// when a row that could not be read is: an older version never stands in for it.
func (p Plan) Derive(load int64) []string {
	if !p.Kept {
		return nil
	}
	key := p.Vault.Key
	statements := []string{
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT s.* FROM %s AS s SEMI JOIN %s AS t ON t.%[4]s = s.%[4]s WHERE %[5]s", former, p.Vault.Satellite, Touched, key, p.near()),
		fmt.Sprintf("DELETE FROM %[1]s AS s USING %[2]s AS t WHERE s.%[3]s = t.%[3]s AND %[4]s", p.Vault.Satellite, Touched, key, p.near()),
		// Most keys have one observation and nothing was said of them: they need no ordering, which is what costs.
		fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE work_single AS
SELECT c.%[1]s, c._at FROM (SELECT %[1]s, any_value(_at) AS _at FROM work_history GROUP BY %[1]s HAVING count(*) = 1 AND count(as_of) = 1) AS c ANTI JOIN work_said AS r ON r.%[1]s = c.%[1]s`, key),
		p.versions(),
		p.satellite(load),
		fmt.Sprintf("INSERT INTO %s BY NAME SELECT * FROM %s", p.Vault.Satellite, renewed),
	}
	for _, link := range p.Vault.Links {
		statements = append(statements, p.turn(link, load)...)
	}
	return statements
}

// turn replaces the periods of the keys whose periods are others than before. What they were follows from the versions as they were, so that the table, in which a key may stand anywhere, is
// not searched unless there is something to be taken out.
func (p Plan) turn(link models.Link, load int64) []string {
	key := p.Vault.Key
	return []string{
		"CREATE OR REPLACE TEMP TABLE work_periods_before AS " + p.periods(link, former),
		"CREATE OR REPLACE TEMP TABLE work_periods AS " + p.periods(link, renewed),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE work_turned AS SELECT DISTINCT %s FROM ((FROM work_periods_before EXCEPT ALL FROM work_periods) UNION ALL (FROM work_periods EXCEPT ALL FROM work_periods_before))", key),
		fmt.Sprintf("DELETE FROM %[1]s AS e USING (SELECT DISTINCT b.%[2]s FROM work_periods_before AS b SEMI JOIN work_turned AS t ON t.%[2]s = b.%[2]s) AS g WHERE e.%[2]s = g.%[2]s", link.Effectivity, key),
		fmt.Sprintf("INSERT INTO %[1]s BY NAME SELECT n.*, %[2]d AS load FROM work_periods AS n SEMI JOIN work_turned AS t ON t.%[3]s = n.%[3]s", link.Effectivity, load, key),
	}
}

// versions puts the touched keys' observations in order and drops repetitions. segment is the asof of the last assertion that an observation is not older than.
func (p Plan) versions() string {
	key, cursor := p.Vault.Key, p.cursor()
	return fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE work_versions AS
WITH asserted AS (SELECT * FROM work_said WHERE kind = '%[3]s'),
history AS (SELECT o.* FROM work_history AS o ANTI JOIN work_single AS n ON n.%[1]s = o.%[1]s),
segments AS (
	SELECT o._at, max(a.as_of) AS segment FROM history AS o JOIN asserted AS a ON a.%[1]s = o.%[1]s AND a.as_of <= o.as_of GROUP BY o._at
),
line AS (
	SELECT o._at, o.%[1]s, o.hashdiff, o.%[2]s, coalesce(g.segment, 0) AS segment, 1 AS place FROM history AS o LEFT JOIN segments AS g ON g._at = o._at WHERE o.as_of IS NOT NULL
	UNION ALL
	SELECT o._at, o.%[1]s, o.hashdiff, o.%[2]s, a.as_of, 0 FROM asserted AS a JOIN history AS o ON o.%[1]s = a.%[1]s AND o.hashdiff = a.hashdiff AND o.%[2]s IS NOT DISTINCT FROM a.%[2]s
),
changes AS (
	SELECT * FROM (SELECT *, lag(hashdiff) OVER w AS before FROM line WINDOW w AS (PARTITION BY %[1]s ORDER BY segment, place, %[2]s NULLS FIRST, hashdiff))
	WHERE before IS DISTINCT FROM hashdiff
)
SELECT _at, %[1]s, row_number() OVER w AS version, lead(%[2]s) OVER w AS valid_to, lead(_at) OVER w IS NULL AS is_current
FROM changes WINDOW w AS (PARTITION BY %[1]s ORDER BY segment, place, %[2]s NULLS FIRST, hashdiff)
UNION ALL
SELECT _at, %[1]s, 1, NULL, true FROM work_single`, key, cursor, KindAssert)
}

// Working tables of the satellite's rows of the touched keys.
const (
	former  = "work_satellite_before"
	renewed = "work_satellite"
)

// satellite makes the versions' rows. A deletion marks the last one.
func (p Plan) satellite(load int64) string {
	key := p.Vault.Key
	var links strings.Builder
	for _, link := range p.Vault.Links {
		fmt.Fprintf(&links, "%s AS %s, ", p.otherKey("s.", link), link.Key)
	}
	return fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE %[1]s AS
WITH said AS (
	SELECT %[2]s, max(as_of) FILTER (kind = '%[3]s') AS absent, max(as_of) FILTER (kind = '%[4]s') AS rejected FROM work_said GROUP BY %[2]s
),
present AS (
	SELECT %[2]s, max(as_of) AS as_of FROM (
		SELECT %[2]s, as_of FROM work_history UNION ALL SELECT %[2]s, as_of FROM work_said WHERE kind = '%[5]s'
	) GROUP BY %[2]s
),
fate AS (
	SELECT d.%[2]s, d.absent, coalesce(d.absent > coalesce(p.as_of, 0), false) AS deleted,
		coalesce(d.rejected > coalesce(p.as_of, 0) AND d.rejected >= coalesce(d.absent, 0), false) AS unknown
	FROM said AS d LEFT JOIN present AS p ON p.%[2]s = d.%[2]s
)
SELECT s.%[2]s, v.version::INTEGER AS version, %[6]s%[7]s, v.valid_to, v.is_current AND NOT coalesce(f.unknown, false) AS is_current,
	v.is_current AND coalesce(f.deleted AND NOT f.unknown, false) AS is_deleted, s.hashdiff, CASE WHEN v.is_current AND f.deleted AND NOT f.unknown THEN f.absent END AS deleted_as_of, %[8]d AS load
FROM work_versions AS v JOIN work_history AS s ON s._at = v._at LEFT JOIN fate AS f ON f.%[2]s = v.%[2]s`,
		renewed, key, KindAbsent, kindRejected, KindAssert, links.String(), p.columns("s."), load)
}

// periods are the runs of versions with the same other row; NULL and a deletion close one and open none.
func (p Plan) periods(link models.Link, of string) string {
	key, cursor := p.Vault.Key, p.cursor()
	return fmt.Sprintf(`WITH alone AS (SELECT %[2]s FROM %[1]s GROUP BY %[2]s HAVING count(*) = 1 AND bool_and(is_current AND NOT is_deleted)),
mine AS (SELECT s.* FROM %[1]s AS s ANTI JOIN alone AS n ON n.%[2]s = s.%[2]s),
single AS (SELECT s.* FROM %[1]s AS s SEMI JOIN alone AS n ON n.%[2]s = s.%[2]s),
starts AS (SELECT * FROM (SELECT *, lag(%[3]s) OVER w AS before FROM mine WINDOW w AS (PARTITION BY %[2]s ORDER BY version)) WHERE version = 1 OR before IS DISTINCT FROM %[3]s),
runs AS (SELECT *, lead(%[4]s) OVER w AS until, lead(version) OVER w IS NULL AS is_last FROM starts WINDOW w AS (PARTITION BY %[2]s ORDER BY version)),
dead AS (SELECT %[2]s FROM mine GROUP BY %[2]s HAVING bool_or(is_deleted) OR NOT bool_or(is_current))
SELECT %[5]s AS %[6]s, r.%[3]s, r.%[2]s, r.%[4]s AS valid_from, r.until AS valid_to, r.is_last AND d.%[2]s IS NULL AS is_current
FROM runs AS r LEFT JOIN dead AS d ON d.%[2]s = r.%[2]s WHERE r.%[3]s IS NOT NULL
UNION ALL
SELECT %[5]s AS %[6]s, r.%[3]s, r.%[2]s, r.%[4]s AS valid_from, NULL AS valid_to, true AS is_current FROM single AS r WHERE r.%[3]s IS NOT NULL`,
		of, key, link.Key, cursor, p.linkKey("r.", link), link.LinkKey)
}
