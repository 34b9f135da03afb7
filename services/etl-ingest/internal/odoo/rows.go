package odoo

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// longestRow keeps a body without line ends from filling the memory.
const longestRow = 16 << 20

// Columns name what a page's place is read from. Without a Cursor, rows have no write_date.
type Columns struct{ Key, Cursor string }

// rows counts the rows that pass through it and remembers the first and the last one. Nothing else of them is looked at: what is in between is for whoever loads
// the file, and is kept as it came.
type rows struct {
	format  string
	columns Columns
	visit   func(extract.Place) error                     // for each row, when set
	lines   func(line []byte, place *extract.Place) error // the same with the row's bytes, and for the header line, which has no place
	header  []string                                      // of a CSV, once it was read
	width   int
	key, at int
	partial []byte // a row that goes on in the next piece
	quotes  int    // in the row so far; while it is odd, a line end belongs to a field
	quoted  bool   // the row that is being looked at has some
	count   int64
	order   order

	misplaced int64           // rows whose place cannot be read
	why       error           // of the last one of those
	names     map[string]bool // of all objects of a body of JSON, when it is not nil
}

// Write implements io.Writer.
func (r *rows) Write(p []byte) (int, error) {
	begin, at := 0, 0
	counting := r.format == "csv" && (r.quotes > 0 || bytes.IndexByte(p, '"') >= 0) // most pieces have none, and are not searched row by row
	for {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			break
		}
		end := at + i + 1
		if counting {
			r.quotes += bytes.Count(p[at:end], []byte{'"'})
		}
		at = end
		if r.quotes%2 == 1 {
			continue
		}
		if err := r.row(p[begin:end]); err != nil {
			return 0, err
		}
		begin = end
	}
	if counting {
		r.quotes += bytes.Count(p[at:], []byte{'"'})
	}
	if len(r.partial)+len(p)-begin > longestRow {
		return 0, schema("a row is longer than %d bytes", longestRow)
	}
	r.partial = append(r.partial, p[begin:]...)
	return len(p), nil
}

// row takes the end of a row; what came before of it is in partial.
func (r *rows) row(end []byte) error {
	whole := end
	if len(r.partial) > 0 {
		r.partial = append(r.partial, end...)
		whole = r.partial
	}
	r.quotes, r.quoted = 0, r.quotes > 0
	err := r.whole(whole)
	r.partial = r.partial[:0]
	return err
}

func (r *rows) whole(row []byte) error {
	if len(bytes.TrimRight(row, "\r\n")) == 0 {
		return nil
	}
	if r.format == "csv" && r.header == nil {
		if err := r.readHeader(row); err != nil || r.lines == nil {
			return err
		}
		return r.lines(row, nil)
	}
	r.count++
	if r.visit == nil && r.lines == nil {
		return r.order.see(r, row)
	}
	place, err := r.place(row)
	if err != nil {
		r.misplace(err)
		if r.lines == nil {
			return nil
		}
		place = r.order.greatest // it stands behind the row before it
	} else {
		r.order.placed(place)
	}
	if r.lines != nil {
		return r.lines(row, &place)
	}
	return r.visit(place)
}

// misplace passes over a row without a place: it is kept with its page, for whoever loads that to reject, and one bad row does not hold up all others.
func (r *rows) misplace(why error) {
	r.misplaced++
	r.why = why
}

// placed is an error when no row has a place: then it is not a bad row, but not the export that was asked for.
func (r *rows) placed() error {
	if r.misplaced > 0 && r.misplaced == r.count {
		return r.why
	}
	return nil
}

// columnsSeen are the header of a CSV, or the names in a body of JSON.
func (r *rows) columnsSeen() []string {
	if r.format == "csv" {
		return r.header
	}
	return slices.Sorted(maps.Keys(r.names))
}

// close takes the row without a line end that a body may end with. framed says that the body's length was known, so that the row is whole.
func (r *rows) close(framed bool) error {
	if len(r.partial) == 0 {
		return nil
	}
	if r.quotes%2 == 1 || !framed {
		return &extract.PullError{Code: extract.CodeTruncated, Status: 200, Again: true, Reason: "the body ends within a row"}
	}
	before := r.misplaced
	if err := r.row(nil); err != nil {
		return err
	}
	if err := r.order.settle(r); err != nil {
		return err
	}
	if r.misplaced > before {
		return &extract.PullError{Code: extract.CodeTruncated, Status: 200, Again: true, Reason: "the body ends within a row: " + r.why.Error()}
	}
	return nil
}

func (r *rows) readHeader(row []byte) error {
	fields, err := fieldsOf(bytes.TrimPrefix(row, []byte("\xef\xbb\xbf")))
	if err != nil {
		return schema("the header line cannot be read")
	}
	r.header, r.width = fields, len(fields)
	r.key, r.at = slices.Index(fields, r.columns.Key), slices.Index(fields, r.columns.Cursor)
	if r.key < 0 || r.at < 0 && r.columns.Cursor != "" {
		return schema("the header line has no column %s or no column %s", r.columns.Key, r.columns.Cursor)
	}
	return nil
}

func (r *rows) place(row []byte) (extract.Place, error) {
	if id, at, ok := r.quick(row); ok {
		return r.placeOf(string(id), string(at))
	}
	if r.format == "csv" {
		fields, err := fieldsOf(row)
		if err != nil || len(fields) != r.width {
			return extract.Place{}, schema("a row has not the header's %d columns", r.width)
		}
		at := ""
		if r.at >= 0 {
			at = fields[r.at]
		}
		return r.placeOf(fields[r.key], at)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(row, &object); err != nil {
		return extract.Place{}, schema("a line is not a JSON object")
	}
	if r.names != nil {
		for name := range object {
			r.names[name] = true
		}
	}
	return r.placeOf(plain(object[r.columns.Key]), plain(object[r.columns.Cursor]))
}

// quick finds key and write_date of a CSV's row that has no quotes, as most have none.
func (r *rows) quick(row []byte) (id, at []byte, ok bool) {
	if r.format != "csv" || r.quoted || bytes.Count(row, []byte{','}) != r.width-1 {
		return nil, nil, false
	}
	row = bytes.TrimRight(row, "\r\n")
	return r.field(row, r.key), r.field(row, r.at), true
}

// field is the nth of a row without quotes; nil when n is less than 0. It is looked for from the nearer end: keys stand first, and write_dates last.
func (r *rows) field(row []byte, n int) []byte {
	if n < 0 {
		return nil
	}
	if after := r.width - 1 - n; after < n {
		for range after {
			row = row[:bytes.LastIndexByte(row, ',')]
		}
		return row[bytes.LastIndexByte(row, ',')+1:]
	}
	for range n {
		row = row[bytes.IndexByte(row, ',')+1:]
	}
	if end := bytes.IndexByte(row, ','); end >= 0 {
		row = row[:end]
	}
	return row
}

func (r *rows) placeOf(id, at string) (extract.Place, error) {
	place := extract.Place{HasID: true}
	var err error
	if place.ID, err = strconv.ParseInt(id, 10, 64); err != nil {
		return place, schema("%s is not a whole number", r.columns.Key)
	}
	if at == "" {
		return place, nil
	}
	place.Since, err = parseMoment(at)
	if err != nil {
		return place, schema("%s is not a moment as 2026-11-24T04:30:00.123456Z", r.columns.Cursor)
	}
	return place, nil
}

// plain is a JSON value as a CSV would have it: null, and Odoo's false for nothing, are empty.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	if string(value) == "false" {
		return ""
	}
	return string(value)
}

// Places calls visit for each row of a raw file's plain bytes.
func Places(file io.Reader, format string, columns Columns, visit func(extract.Place) error) error {
	return (&rows{format: format, columns: columns, visit: visit}).all(file)
}

// Rows is Places with the bytes of each row, and of the header line of a CSV, which has no place. The bytes are good until visit returns.
func Rows(file io.Reader, format string, columns Columns, visit func(line []byte, place *extract.Place) error) error {
	return (&rows{format: format, columns: columns, lines: visit}).all(file)
}

func (r *rows) all(file io.Reader) error {
	if _, err := io.CopyBuffer(r, struct{ io.Reader }{file}, make([]byte, 128<<10)); err != nil {
		return err
	}
	if err := r.close(true); err != nil {
		return err
	}
	return r.placed()
}

func fieldsOf(row []byte) ([]string, error) {
	reader := csv.NewReader(bytes.NewReader(row))
	reader.LazyQuotes = true
	return reader.Read()
}

// momentForms are what a write_date may be written as; without a zone it is UTC, as Odoo has it.
var momentForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07", time.DateOnly}

func parseMoment(text string) (time.Time, error) {
	for _, form := range momentForms {
		if moment, err := time.Parse(form, text); err == nil {
			return moment.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("parse moment")
}

func schema(format string, args ...any) error {
	return &extract.PullError{Code: extract.CodeSchema, Status: 200, Reason: fmt.Sprintf(format, args...)}
}
