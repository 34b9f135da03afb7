package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// exportMoment is how a write_date is asked for: UTC, six digits.
const exportMoment = "2006-01-02T15:04:05.000000Z"

// exportRow is a row's place, and its content in a form in which CSV and JSON are alike.
type exportRow struct {
	at time.Time // zero for NULL
	id int64
}

func (r exportRow) compare(s exportRow) int {
	return cmp.Or(r.at.Compare(s.at), cmp.Compare(r.id, s.id))
}

func (r exportRow) String() string {
	if r.at.IsZero() {
		return "NULL#" + strconv.FormatInt(r.id, 10)
	}
	return r.at.UTC().Format(exportMoment) + "#" + strconv.FormatInt(r.id, 10)
}

// exportPage is an answer to a question for rows.
type exportPage struct {
	status  int
	header  http.Header
	columns []string
	rows    []exportRow
	asked   time.Time
}

// answerLimit is more than any answer to a question for a few rows needs. A server that ignores limit is cut off here.
const answerLimit = 64 << 20

// errTooMuch says that an answer is longer than it is read.
var errTooMuch = errors.New("the answer has more than 64 MiB")

// get asks and gives the body of an answer.
func (e *exportDoctor) get(ctx context.Context, method, path string, query url.Values, token string) (*http.Response, []byte, error) {
	address := e.base + "/of/export/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := e.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit+1))
	if err == nil && len(body) > answerLimit {
		err = errTooMuch
	}
	return response, body, err
}

// page asks for rows.
func (v *exportVisit) page(ctx context.Context, format string, query url.Values) (exportPage, error) {
	query.Set("format", format)
	asked := time.Now()
	response, body, err := v.get(ctx, http.MethodGet, v.dataset.Name, query, v.token) //nolint:bodyclose // get has read and closed it
	if err != nil {
		return exportPage{}, err
	}
	p := exportPage{status: response.StatusCode, header: response.Header, asked: asked}
	if p.status != http.StatusOK {
		return p, nil
	}
	if format == "json" {
		err = p.readObjects(body, v.dataset.Key, v.dataset.Cursor)
	} else {
		err = p.readLines(body, v.dataset.Key, v.dataset.Cursor)
	}
	if said := p.header.Get("X-Ofitec-Rows"); err == nil && said != "" && said != strconv.Itoa(len(p.rows)) {
		err = fmt.Errorf("X-Ofitec-Rows says %.20q, the body has %d rows", said, len(p.rows))
	}
	return p, err
}

func (p *exportPage) readLines(body []byte, key, cursor string) error {
	reader := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	reader.FieldsPerRecord = -1
	lines, err := reader.ReadAll()
	if err != nil {
		return fmt.Errorf("the body is not CSV: %w", err)
	}
	if len(lines) == 0 {
		return nil
	}
	p.columns = lines[0]
	k, c := slices.Index(p.columns, key), slices.Index(p.columns, cursor)
	if k < 0 || c < 0 {
		return fmt.Errorf("the header line has no column %s or no column %s", key, cursor)
	}
	for n, line := range lines[1:] {
		if len(line) != len(p.columns) {
			return fmt.Errorf("row %d has %d fields, the header line %d", n+1, len(line), len(p.columns))
		}
		if err := p.add(line[k], line[c]); err != nil {
			return fmt.Errorf("row %d: %w", n+1, err)
		}
	}
	return nil
}

func (p *exportPage) readObjects(body []byte, key, cursor string) error {
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, answerLimit)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var object map[string]any
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber()
		if err := decoder.Decode(&object); err != nil {
			return fmt.Errorf("line %d is not one object of JSON", n)
		}
		at, _ := object[cursor].(string)
		if err := p.add(fmt.Sprint(object[key]), at); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// exportMoments are the forms of a write_date that etl-ingest understands.
var exportMoments = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07", time.DateOnly}

func (p *exportPage) add(id, at string) error {
	var r exportRow
	var err error
	if r.id, err = strconv.ParseInt(id, 10, 64); err != nil {
		return errors.New("the key is not a whole number")
	}
	for _, form := range exportMoments {
		if at == "" {
			break
		}
		if r.at, err = time.Parse(form, at); err == nil {
			r.at = r.at.UTC()
			break
		}
	}
	if err != nil {
		return errors.New("the write_date is not a moment as 2026-11-24T04:30:00.123456Z")
	}
	p.rows = append(p.rows, r)
	return nil
}

func (p exportPage) sorted() bool { return slices.IsSortedFunc(p.rows, exportRow.compare) }

func (p exportPage) last() exportRow { return p.rows[len(p.rows)-1] }

// behind is the question for rows behind a row.
func behind(r exportRow, limit int) url.Values {
	query := url.Values{"limit": {strconv.Itoa(limit)}, "after_id": {strconv.FormatInt(r.id, 10)}}
	if !r.at.IsZero() {
		query.Set("since", r.at.Format(exportMoment))
	}
	return query
}

func from(at time.Time, limit int) url.Values {
	return url.Values{"limit": {strconv.Itoa(limit)}, "since": {at.UTC().Format(exportMoment)}}
}

func list(rows []exportRow) string {
	var texts []string
	for _, r := range rows[:min(3, len(rows))] {
		texts = append(texts, r.String())
	}
	return strings.Join(texts, ", ")
}
