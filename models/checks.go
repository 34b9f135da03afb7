package models

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Check is one test of a mart, in the syntax of the earlier delivery: a list of maps with one key each.
type Check struct {
	Table string
	Kind  CheckKind
	// Columns that are tested: one for enum, all together for unique.
	Columns []string
	// Values are what an enum allows.
	Values []string
	// Rows is the least number of rows for min_rows.
	Rows int64
}

// Name identifies the check in events, metrics and quarantine: not_null.date-hk_project.
func (c Check) Name() string {
	if len(c.Columns) == 0 {
		return string(c.Kind)
	}
	return string(c.Kind) + "." + strings.Join(c.Columns, "-")
}

// CheckKind says what is tested.
type CheckKind string

// The kinds. The first three look at a row: one that fails goes to quarantine and the rest is published. The others look at the whole table and block the mart.
const (
	NotNull  CheckKind = "not_null" // a missing value fails
	Positive CheckKind = "positive" // zero, less and missing fail
	OneOf    CheckKind = "enum"     // anything but the listed values fails, a missing one too
	Unique   CheckKind = "unique"   // the columns together identify a row
	MinRows  CheckKind = "min_rows" // fewer rows fail
)

// OfRows says that the check looks at single rows.
func (k CheckKind) OfRows() bool { return k == NotNull || k == Positive || k == OneOf }

// ParseChecks reads a checks file. The problems name file, line and field; the checks are only usable when there are none.
func ParseChecks(file string, text []byte) ([]Check, []Problem) {
	r := &reader{file: file}
	root, fields := r.document(text, []string{"checks"})
	if fields == nil {
		return nil, r.problems
	}
	list := fields["checks"]
	if list == nil || list.Kind != yaml.SequenceNode {
		r.problem(root, "checks", "must be a list of tables with tests")
		return nil, r.problems
	}
	var checks []Check
	for i, n := range list.Content {
		at := fmt.Sprintf("checks[%d]", i)
		f := r.mapping(n, at, []string{"table", "tests"})
		if f == nil {
			continue
		}
		table := r.identifier(n, f, at, "table")
		tests := f["tests"]
		if tests == nil || tests.Kind != yaml.SequenceNode {
			r.problem(n, at+".tests", "must be a list of maps with one test each, as - not_null: [date]")
			continue
		}
		for j, test := range tests.Content {
			if c, ok := r.check(test, fmt.Sprintf("%s.tests[%d]", at, j)); ok {
				c.Table = table
				checks = append(checks, c)
			}
		}
	}
	return checks, r.problems
}

// check reads one test: a map with one key, which is its kind.
func (r *reader) check(n *yaml.Node, at string) (Check, bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		r.problem(n, at, "must be a map with one test, as not_null: [date]")
		return Check{}, false
	}
	c, value := Check{Kind: CheckKind(n.Content[0].Value)}, n.Content[1]
	at += "." + n.Content[0].Value
	before := len(r.problems)
	switch c.Kind {
	case NotNull, Positive, Unique:
		if c.Columns = r.names(value, at); len(c.Columns) == 0 {
			r.problem(value, at, "must be a list of columns")
		}
	case OneOf:
		f := r.mapping(value, at, []string{"column", "values"})
		if f == nil {
			return c, false
		}
		c.Columns = []string{r.identifier(value, f, at, "column")}
		if values := f["values"]; values == nil || values.Decode(&c.Values) != nil || len(c.Values) == 0 {
			r.problem(value, at+".values", "must be a list of texts")
		}
	case MinRows:
		if value.Decode(&c.Rows) != nil || c.Rows < 0 {
			r.problem(value, at, "must be a number of rows")
		}
	default:
		kinds := []CheckKind{NotNull, Positive, OneOf, Unique, MinRows}
		slices.Sort(kinds)
		r.problem(n, at, "is not a kind of test; kinds are %v", kinds)
	}
	return c, len(r.problems) == before
}
