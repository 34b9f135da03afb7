package rows

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/models"
)

// all reads until the end: a line for each record or error, with the line on which it begins.
func all(read func() ([]string, int64, error)) string {
	var b strings.Builder
	for range 10_000 {
		record, line, err := read()
		var malformed *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return b.String()
		case errors.As(err, &malformed):
			fmt.Fprintf(&b, "%d: %v\n", malformed.StartLine, malformed)
		case err != nil:
			return b.String() + err.Error()
		default:
			fmt.Fprintf(&b, "%d: %q\n", line, record)
		}
	}
	return b.String() + "and no end"
}

func TestRecordsAreThoseOfTheStandardLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "1.5", ",", ",", ",", "\n", "\n", "\r\n", "\r", `"`, `""`, `"x,y"`, "\"two\nlines\"", "\"two\r\nlines\"", " ", "ñ", "\xe9", strings.Repeat("long", 20)}
	quotes := 0
	for n := range 20_000 {
		var b strings.Builder
		for range random.IntN(30) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		text := b.String()
		quotes += strings.Count(text, `"`)
		theirs := csv.NewReader(strings.NewReader(text))
		theirs.FieldsPerRecord, theirs.ReuseRecord = -1, true
		want := all(func() ([]string, int64, error) {
			record, err := theirs.Read()
			if err != nil {
				return nil, 0, err
			}
			line, _ := theirs.FieldPos(0)
			return record, int64(line), nil
		})
		ours := newRecords(bufio.NewReaderSize(strings.NewReader(text), 16)) // lines are longer than the buffer
		if have := all(ours.read); have != want {
			t.Fatalf("text %d %q gives\n%s\nencoding/csv\n%s", n, text, have, want)
		}
	}
	if quotes == 0 {
		t.Error("no text has a quote")
	}
}

// BenchmarkPlainRecords is what a record of an invoice takes, of 12 columns that all stand as they would be written.
func BenchmarkPlainRecords(b *testing.B) {
	m, err := models.Open("")
	if err != nil {
		b.Fatal(err)
	}
	invoice, _ := m.Dataset("invoice")
	var text strings.Builder
	text.WriteString(strings.Join(invoice.Names(), ",") + "\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "%d,%d,%d,out_invoice,2026-02-03,2026-03-03,%d.50,190.00,0.00,CLP,posted,2026-02-03T10:11:12.%06dZ\n", i, i%200, i%5000, 1000+i, i)
	}
	payload := slices.DeleteFunc(invoice.Names(), func(name string) bool { return name == "invoice_id" || name == "write_date" })
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		w := NewWriter(io.Discard, invoice, letters{}, 1).Typed(io.Discard, payload)
		if s, err := w.File(strings.NewReader(text.String()), "csv", 1); err != nil || s.Typed != 10_000 {
			b.Fatal(s, err)
		}
	}
}
