// Package check writes the SQL of a table's tests. It runs nothing.
package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// RowTest is one way in which a row fails: a column of a check on rows.
type RowTest struct {
	Check   models.Check
	Column  string
	Failing string // condition that is true, never NULL, for a row that fails
	Reason  string
}

// Of lists the checks of a table.
func Of(checks []models.Check, table string) []models.Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c models.Check) bool { return c.Table != table })
}

// Errors lists the checks whose failure keeps something from the readers.
func Errors(checks []models.Check) []models.Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c models.Check) bool { return c.Severity == models.Warns })
}

// rowTest writes what fails in a column, and why.
type rowTest func(c models.Check, column string) (failing, reason string)

var rowTests = map[models.CheckKind]rowTest{
	models.NotNull: func(_ models.Check, column string) (string, string) { return column + " IS NULL", "is missing" },
	models.Positive: func(_ models.Check, column string) (string, string) {
		return fmt.Sprintf("coalesce(%s <= 0, true)", column), "is not positive"
	},
	models.OneOf: func(c models.Check, column string) (string, string) {
		values := make([]string, len(c.Values))
		for i, value := range c.Values {
			values[i] = canon.Literal(value)
		}
		return fmt.Sprintf("coalesce(CAST(%s AS VARCHAR) NOT IN (%s), true)", column, strings.Join(values, ", ")), "is not one of " + strings.Join(c.Values, ", ")
	},
	models.Range: func(c models.Check, column string) (string, string) {
		var conditions, words []string
		if c.Min != "" {
			conditions, words = append(conditions, fmt.Sprintf("%s < %s", column, c.Min)), append(words, "not less than "+c.Min)
		}
		if c.Max != "" {
			conditions, words = append(conditions, fmt.Sprintf("%s > %s", column, c.Max)), append(words, "not more than "+c.Max)
		}
		return fmt.Sprintf("coalesce(%s, false)", strings.Join(conditions, " OR ")), "must be " + strings.Join(words, " and ")
	},
	models.Regex: func(c models.Check, column string) (string, string) {
		return fmt.Sprintf("NOT coalesce(regexp_full_match(CAST(%s AS VARCHAR), %s), true)", column, canon.Literal(c.Pattern)), "does not match " + c.Pattern
	},
	models.Relationships: func(c models.Check, column string) (string, string) {
		other := canon.Quote(c.To[1])
		return fmt.Sprintf("coalesce(%s NOT IN (SELECT %s FROM %s WHERE %[2]s IS NOT NULL), false)", column, other, canon.Quote(c.To[0])), "is not in " + strings.Join(c.To[:], ".")
	},
	// A tax number whose check digit is wrong has a token of its own kind (package token).
	models.ValidRUT: func(_ models.Check, column string) (string, string) {
		return fmt.Sprintf("coalesce(starts_with(%s, 'rutx_'), false)", column), "is a tax number whose check digit is wrong"
	},
}

// Rows lists what makes a row fail, in order of the checks.
func Rows(checks []models.Check) []RowTest {
	var tests []RowTest
	for _, c := range checks {
		write, known := rowTests[c.Kind]
		if !known {
			continue
		}
		for _, name := range c.Columns {
			t := RowTest{Check: c, Column: name}
			t.Failing, t.Reason = write(c, canon.Quote(name))
			tests = append(tests, t)
		}
	}
	return tests
}

// AnyFailing is true, never NULL, for a row that fails one of the tests.
func AnyFailing(tests []RowTest) string {
	conditions := []string{"false"}
	for _, t := range tests {
		conditions = append(conditions, t.Failing)
	}
	return strings.Join(conditions, " OR ")
}

// Table asks how many rows of a relation (a table, or a query in parentheses) break a check on the whole table; 0 is a pass.
func Table(c models.Check, relation string) string {
	switch c.Kind {
	case models.Unique:
		columns := make([]string, len(c.Columns))
		for i, name := range c.Columns {
			columns[i] = canon.Quote(name)
		}
		return fmt.Sprintf("SELECT coalesce(sum(n), 0)::BIGINT FROM (SELECT count(*) AS n FROM %s AS r GROUP BY %s HAVING count(*) > 1)", relation, strings.Join(columns, ", "))
	case models.MinRows:
		return fmt.Sprintf("SELECT greatest(%d - count(*), 0)::BIGINT FROM %s AS r", c.Rows, relation)
	case models.Freshness: // against the source's clock: the same raw files give the same answer on any day
		return fmt.Sprintf("SELECT CASE WHEN max(CAST(r.%s AS TIMESTAMP)) < (SELECT max(asof_clock) FROM etl_batch) - INTERVAL '%d seconds' THEN 1 ELSE 0 END::BIGINT FROM %s AS r",
			canon.Quote(c.Columns[0]), int64(c.Within.Seconds()), relation)
	case models.RowCountChange: // against what readers see
		return fmt.Sprintf("SELECT CASE WHEN b.n > 0 AND abs(a.n - b.n) * 100 > %d * b.n THEN abs(a.n - b.n) ELSE 0 END::BIGINT FROM (SELECT count(*) AS n FROM %s AS r) AS a, (SELECT count(*) AS n FROM %s) AS b",
			c.Rows, relation, canon.Quote(c.Table))
	case models.Reconcile:
		return fmt.Sprintf("SELECT count(*) FROM (%s)", Months(c, relation))
	case models.SQL:
		return fmt.Sprintf("SELECT count(*) FROM (%s) AS r", strings.ReplaceAll(c.Query, "{table}", relation))
	}
	return "SELECT 0::BIGINT"
}

// Months lists the months in which a relation and what it is reconciled with differ: month, rows and sum here, rows and sum there. NULL is the month of rows without a date.
func Months(c models.Check, relation string) string {
	sums := func(from, where string) string {
		return fmt.Sprintf("SELECT strftime(%s, '%%Y-%%m') AS month, count(*) AS n, coalesce(sum(%s), 0) AS s FROM %s AS r WHERE %s GROUP BY month", canon.Quote(c.Columns[0]), canon.Quote(c.Amount), from, where)
	}
	return fmt.Sprintf("SELECT coalesce(a.month, b.month) AS month, coalesce(a.n, 0) AS n, coalesce(a.s, 0) AS s, coalesce(b.n, 0) AS there_n, coalesce(b.s, 0) AS there_s FROM (%s) AS a FULL JOIN (%s) AS b ON a.month IS NOT DISTINCT FROM b.month WHERE a.n IS DISTINCT FROM b.n OR a.s IS DISTINCT FROM b.s",
		sums(relation, "true"), sums(canon.Quote(c.With), "("+c.Where+")"))
}
