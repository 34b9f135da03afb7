package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/models"
)

// momentSQL is how every moment leaves this program: UTC, six digits, Z.
const momentSQL = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`

// selectList reads every column as text, so that no digit of an amount passes through a float.
func selectList(d models.Dataset) string {
	parts := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		switch c.Type.Kind {
		case models.Timestamp:
			parts[i] = fmt.Sprintf("to_char(%s AT TIME ZONE 'UTC', %s)", c.Name, momentSQL)
		default:
			parts[i] = c.Name + "::text"
		}
	}
	return strings.Join(parts, ", ")
}

// encoder writes rows, whose values are the text of each column or nil for NULL.
type encoder interface {
	row(values [][]byte)
	bytes() []byte
}

func newEncoder(format Format, columns []models.Column) encoder {
	if format == JSON {
		return &jsonRows{columns: columns}
	}
	c := &csvRows{}
	names := make([][]byte, len(columns))
	for i, column := range columns {
		names[i] = []byte(column.Name)
	}
	c.row(names)
	return c
}

// csvRows writes RFC 4180: lines end in CR LF, NULL is an empty field and an empty text is "".
type csvRows struct{ out bytes.Buffer }

func (c *csvRows) bytes() []byte { return c.out.Bytes() }

func (c *csvRows) row(values [][]byte) {
	for i, v := range values {
		if i > 0 {
			c.out.WriteByte(',')
		}
		switch {
		case v == nil:
		case len(v) == 0 || bytes.ContainsAny(v, "\",\r\n"):
			c.out.WriteByte('"')
			c.out.Write(bytes.ReplaceAll(v, []byte(`"`), []byte(`""`)))
			c.out.WriteByte('"')
		default:
			c.out.Write(v)
		}
	}
	c.out.WriteString("\r\n")
}

// jsonRows writes one object a line. Integers and decimals are JSON numbers with all their digits.
type jsonRows struct {
	columns []models.Column
	out     bytes.Buffer
}

func (j *jsonRows) bytes() []byte { return j.out.Bytes() }

func (j *jsonRows) row(values [][]byte) {
	j.out.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			j.out.WriteByte(',')
		}
		fmt.Fprintf(&j.out, "%q:", j.columns[i].Name)
		switch {
		case v == nil:
			j.out.WriteString("null")
		case isBare(j.columns[i].Type.Kind):
			j.out.Write(v)
		default:
			// Marshalling a string cannot fail.
			text, _ := json.Marshal(string(v))
			j.out.Write(text)
		}
	}
	j.out.WriteString("}\n")
}

func isBare(k models.Kind) bool {
	return k == models.Integer || k == models.Decimal || k == models.Boolean
}

// scan runs a query whose columns are all text and hands each row to fn; the values live until the next row.
func scan(rows pgx.Rows, fn func(values [][]byte)) error {
	defer rows.Close()
	for rows.Next() {
		fn(rows.RawValues())
	}
	return rows.Err()
}
