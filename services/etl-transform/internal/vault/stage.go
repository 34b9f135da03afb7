package vault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Kinds of records: a row of the source, no row of that key at the source, the row of that key is this one. Rejected is no kind of file: it is a row of a known key that could not be read.
const (
	KindRows     = "rows"
	KindAbsent   = "absent"
	KindAssert   = "assert"
	kindRejected = "rejected"
)

// Working tables of one load, TEMP all of them. Files (_file, sequence, kind, asof, raw_url) is filled by the caller.
const (
	Files   = "work_files"
	seen    = "work_seen"  // distinct observations of the delta
	fresh   = "work_fresh" // those that stage did not have
	Touched = "work_touched"
)

// rows is the working table of the delta's typed rows.
func (p Plan) rows() string { return "work_rows_" + p.Dataset.Name }

// FilesDDL makes the table of the delta's files.
func FilesDDL() string {
	return "CREATE OR REPLACE TEMP TABLE " + Files + " (_file INTEGER, sequence BIGINT, kind VARCHAR, as_of UHUGEINT, raw_url VARCHAR)"
}

// Spool are the spooled files of a dataset: typed ones are read by the types of their columns, in others values are text of any form.
type Spool struct {
	Typed, Other []string
	Parallel     bool // no value has a line's end in it
}

// numbers are the columns that a spooled file has before the dataset's own: running number in the delta, number of the raw file, line in it.
var numbers = []string{"_n", "_file", "_line"}

// readCSV reads spooled files, in which nothing is what is NULL. types are pairs of a name and a type, each of them a literal.
func readCSV(paths, types []string, parallel bool) string {
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = canon.Literal(path)
	}
	return fmt.Sprintf("read_csv([%s], columns = {%s}, header = false, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', parallel = %t)",
		strings.Join(quoted, ", "), strings.Join(types, ", "), parallel)
}

// other reads the spooled files of values of any form.
func (p Plan) other(s Spool) string {
	var types, list []string
	for _, name := range numbers {
		types = append(types, canon.Literal(name)+": 'BIGINT'")
		list = append(list, "s."+name)
	}
	for _, c := range p.Dataset.Columns {
		types = append(types, canon.Literal(c.Name)+": 'VARCHAR'")
		list = append(list, "s."+canon.Quote(c.Name))
	}
	return fmt.Sprintf("SELECT %s, f.kind AS _kind, f.as_of AS _as_of, f.sequence AS _sequence FROM %s AS s JOIN %s AS f ON f._file = s._file",
		strings.Join(list, ", "), readCSV(s.Other, types, s.Parallel), Files)
}

// typed reads the typed spooled files: their rows can all be read, and their hashdiffs were made with them.
func (p Plan) typed(s Spool) string {
	var types []string
	for _, name := range numbers {
		types = append(types, canon.Literal(name)+": 'BIGINT'")
	}
	types = append(types, "'_high': 'UBIGINT'", "'_low': 'UBIGINT'")
	for _, c := range p.Dataset.Columns {
		types = append(types, canon.Literal(c.Name)+": "+canon.Literal(canon.SQLType(c.Type)))
	}
	return fmt.Sprintf("SELECT r._n, r._line, f.kind AS _kind, f.as_of AS _as_of, f.sequence AS _sequence, %s, (r._high::%s << 64) | r._low::%[2]s AS hashdiff, false AS _bad FROM %s AS r JOIN %s AS f ON f._file = r._file",
		p.columns("r.")+p.keys("r."), canon.Key, readCSV(s.Typed, types, s.Parallel), Files)
}

// bad is true where a column's text cannot be read or a required one is missing. Of an absent row only the key counts.
func (p Plan) bad(c models.Column) string {
	value := "t." + canon.Quote(c.Name)
	failing := fmt.Sprintf("(%s IS NOT NULL AND (%s) IS NULL)", value, canon.Cast(c, value))
	if c.Required {
		failing = fmt.Sprintf("(%s IS NULL OR %s)", value, failing)
	}
	if !slices.Contains(p.Vault.BusinessKey, c.Name) {
		failing = fmt.Sprintf("(t._kind <> '%s' AND %s)", KindAbsent, failing)
	}
	return failing
}

func (p Plan) anyBad() string {
	var conditions []string
	for _, c := range p.Dataset.Columns {
		if c.Type.Kind != models.Text || c.Required {
			conditions = append(conditions, p.bad(c))
		}
	}
	return strings.Join(conditions, " OR ")
}

// Read makes the rows of the delta, with their keys, those of their links and their hashdiffs.
func (p Plan) Read(s Spool) string {
	var parts []string
	if len(s.Typed) > 0 {
		parts = append(parts, p.typed(s))
	}
	if len(s.Other) > 0 {
		parts = append(parts, p.tried(s))
	}
	return fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS\n%s", p.rows(), strings.Join(parts, "\nUNION ALL\n"))
}

// tried reads values of any form. In rows that cannot be read _bad is true: DropBad leaves them out, Rejected asks for them. They are no filter
// of the query, which the engine would move below the reading of the values, and read each of them twice.
func (p Plan) tried(s Spool) string {
	var casts, wrong []string
	for i, c := range p.Dataset.Columns {
		value, typed := "t."+canon.Quote(c.Name), "r."+canon.Quote(c.Name)
		casts = append(casts, canon.Cast(c, value)+" AS "+canon.Quote(c.Name))
		failing := ""
		if c.Type.Kind != models.Text {
			casts = append(casts, fmt.Sprintf("%s IS NOT NULL AS _given%d", value, i))
			failing = fmt.Sprintf("r._given%d AND %s IS NULL", i, typed)
		}
		if c.Required {
			failing = typed + " IS NULL"
		}
		if failing == "" {
			continue
		}
		if !slices.Contains(p.Vault.BusinessKey, c.Name) {
			failing = fmt.Sprintf("r._kind <> '%s' AND %s", KindAbsent, failing)
		}
		wrong = append(wrong, "("+failing+")")
	}
	return fmt.Sprintf(`SELECT r._n, r._line, r._kind, r._as_of, r._sequence, %s, %s AS hashdiff, coalesce(%s, false) AS _bad FROM (
	SELECT t._n, t._line, t._kind, t._as_of, t._sequence, %s FROM (%s) AS t
) AS r`, p.columns("r.")+p.keys("r."), p.hashdiff("r."), strings.Join(wrong, " OR "), strings.Join(casts, ", "), p.other(s))
}

// keys are the row's own key and those of its links, each of which is hashed here once for all tables.
func (p Plan) keys(prefix string) string {
	list := fmt.Sprintf(", %s AS %s", p.hashKey(prefix), p.Vault.Key)
	for i, link := range p.Vault.Links {
		list += fmt.Sprintf(", %s AS _other%d, CASE WHEN %s IS NOT NULL THEN %s END AS _link%[2]d", p.otherKey(prefix, link), i, prefix+canon.Quote(link.Column), p.linkKey(prefix, link))
	}
	return list
}

// CountGood counts the rows of the delta that could be read.
func (p Plan) CountGood() string { return "SELECT count(*) FROM " + p.rows() + " WHERE NOT _bad" }

// DropBad leaves the rows that could not be read out of the delta.
func (p Plan) DropBad() string { return "DELETE FROM " + p.rows() + " WHERE _bad" }

// Rejected puts each unreadable value of the spooled files into the quarantine, once for the same row, column and value.
func (p Plan) Rejected(s Spool, load int64) string {
	var parts []string
	for _, c := range p.Dataset.Columns {
		if c.Type.Kind == models.Text && !c.Required {
			continue
		}
		value := "t." + canon.Quote(c.Name)
		parts = append(parts, fmt.Sprintf("SELECT t._file, t._line, t._sequence, t.%s AS row_key, %s AS column_name, left(%s, 200) AS value, CASE WHEN %s IS NULL THEN 'is required' ELSE %s END AS reason FROM t WHERE %s",
			canon.Quote(p.Dataset.Key), canon.Literal(c.Name), value, value, canon.Literal("is not "+want(c)), p.bad(c)))
	}
	return fmt.Sprintf(`INSERT INTO etl_quarantine (layer, name, row_key, column_name, value, reason, raw_url, raw_line, raw_sequence, load)
WITH t AS (%s)
SELECT 'stage', %s, b.row_key, b.column_name, b.value, b.reason, any_value(f.raw_url), min(b._line), min(b._sequence), %d
FROM (%s) AS b JOIN %s AS f ON f._file = b._file
WHERE NOT EXISTS (SELECT 1 FROM etl_quarantine AS q WHERE q.layer = 'stage' AND q.name = %[2]s AND q.row_key IS NOT DISTINCT FROM b.row_key
	AND q.column_name = b.column_name AND q.value IS NOT DISTINCT FROM b.value AND q.reason = b.reason)
GROUP BY b.row_key, b.column_name, b.value, b.reason`, p.other(s), canon.Literal(p.Dataset.Name), load, strings.Join(parts, " UNION ALL "), Files)
}

// NoneBad makes the working table of unreadable rows of known keys, empty; Bad fills it.
func (p Plan) NoneBad() string {
	return fmt.Sprintf("CREATE OR REPLACE TEMP TABLE work_bad (%s %s, as_of UHUGEINT, raw_sequence BIGINT)", p.Vault.Key, canon.Key)
}

// Bad finds the keys of the rows that Rejected puts into the quarantine: what stage has of them is not what the source has.
func (p Plan) Bad(s Spool) string {
	var casts, known []string
	for _, name := range p.Vault.BusinessKey {
		c, _ := p.Dataset.Column(name)
		casts = append(casts, canon.Cast(c, "t."+canon.Quote(name))+" AS "+canon.Quote(name))
		known = append(known, "r."+canon.Quote(name)+" IS NOT NULL")
	}
	return fmt.Sprintf("INSERT INTO work_bad SELECT %s, r._as_of, min(r._sequence) FROM (SELECT %s, t._as_of, t._sequence FROM (%s) AS t WHERE t._kind <> '%s' AND coalesce(%s, false)) AS r WHERE %s GROUP BY ALL",
		p.hashKey("r."), strings.Join(casts, ", "), p.other(s), KindAbsent, p.anyBad(), strings.Join(known, " AND "))
}

// want says what a column takes.
func want(c models.Column) string {
	if c.Type.Kind == models.Enum {
		return "one of " + strings.Join(c.Values, ", ")
	}
	return "of type " + c.Type.String()
}

// Observe brings the delta's observations and records into stage and tracking, and leaves in work_touched the keys whose history may have changed. A row that was
// read before touches nothing, unless something was said of its key.
func (p Plan) Observe(load int64) []string {
	key, cursor := p.Vault.Key, p.cursor()
	same := func(a, b string) string {
		return fmt.Sprintf("%[1]s.%[3]s = %[2]s.%[3]s AND %[1]s.hashdiff = %[2]s.hashdiff AND %[1]s.%[4]s IS NOT DISTINCT FROM %[2]s.%[4]s", a, b, key, cursor)
	}
	return []string{
		// The greatest asof of those that are rows; an assertion alone is no observation.
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s, %s, hashdiff, min(_n) AS _n, max(_as_of) FILTER (_kind = '%s') AS as_of FROM %s WHERE _kind <> '%s' GROUP BY ALL",
			seen, key, cursor, KindRows, p.rows(), KindAbsent),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE work_known AS SELECT s.rowid AS _at, d._n, d.as_of, s.as_of AS before, s.%s FROM %s AS s JOIN %s AS d ON %s WHERE %s", key, p.Stage(), seen, same("s", "d"), p.near()),
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT d._n, d.as_of FROM %s AS d ANTI JOIN work_known AS k ON k._n = d._n", fresh, seen),
		"DELETE FROM work_known WHERE as_of IS NULL OR as_of <= before",
		fmt.Sprintf("UPDATE %s AS s SET as_of = k.as_of FROM work_known AS k WHERE s.rowid = k._at AND %s", p.Stage(), p.near()),
		fmt.Sprintf("INSERT INTO %s BY NAME SELECT r.%s, r.hashdiff, %s, d.as_of, %d AS load, r._sequence AS raw_sequence, r._line AS raw_line FROM %s AS r JOIN %s AS d ON d._n = r._n",
			p.Stage(), key, p.columns("r."), load, p.rows(), fresh),
		// What was said twice is kept once.
		fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE work_said AS
SELECT r.%[1]s, r._kind AS kind, r._as_of AS as_of, CASE WHEN r._kind = '%[2]s' THEN r.%[3]s END AS %[3]s, CASE WHEN r._kind = '%[2]s' THEN r.hashdiff END AS hashdiff, min(r._sequence) AS raw_sequence
FROM %[4]s AS r WHERE r._kind <> '%[5]s' AND NOT EXISTS (
	SELECT 1 FROM %[6]s AS t WHERE t.%[1]s = r.%[1]s AND t.kind = r._kind AND t.as_of = r._as_of
	AND (r._kind = '%[7]s' OR t.hashdiff = r.hashdiff AND t.%[3]s IS NOT DISTINCT FROM r.%[3]s)) GROUP BY ALL`,
			key, KindAssert, cursor, p.rows(), KindRows, p.Tracking(), KindAbsent),
		fmt.Sprintf("INSERT INTO work_said BY NAME SELECT b.*, '%[1]s' AS kind FROM work_bad AS b ANTI JOIN %[2]s AS t ON t.%[3]s = b.%[3]s AND t.as_of = b.as_of AND t.kind = '%[1]s'", kindRejected, p.Tracking(), key),
		fmt.Sprintf("INSERT INTO %s BY NAME SELECT *, %d AS load FROM work_said", p.Tracking(), load),
		fmt.Sprintf(`CREATE OR REPLACE TEMP TABLE %s AS
SELECT r.%[2]s FROM %[3]s AS r JOIN %[4]s AS d ON d._n = r._n
UNION SELECT %[2]s FROM work_said
UNION SELECT k.%[2]s FROM work_known AS k SEMI JOIN %[5]s AS t ON t.%[2]s = k.%[2]s`, Touched, key, p.rows(), fresh, p.Tracking()),
	}
}
