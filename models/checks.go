package models

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Check is one test of a table, in the syntax of the earlier delivery: a list of maps with one key each.
type Check struct {
	Table    string
	Kind     CheckKind
	Severity Severity
	// Columns that are tested: one for the kinds that name one, all together for unique.
	Columns []string
	// Values are what an enum allows.
	Values []string
	// Rows is the least number of rows for min_rows, and the greatest change in percent for row_count_change.
	Rows int64
	// Min and Max bound accepted_range, as decimals; one of them may be empty.
	Min, Max string
	// Pattern is what regex wants a value to match as a whole.
	Pattern string
	// To is the table and column in which relationships looks a value up.
	To [2]string
	// Within is how old the newest value of freshness may be.
	Within time.Duration
	// With is the table that reconcile compares with, Where chooses its rows, and Amount is the column that is added up in both.
	With, Where, Amount string
	// Title and Query are those of a sql test: {table} in it stands for the rows that are tested, and whatever it gives is wrong.
	Title, Query string
}

// Name identifies the check in events, metrics and quarantine: not_null.date-hk_project.
func (c Check) Name() string {
	switch {
	case c.Title != "":
		return string(c.Kind) + "." + c.Title
	case len(c.Columns) == 0:
		return string(c.Kind)
	}
	return string(c.Kind) + "." + strings.Join(c.Columns, "-")
}

// Severity says what a failure does.
type Severity string

// An error keeps rows out or holds the mart back; a warning is told and changes nothing.
const (
	Fails Severity = "error"
	Warns Severity = "warn"
)

// CheckKind says what is tested.
type CheckKind string

// Kinds that look at a row: one that fails goes to quarantine and the rest is published.
const (
	NotNull       CheckKind = "not_null"       // a missing value fails
	Positive      CheckKind = "positive"       // zero, less and missing fail
	OneOf         CheckKind = "enum"           // anything but the listed values fails, a missing one too
	Range         CheckKind = "accepted_range" // a value outside min and max fails
	Regex         CheckKind = "regex"          // a value that does not match as a whole fails
	Relationships CheckKind = "relationships"  // a value that the other table does not have fails
	ValidRUT      CheckKind = "rut"            // a token of a tax number whose check digit is wrong fails
)

// Kinds that look at the whole table and block the mart.
const (
	Unique         CheckKind = "unique"           // the columns together identify a row
	MinRows        CheckKind = "min_rows"         // fewer rows fail
	Freshness      CheckKind = "freshness"        // a newest value older than the source's clock less within fails
	RowCountChange CheckKind = "row_count_change" // more or fewer rows than before, by more than that many percent
	Reconcile      CheckKind = "reconcile"        // a month whose number of rows or sum is not that of the source's rows fails
	SQL            CheckKind = "sql"              // whatever the query gives fails
)

var rowKinds = []CheckKind{NotNull, Positive, OneOf, Range, Regex, Relationships, ValidRUT}

// OfRows says that the check looks at single rows.
func (k CheckKind) OfRows() bool { return slices.Contains(rowKinds, k) }

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

// checkReader reads what stands behind a kind: its fields, when it is a mapping, and the words of a kind that also takes something shorter.
type checkReader struct {
	fields []string
	short  func(r *reader, n *yaml.Node, at string, c *Check) // nil for a kind that takes a mapping alone
	long   func(r *reader, n *yaml.Node, f map[string]*yaml.Node, at string, c *Check)
}

var (
	ofColumns = checkReader{[]string{"columns"}, (*reader).checkColumns, func(r *reader, n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
		if f["columns"] == nil {
			r.problem(n, at+".columns", "is missing")
			return
		}
		r.checkColumns(f["columns"], at+".columns", c)
	}}
	checkReaders = map[CheckKind]checkReader{
		NotNull: ofColumns, Positive: ofColumns, Unique: ofColumns, ValidRUT: ofColumns,
		OneOf:         {fields: []string{"column", "values"}, long: (*reader).checkEnum},
		Range:         {fields: []string{"column", "min", "max"}, long: (*reader).checkRange},
		Regex:         {fields: []string{"column", "pattern"}, long: (*reader).checkRegex},
		Relationships: {fields: []string{"column", "to"}, long: (*reader).checkRelationships},
		Freshness:     {fields: []string{"column", "within"}, long: (*reader).checkFreshness},
		MinRows: {fields: []string{"rows"}, short: checkNumber, long: func(r *reader, n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
			r.numberField(n, f, at, "rows", c)
		}},
		RowCountChange: {fields: []string{"max_percent"}, long: func(r *reader, n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
			r.numberField(n, f, at, "max_percent", c)
		}},
		Reconcile: {fields: []string{"column", "with", "where", "amount"}, long: (*reader).checkReconcile},
		SQL:       {fields: []string{"name", "query"}, long: (*reader).checkSQL},
	}
)

// check reads one test: a map with one key, which is its kind.
func (r *reader) check(n *yaml.Node, at string) (Check, bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		r.problem(n, at, "must be a map with one test, as not_null: [date]")
		return Check{}, false
	}
	c, value := Check{Kind: CheckKind(n.Content[0].Value), Severity: Fails}, n.Content[1]
	at += "." + n.Content[0].Value
	before := len(r.problems)
	kind, known := checkReaders[c.Kind]
	switch {
	case !known:
		kinds := make([]CheckKind, 0, len(checkReaders))
		for kind := range checkReaders {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		r.problem(n, at, "is not a kind of test; kinds are %v", kinds)
	case value.Kind != yaml.MappingNode && kind.short != nil:
		kind.short(r, value, at, &c)
	default:
		f := r.mapping(value, at, append(slices.Clone(kind.fields), "severity"))
		if f == nil {
			return c, false
		}
		kind.long(r, value, f, at, &c)
		if f["severity"] != nil {
			c.Severity = Severity(f["severity"].Value)
		}
		if c.Severity != Fails && c.Severity != Warns {
			r.problem(f["severity"], at+".severity", "is %q; want error or warn", c.Severity)
		}
	}
	return c, len(r.problems) == before
}

func (r *reader) checkColumns(n *yaml.Node, at string, c *Check) {
	if c.Columns = r.names(n, at); len(c.Columns) == 0 {
		r.problem(n, at, "must be a list of columns")
	}
}

func (r *reader) checkEnum(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Columns = []string{r.identifier(n, f, at, "column")}
	if values := f["values"]; values == nil || values.Decode(&c.Values) != nil || len(c.Values) == 0 {
		r.problem(cmp.Or(values, n), at+".values", "must be a list of texts")
	}
}

var decimalText = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,6})?$`)

func (r *reader) checkRange(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Columns = []string{r.identifier(n, f, at, "column")}
	c.Min, c.Max = r.optionalText(f, at, "min"), r.optionalText(f, at, "max")
	for field, value := range map[string]string{"min": c.Min, "max": c.Max} {
		if value != "" && !decimalText.MatchString(value) {
			r.problem(f[field], at+"."+field, "%q is not a decimal number", value)
		}
	}
	if c.Min == "" && c.Max == "" {
		r.problem(n, at, "needs min, max or both")
	}
}

func (r *reader) checkRegex(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Columns = []string{r.identifier(n, f, at, "column")}
	c.Pattern = r.text(n, f, at, "pattern")
	if _, err := regexp.Compile(c.Pattern); err != nil {
		r.problem(f["pattern"], at+".pattern", "is not a regular expression (RE2): %v", err)
	}
}

func (r *reader) checkRelationships(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Columns = []string{r.identifier(n, f, at, "column")}
	to := r.text(n, f, at, "to")
	table, column, found := strings.Cut(to, ".")
	if to != "" && (!found || !name.MatchString(table) || !name.MatchString(column)) {
		r.problem(f["to"], at+".to", "%q is not <table>.<column>", to)
	}
	c.To = [2]string{table, column}
}

func (r *reader) checkFreshness(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Columns = []string{r.identifier(n, f, at, "column")}
	text := r.text(n, f, at, "within")
	within, err := time.ParseDuration(text)
	if text != "" && (err != nil || within <= 0) {
		r.problem(f["within"], at+".within", "%q is not a time such as 36h", text)
	}
	c.Within = within
}

func (r *reader) checkReconcile(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Columns = []string{r.identifier(n, f, at, "column")}
	c.With, c.Amount = r.identifier(n, f, at, "with"), r.identifier(n, f, at, "amount")
	if c.Where = r.optionalText(f, at, "where"); c.Where == "" {
		c.Where = "true"
	}
}

func checkNumber(r *reader, n *yaml.Node, at string, c *Check) {
	if n.Decode(&c.Rows) != nil || c.Rows < 0 {
		r.problem(n, at, "must be a number, 0 or more")
	}
}

func (r *reader) numberField(n *yaml.Node, f map[string]*yaml.Node, at, field string, c *Check) {
	if f[field] == nil {
		r.problem(n, at+"."+field, "is missing")
		return
	}
	checkNumber(r, f[field], at+"."+field, c)
}

func (r *reader) checkSQL(n *yaml.Node, f map[string]*yaml.Node, at string, c *Check) {
	c.Title = r.identifier(n, f, at, "name")
	c.Query = strings.TrimRight(strings.TrimSpace(r.text(n, f, at, "query")), ";")
	if c.Query != "" && !strings.Contains(c.Query, "{table}") {
		r.problem(f["query"], at+".query", "does not have {table}, which stands for the rows that are tested")
	}
}
