// Package rows reads a raw file, CSV or one JSON object a line, and writes its records in one plain form that the engine reads fast. Personal data become tokens on the way, so that
// nothing behind it ever sees them. It streams: what is in memory does not grow with the file.
package rows

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ofitec/ofitec/models"
)

// Tokens makes a token of a value of personal data.
type Tokens interface {
	Token(kind models.PII, value string) (string, error)
}

// Reject is a record that is no record of the dataset. It says nothing of the content.
type Reject struct {
	Line   int64
	Reason string
}

// maxRejects bounds what is remembered of a file that is not what it seems to be; the others are counted.
const maxRejects = 1000

// Summary is what became of a file.
type Summary struct {
	Records   int64 // written
	Typed     int64 // of them, those that are plain
	Rejected  int64
	Rejects   []Reject
	Unknown   []string // columns of the file that the dataset does not have
	Multiline bool     // a value has a line's end in it
}

// Writer turns files of one dataset into one spooled stream. It is for one goroutine.
type Writer struct {
	dataset models.Dataset
	tokens  Tokens
	out     *bufio.Writer
	next    int64 // number of the next record
	record  []byte
	counted []string // values of the record at hand, as they count
	typed   *typed   // nil: all records go one way
}

// NewWriter begins a spooled stream; records are numbered from first. Flush ends it.
func NewWriter(out io.Writer, dataset models.Dataset, tokens Tokens, first int64) *Writer {
	return &Writer{dataset: dataset, tokens: tokens, out: bufio.NewWriterSize(out, 1<<18), next: first}
}

// Flush writes what is still in memory.
func (w *Writer) Flush() error {
	if w.typed == nil {
		return w.out.Flush()
	}
	return errors.Join(w.typed.out.Flush(), w.out.Flush())
}

// File adds a raw file's records. An error is one of reading or writing; a record that is none is in the summary.
func (w *Writer) File(in io.Reader, format string, file int) (Summary, error) {
	var s Summary
	buffered := bufio.NewReaderSize(in, 1<<18)
	if mark, err := buffered.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3) // they are there
	}
	var err error
	if format == "ndjson" {
		err = w.objects(buffered, file, &s)
	} else {
		err = w.lines(buffered, file, &s)
	}
	return s, err
}

func (s *Summary) reject(line int64, reason string) {
	s.Rejected++
	if len(s.Rejects) < maxRejects {
		s.Rejects = append(s.Rejects, Reject{Line: line, Reason: reason})
	}
}

func (w *Writer) lines(in *bufio.Reader, file int, s *Summary) error {
	r := newRecords(in)
	header, _, err := r.read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read header: %w", err)
	}
	header = slices.Clone(header) // the next record takes its place
	places, width := w.places(header, s), len(header)
	values := make([]string, len(w.dataset.Columns))
	for {
		record, line, err := r.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var malformed *csv.ParseError
		if errors.As(err, &malformed) {
			s.reject(int64(malformed.StartLine), "is not CSV: "+malformed.Err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("read record: %w", err)
		}
		if len(record) != width {
			s.reject(line, fmt.Sprintf("has %d fields, the header has %d", len(record), width))
			continue
		}
		if name := w.strange(header, record); name != "" {
			s.reject(line, discarded(name))
			continue
		}
		for i, place := range places {
			values[i] = ""
			if place >= 0 {
				values[i] = record[place]
			}
		}
		if err := w.write(values, file, line, s); err != nil {
			return err
		}
	}
}

// strange is the first column of a record that the dataset does not have and that holds a value, where such records are discarded.
func (w *Writer) strange(header, record []string) string {
	if w.dataset.Drift != models.DiscardRow {
		return ""
	}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if _, known := w.dataset.Column(name); !known && given(models.Text, record[i]) != "" {
			return name
		}
	}
	return ""
}

// discarded is why a record is rejected whose dataset discards those with columns that it does not have.
func discarded(column string) string {
	return fmt.Sprintf("holds a value in column %.64q, which the dataset does not have: its drift is discard_row", column)
}

// places says at which place of a record each column of the dataset is, -1 for nowhere.
func (w *Writer) places(header []string, s *Summary) []int {
	names := make([]string, len(header))
	for i, name := range header {
		names[i] = strings.TrimSpace(name)
		if _, known := w.dataset.Column(names[i]); !known {
			s.Unknown = append(s.Unknown, strings.Clone(names[i]))
		}
	}
	places := make([]int, len(w.dataset.Columns))
	for i, c := range w.dataset.Columns {
		places[i] = slices.Index(names, c.Name)
	}
	return places
}

// maxLine bounds an object of JSON.
const maxLine = 16 << 20

func (w *Writer) objects(in io.Reader, file int, s *Summary) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 1<<16), maxLine)
	values := make([]string, len(w.dataset.Columns))
	unknown := map[string]bool{}
	for line := int64(1); scanner.Scan(); line++ {
		text := bytes.TrimSpace(scanner.Bytes())
		if len(text) == 0 {
			continue
		}
		var object map[string]any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&object); err != nil || object == nil || decoder.More() {
			s.reject(line, "is not one object of JSON")
			continue
		}
		for name := range object {
			if _, known := w.dataset.Column(name); !known && !unknown[name] {
				unknown[name] = true
				s.Unknown = append(s.Unknown, name)
			}
		}
		if w.dataset.Drift == models.DiscardRow {
			if name := w.strange(inOrder(object)); name != "" {
				s.reject(line, discarded(name))
				continue
			}
		}
		for i, c := range w.dataset.Columns {
			values[i] = plain(object[c.Name])
		}
		if err := w.write(values, file, line, s); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read objects: %w", err)
	}
	return nil
}

// inOrder gives an object's names, sorted, and the texts of their values.
func inOrder(object map[string]any) (names, values []string) {
	names = slices.Sorted(maps.Keys(object))
	values = make([]string, len(names))
	for i, name := range names {
		values[i] = plain(object[name])
	}
	return names, values
}

// plain is the text of a value of JSON; "" for null.
func plain(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	text, _ := json.Marshal(value) // it came out of JSON
	return string(text)
}

// given is a value as it counts: "" for what an export writes for nothing, which is nothing itself and, but for booleans, Odoo's false.
func given(kind models.Kind, value string) string {
	switch kind {
	case models.Text:
		if value == "false" || value == "False" {
			return ""
		}
		return value
	case models.Boolean:
		return strings.TrimSpace(value)
	}
	value = strings.TrimSpace(value)
	if strings.EqualFold(value, "false") {
		return ""
	}
	return value
}

// hashed is the most that two halves of a hash take.
const hashed = 43

// maxRecord is what the engine takes as a line at its usual size of buffers.
const maxRecord = 2_000_000

// write adds one record, or counts it as rejected.
func (w *Writer) write(values []string, file int, line int64, s *Summary) error {
	if fine, err := w.count(values, line, s); err != nil || !fine {
		return err
	}
	b := w.record[:0]
	b = strconv.AppendInt(b, w.next, 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(file), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, line, 10)
	w.record = b
	if w.tooLong(len(b)) {
		s.reject(line, fmt.Sprintf("is longer than %d bytes", maxRecord))
		return nil
	}
	wrote, err := false, error(nil)
	if w.typed != nil {
		wrote, err = w.typed.write(w.dataset.Columns, w.counted, b)
	}
	switch {
	case wrote:
		s.Typed++
	case err == nil:
		for _, value := range w.counted {
			b = append(b, ',')
			if value != "" {
				b = quoted(b, value)
			}
		}
		w.record = append(b, '\n')
		_, err = w.out.Write(w.record)
	}
	if err != nil {
		return fmt.Errorf("spool record: %w", err)
	}
	w.next++
	s.Records++
	return nil
}

// count leaves in counted what the values of a record count as, with tokens for personal data. It rejects a record whose text is none.
func (w *Writer) count(values []string, line int64, s *Summary) (bool, error) {
	counted := w.counted[:0]
	for i := range w.dataset.Columns {
		c := &w.dataset.Columns[i]
		value := given(c.Type.Kind, values[i])
		if c.PII != "" && value != "" {
			token, err := w.tokens.Token(c.PII, value)
			if err != nil {
				return false, err
			}
			value = token
		}
		fine, ends := look(value)
		if !fine {
			s.reject(line, "column "+c.Name+" is not UTF-8 text")
			return false, nil
		}
		s.Multiline = s.Multiline || ends
		counted = append(counted, value)
	}
	w.counted = counted
	return true, nil
}

// look says whether a value is UTF-8 text without a zero byte, and whether a line ends in it.
func look(value string) (fine, ends bool) {
	ascii := true
	for i := range len(value) {
		switch c := value[i]; {
		case c >= utf8.RuneSelf:
			ascii = false
		case c == 0:
			return false, false
		case c == '\n' || c == '\r':
			ends = true
		}
	}
	return ascii || utf8.ValidString(value), ends
}

// tooLong says whether the record at hand is more than the engine takes as a line, behind numbers of some bytes.
func (w *Writer) tooLong(numbers int) bool {
	size := numbers + hashed
	for _, value := range w.counted {
		size += len(value) + 3
	}
	if size > maxRecord/2 {
		for _, value := range w.counted {
			size += strings.Count(value, `"`)
		}
	}
	return size > maxRecord
}

// quoted adds a text as the engine reads it.
func quoted(b []byte, value string) []byte {
	b = append(b, '"')
	for {
		before, rest, found := strings.Cut(value, `"`)
		b = append(b, before...)
		if !found {
			return append(b, '"')
		}
		b = append(b, `""`...)
		value = rest
	}
}
