package odoo

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/reconcile"
)

// Listing is what a list of living ids was.
type Listing struct {
	Clock time.Time // the source's, before it looked
	Rows  int64
	Sure  bool // the server said how many there are
}

// IDs reads the list of a dataset's living ids and calls visit for each, in the server's order. ErrNotOffered means that the server has no such list.
func (c *Client) IDs(ctx context.Context, dataset string, columns Columns, visit func(id int64) error) (Listing, error) {
	var l Listing
	err := c.get(ctx, dataset, "/ids", url.Values{"format": {"csv"}}, func(a answer) error {
		l = Listing{Clock: a.clock}
		if err := l.read(a.body, columns.Key, visit); err != nil {
			return err
		}
		said := a.response.Header.Get(headerRows)
		l.Sure = said != ""
		if l.Sure && said != strconv.FormatInt(l.Rows, 10) {
			return &extract.PullError{Code: extract.CodeTruncated, Status: 200, Again: true, Reason: fmt.Sprintf("the list has %d ids, %s says %.20q", l.Rows, headerRows, said)}
		}
		if !l.Sure && !framed(a.response) {
			return &extract.PullError{Code: extract.CodeContract, Status: 200, Reason: "nothing tells whether the list of ids is whole: want " + headerRows + ", Content-Length or chunks"}
		}
		return nil
	})
	return l, err
}

// read takes a line an id, below a header line with the key's name or without one; or JSON: a list of numbers, or an object a line.
func (l *Listing) read(body io.Reader, key string, visit func(id int64) error) error {
	take := func(text string) error {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return schema("the list of ids has something that is not a whole number")
		}
		l.Rows++
		return visit(id)
	}
	buffered := bufio.NewReaderSize(body, 64<<10)
	switch first, _ := buffered.Peek(1); string(first) {
	case "[":
		return readList(buffered, take)
	case "{":
		return readObjects(buffered, key, take)
	}
	lines := bufio.NewScanner(buffered)
	for n := 0; lines.Scan(); n++ {
		text := strings.Trim(strings.TrimPrefix(lines.Text(), "\ufeff"), " \r\"")
		if text == "" || n == 0 && text == key {
			continue
		}
		if err := take(text); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return schema("the list of ids has a line that is too long")
	}
	return lines.Err()
}

func readList(body io.Reader, take func(string) error) error {
	decoder := json.NewDecoder(body)
	decoder.UseNumber()
	if _, err := decoder.Token(); err != nil {
		return schema("the list of ids is not JSON")
	}
	for decoder.More() {
		var id json.Number
		if err := decoder.Decode(&id); err != nil {
			return schema("the list of ids has something that is not a whole number")
		}
		if err := take(id.String()); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return &extract.PullError{Code: extract.CodeTruncated, Status: 200, Again: true, Reason: "the list of ids does not end"}
	}
	return nil
}

func readObjects(body io.Reader, key string, take func(string) error) error {
	decoder := json.NewDecoder(body)
	for {
		var object map[string]json.RawMessage
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return schema("the list of ids is not one object a line")
		}
		if err := take(plain(object[key])); err != nil {
			return err
		}
	}
}

// summaryLimit is more than any summary needs.
const summaryLimit = 64 << 10

// Summary asks for count and digest of a window. ErrNotOffered means that the server does not sum up.
func (c *Client) Summary(ctx context.Context, dataset string, w reconcile.Window) (reconcile.Summary, error) {
	var s reconcile.Summary
	query := url.Values{}
	if !w.From.IsZero() {
		query.Set("from", w.From.UTC().Format(extract.Moment))
	}
	if !w.To.IsZero() {
		query.Set("to", w.To.UTC().Format(extract.Moment))
	}
	err := c.get(ctx, dataset, "/summary", query, func(a answer) error {
		var said struct {
			Count            *int64
			Digest           string
			Algorithm        string
			WithoutWriteDate int64  `json:"without_write_date"`
			SourceClock      string `json:"source_clock"`
		}
		content, err := io.ReadAll(io.LimitReader(a.body, summaryLimit))
		if err != nil {
			return err
		}
		if json.Unmarshal(content, &said) != nil || said.Count == nil {
			return schema("the summary is not an object with count and digest")
		}
		s = reconcile.Summary{Tally: reconcile.Tally{Count: *said.Count}, WithoutDate: said.WithoutWriteDate, Clock: a.clock, CountOnly: said.Algorithm != reconcile.Algorithm}
		if !s.CountOnly {
			digest, err := hex.DecodeString(said.Digest)
			if err != nil || len(digest) != len(s.Digest) {
				return schema("the summary's digest has not 32 hexadecimal digits")
			}
			s.Digest = reconcile.Digest(digest)
		}
		if clock, err := parseMoment(said.SourceClock); err == nil {
			s.Clock = clock
		}
		return nil
	})
	return s, err
}
