package rows

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
)

// Without gives a raw file's content without the records that have a value in a column, byte by byte else, and how many those are. A record that cannot be read is gone, too, when the value
// stands in it anywhere: it was never loaded, and nobody can say whose it is.
func Without(content []byte, format, column, value string) (rest []byte, gone int64, err error) {
	if !bytes.Contains(content, []byte(value)) {
		return content, 0, nil
	}
	w := without{content: content, value: value}
	if format == "ndjson" {
		w.objects(column)
	} else if err := w.lines(column); err != nil {
		return nil, 0, err
	}
	if w.gone == 0 {
		return content, 0, nil
	}
	return w.rest, w.gone, nil
}

type without struct {
	content, rest []byte
	value         string
	gone          int64
}

// take keeps the bytes between two places, or drops them.
func (w *without) take(from, to int64, drop bool) {
	if drop {
		w.gone++
		return
	}
	w.rest = append(w.rest, w.content[from:to]...)
}

func (w *without) lines(column string) error {
	marked := int64(len(w.content) - len(bytes.TrimPrefix(w.content, []byte("\xef\xbb\xbf"))))
	r := csv.NewReader(bytes.NewReader(w.content[marked:]))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	header, err := r.Read()
	if err != nil {
		return fmt.Errorf("read header: %w", err)
	}
	place, width := slices.IndexFunc(header, func(name string) bool { return strings.TrimSpace(name) == column }), len(header)
	at := marked + r.InputOffset()
	w.take(0, at, false)
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			w.take(at, int64(len(w.content)), false) // blank lines
			return nil
		}
		to := marked + r.InputOffset()
		var malformed *csv.ParseError
		var drop bool
		switch {
		case errors.As(err, &malformed):
			drop = bytes.Contains(w.content[at:to], []byte(w.value))
		case err != nil:
			return fmt.Errorf("read record: %w", err)
		case len(record) != width:
			drop = slices.ContainsFunc(record, w.is)
		default:
			drop = place >= 0 && w.is(record[place])
		}
		w.take(at, to, drop)
		at = to
	}
}

func (w *without) objects(column string) {
	for at := 0; at < len(w.content); {
		to := len(w.content)
		if end := bytes.IndexByte(w.content[at:], '\n'); end >= 0 {
			to = at + end + 1
		}
		text := bytes.TrimSpace(bytes.TrimPrefix(w.content[at:to], []byte("\xef\xbb\xbf")))
		var object map[string]any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var drop bool
		if err := decoder.Decode(&object); err != nil || object == nil || decoder.More() {
			drop = len(text) > 0 && bytes.Contains(text, []byte(w.value))
		} else {
			drop = w.is(plain(object[column]))
		}
		w.take(int64(at), int64(to), drop)
		at = to
	}
}

// is compares as keys are: numbers by their value, texts without blanks around them and not by case.
func (w *without) is(have string) bool {
	have = strings.TrimSpace(have)
	if strings.EqualFold(have, w.value) {
		return true
	}
	a, numberA := new(big.Rat).SetString(have)
	b, numberB := new(big.Rat).SetString(w.value)
	return numberA && numberB && a.Cmp(b) == 0
}
