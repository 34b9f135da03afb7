package vault

import (
	"fmt"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Grow adds the delta's new keys and pairs to hubs and links: sets that only grow. A hub also has the keys that other datasets name.
func (p Plan) Grow(load int64) []string {
	if !p.Kept {
		return nil
	}
	from := fmt.Sprintf("%s AS r JOIN %s AS d ON d._n = r._n", p.rows(), fresh)
	add := func(table, key, columns, where string) string {
		return fmt.Sprintf("INSERT INTO %[1]s BY NAME SELECT n.*, %[2]d AS load FROM (SELECT DISTINCT %[3]s FROM %[4]s WHERE %[5]s) AS n ANTI JOIN %[1]s AS h ON h.%[6]s = n.%[6]s",
			table, load, columns, from, where, key)
	}
	business := make([]string, len(p.Vault.BusinessKey))
	for i, column := range p.Vault.BusinessKey {
		business[i] = "r." + canon.Quote(column)
	}
	statements := []string{add(p.Vault.Hub, p.Vault.Key, "r."+p.Vault.Key+", "+strings.Join(business, ", "), "true")}
	for i, link := range p.Vault.Links {
		column, other := "r."+canon.Quote(link.Column), p.hubs[i]
		statements = append(statements,
			add(other.table, other.key, fmt.Sprintf("r._other%d AS %s, %s AS %s", i, other.key, column, canon.Quote(other.businessKey)), column+" IS NOT NULL"),
			add(link.Table, link.LinkKey, fmt.Sprintf("r._link%d AS %s, r._other%[1]d AS %[3]s, r.%[4]s", i, link.LinkKey, link.Key, p.Vault.Key), column+" IS NOT NULL"))
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
	key, cursor := p.Vault.Key, p.cursor()
	statements := []string{
		fmt.Sprintf("DELETE FROM %[1]s AS s USING %[2]s AS t WHERE s.%[3]s = t.%[3]s", p.Vault.Satellite, Touched, key),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE work_said AS SELECT r.* FROM %[1]s AS r SEMI JOIN %[2]s AS t ON t.%[3]s = r.%[3]s", p.Tracking(), Touched, key),
		fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE work_history AS
SELECT s.rowid AS _at, s.%[1]s, s.hashdiff, s.%[2]s, s.as_of FROM %[3]s AS s SEMI JOIN %[4]s AS t ON t.%[1]s = s.%[1]s`, key, cursor, p.Stage(), Touched),
		// Most keys have one observation and nothing was said of them: they need no ordering, which is what costs.
		fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE work_single AS
SELECT c.%[1]s, c._at FROM (SELECT %[1]s, any_value(_at) AS _at FROM work_history GROUP BY %[1]s HAVING count(*) = 1 AND count(as_of) = 1) AS c ANTI JOIN work_said AS r ON r.%[1]s = c.%[1]s`, key),
		p.versions(),
		p.satellite(load),
	}
	for _, link := range p.Vault.Links {
		statements = append(statements,
			fmt.Sprintf("DELETE FROM %[1]s AS e USING %[2]s AS t WHERE e.%[3]s = t.%[3]s", link.Effectivity, Touched, key), p.periods(link, load))
	}
	return statements
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

// satellite writes the versions. A deletion marks the last one.
func (p Plan) satellite(load int64) string {
	key := p.Vault.Key
	var links strings.Builder
	for _, link := range p.Vault.Links {
		fmt.Fprintf(&links, "%s AS %s, ", p.otherKey("s.", link), link.Key)
	}
	return fmt.Sprintf(`INSERT INTO %[1]s BY NAME
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
FROM work_versions AS v JOIN %[9]s AS s ON s.rowid = v._at LEFT JOIN fate AS f ON f.%[2]s = v.%[2]s`,
		p.Vault.Satellite, key, KindAbsent, kindRejected, KindAssert, links.String(), p.columns("s."), load, p.Stage())
}

// periods are the runs of versions with the same other row; NULL and a deletion close one and open none.
func (p Plan) periods(link models.Link, load int64) string {
	key, cursor := p.Vault.Key, p.cursor()
	return fmt.Sprintf(`INSERT INTO %[1]s BY NAME
WITH mine AS (SELECT s.* FROM %[2]s AS s SEMI JOIN %[3]s AS t ON t.%[4]s = s.%[4]s ANTI JOIN work_single AS n ON n.%[4]s = s.%[4]s),
single AS (SELECT s.* FROM %[2]s AS s SEMI JOIN work_single AS n ON n.%[4]s = s.%[4]s),
starts AS (SELECT * FROM (SELECT *, lag(%[5]s) OVER w AS before FROM mine WINDOW w AS (PARTITION BY %[4]s ORDER BY version)) WHERE version = 1 OR before IS DISTINCT FROM %[5]s),
runs AS (SELECT *, lead(%[6]s) OVER w AS until, lead(version) OVER w IS NULL AS is_last FROM starts WINDOW w AS (PARTITION BY %[4]s ORDER BY version)),
dead AS (SELECT %[4]s FROM mine GROUP BY %[4]s HAVING bool_or(is_deleted) OR NOT bool_or(is_current))
SELECT %[7]s AS %[8]s, r.%[5]s, r.%[4]s, r.%[6]s AS valid_from, r.until AS valid_to, r.is_last AND d.%[4]s IS NULL AS is_current, %[9]d AS load
FROM runs AS r LEFT JOIN dead AS d ON d.%[4]s = r.%[4]s WHERE r.%[5]s IS NOT NULL
UNION ALL
SELECT %[7]s AS %[8]s, r.%[5]s, r.%[4]s, r.%[6]s AS valid_from, NULL AS valid_to, true AS is_current, %[9]d AS load FROM single AS r WHERE r.%[5]s IS NOT NULL`,
		link.Effectivity, p.Vault.Satellite, Touched, key, link.Key, cursor, p.linkKey("r.", link), link.LinkKey, load)
}
