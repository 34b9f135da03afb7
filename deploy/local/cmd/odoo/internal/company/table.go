package company

import (
	"fmt"
	"strings"
	"time"
)

// Table is the rows of one of the stand-in's tables; the first column is the key.
type Table struct {
	Name    string
	Columns []string
	text    strings.Builder
	rows    int64
}

// Copy is all rows in the text form of COPY, in order of their keys.
func (t *Table) Copy() string { return t.text.String() }

// Rows counts the rows.
func (t *Table) Rows() int { return int(t.rows) }

// add appends a row and gives its key, which counts from 1. Values are those of the columns after the key.
func (t *Table) add(values ...any) int64 {
	if len(values) != len(t.Columns)-1 {
		panic(fmt.Sprintf("table %s has %d columns, the row has %d", t.Name, len(t.Columns), len(values)+1))
	}
	t.rows++
	fmt.Fprintf(&t.text, "%d", t.rows)
	for _, v := range values {
		t.text.WriteByte('\t')
		t.text.WriteString(copyText(v))
	}
	t.text.WriteByte('\n')
	return t.rows
}

// null is an int64 reference to nothing.
const null int64 = 0

type day time.Time

var copyEscape = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func copyText(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" {
			return `\N`
		}
		return copyEscape.Replace(v)
	case int64: // a reference
		if v == null {
			return `\N`
		}
		return fmt.Sprint(v)
	case bool:
		return fmt.Sprint(v)
	case fixed:
		return v.String()
	case *fixed:
		if v == nil {
			return `\N`
		}
		return v.String()
	case day:
		return time.Time(v).Format(time.DateOnly)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.000000+00")
	}
	panic(fmt.Sprintf("no text for %T", v))
}
