package rows

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
)

// records reads CSV as encoding/csv does, record by record. A line without a quote, as nearly all are, is cut at its commas, which takes a third of the time; one with a quote is read by
// encoding/csv from there on, up to the end of its record.
type records struct {
	in     *bufio.Reader
	line   int64 // lines that were taken from in
	fields []string
	long   []byte // of a line that is longer than in's buffer

	quoted *csv.Reader // reads lines through feed
	feed   feed
}

// feed gives encoding/csv one line at a time, so that it never takes more of the file than the record at hand.
type feed struct {
	of   *records
	rest []byte // of the line that was given last
	read int64  // lines
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		line, err := f.of.next()
		if len(line) == 0 {
			return 0, err
		}
		f.rest = line
		f.read++
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func newRecords(in *bufio.Reader) *records {
	r := &records{in: in}
	r.feed.of = r
	r.quoted = csv.NewReader(&r.feed)
	r.quoted.FieldsPerRecord, r.quoted.ReuseRecord = -1, true
	return r
}

// next takes a line with its end. It is valid until the next call. The error is nil when there is one.
func (r *records) next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = append(r.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.in.ReadSlice('\n')
			r.long = append(r.long, line...)
		}
		line = r.long
	}
	if len(line) > 0 {
		r.line++
		return line, nil
	}
	return nil, err
}

// read gives the next record and the line on which it begins. The fields are valid until the next call, the texts in them for good. A *csv.ParseError is one of a record: the next can be read.
func (r *records) read() ([]string, int64, error) {
	for {
		line, err := r.next()
		if err != nil {
			return nil, r.line, err
		}
		if bytes.IndexByte(line, '"') >= 0 {
			return r.readQuoted(line)
		}
		end := bytes.HasSuffix(line, []byte{'\n'})
		line = bytes.TrimSuffix(line, []byte{'\n'})
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if len(line) == 0 && end {
			continue // encoding/csv passes over empty lines
		}
		if len(line) == 0 {
			return nil, r.line, io.EOF
		}
		return r.cut(string(line)), r.line, nil
	}
}

// cut gives the fields of a line without quotes.
func (r *records) cut(line string) []string {
	fields := r.fields[:0]
	for {
		field, rest, more := strings.Cut(line, ",")
		fields = append(fields, field)
		if !more {
			r.fields = fields
			return fields
		}
		line = rest
	}
}

// readQuoted reads a record that begins with a line.
func (r *records) readQuoted(line []byte) ([]string, int64, error) {
	begin := r.line
	before := r.feed.read // lines that encoding/csv has seen: it counts those alone
	r.feed.rest = line
	r.feed.read++
	record, err := r.quoted.Read()
	var malformed *csv.ParseError
	if errors.As(err, &malformed) {
		by := int(begin - 1 - before)
		malformed.StartLine += by
		malformed.Line += by
	}
	return record, begin, err
}
