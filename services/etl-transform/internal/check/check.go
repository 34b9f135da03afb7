// Package check writes the SQL of a mart's tests. It runs nothing.
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

// Rows lists what makes a row fail, in order of the checks.
func Rows(checks []models.Check) []RowTest {
	var tests []RowTest
	for _, c := range checks {
		if !c.Kind.OfRows() {
			continue
		}
		for _, name := range c.Columns {
			column := canon.Quote(name)
			t := RowTest{Check: c, Column: name}
			switch c.Kind {
			case models.NotNull:
				t.Failing, t.Reason = column+" IS NULL", "is missing"
			case models.Positive:
				t.Failing, t.Reason = fmt.Sprintf("coalesce(%s <= 0, true)", column), "is not positive"
			case models.OneOf:
				values := make([]string, len(c.Values))
				for i, value := range c.Values {
					values[i] = canon.Literal(value)
				}
				t.Failing = fmt.Sprintf("coalesce(CAST(%s AS VARCHAR) NOT IN (%s), true)", column, strings.Join(values, ", "))
				t.Reason = "is not one of " + strings.Join(c.Values, ", ")
			}
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
	}
	return "SELECT 0::BIGINT"
}
