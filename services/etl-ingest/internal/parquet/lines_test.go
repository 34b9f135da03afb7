package parquet

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

type invoice struct {
	ID      int64     `parquet:"invoice_id"`
	Name    *string   `parquet:"name,optional"`
	Total   int64     `parquet:"amount_total,decimal(2:18)"`
	Small   int32     `parquet:"rate,decimal(4:9)"`
	Day     int32     `parquet:"date,date"`
	Written time.Time `parquet:"write_date,timestamp(microsecond)"`
	Open    bool      `parquet:"open"`
	Share   float64   `parquet:"share"`
}

func written(t *testing.T, rows any) []byte {
	t.Helper()
	var out bytes.Buffer
	switch r := rows.(type) {
	case []invoice:
		if err := parquet.Write(&out, r, parquet.Compression(&parquet.Zstd)); err != nil {
			t.Fatal(err)
		}
	case []nested:
		if err := parquet.Write(&out, r); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

type nested struct {
	ID   int64    `parquet:"invoice_id"`
	Tags []string `parquet:"tags,list"`
}

func TestRowsBecomeLinesThatKeepEveryDigit(t *testing.T) {
	name := "quote \" line\nñ"
	file := written(t, []invoice{
		{ID: 1, Name: &name, Total: 1_234_567_890_123_456_78, Small: 5, Day: 20_000, Written: time.Date(2026, 11, 24, 12, 0, 0, 123_456_000, time.UTC), Open: true, Share: 0.1},
		{ID: 2, Total: -5, Small: -12_345, Day: -1, Written: time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC), Share: math.NaN()},
	})
	var got strings.Builder
	if err := Lines(bytes.NewReader(file), int64(len(file)), &got); err != nil {
		t.Fatal(err)
	}
	want := `{"invoice_id":1,"name":"quote \" line\nñ","amount_total":1234567890123456.78,"rate":0.0005,"date":"2024-10-04","write_date":"2026-11-24T12:00:00.123456Z","open":true,"share":0.1}
{"invoice_id":2,"name":null,"amount_total":-0.05,"rate":-1.2345,"date":"1969-12-31","write_date":"1969-12-31T23:59:59.999999Z","open":false,"share":null}
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}

func TestALargeFileComesWhole(t *testing.T) {
	rows := make([]invoice, 10_000)
	for n := range rows {
		rows[n].ID = int64(n)
	}
	file := written(t, rows)
	var got bytes.Buffer
	if err := Lines(bytes.NewReader(file), int64(len(file)), &got); err != nil || bytes.Count(got.Bytes(), []byte("\n")) != len(rows) {
		t.Errorf("%d lines, %v", bytes.Count(got.Bytes(), []byte("\n")), err)
	}
}

func TestWhatIsNoPlainParquetIsAnErrorAndNoPanic(t *testing.T) {
	var nothing bytes.Buffer
	lists := written(t, []nested{{1, []string{"a"}}})
	if err := Lines(bytes.NewReader(lists), int64(len(lists)), &nothing); !errors.Is(err, ErrNotFlat) {
		t.Errorf("a list: %v", err)
	}
	whole := written(t, []invoice{{ID: 1}, {ID: 2}})
	for n := range whole {
		damaged := bytes.Clone(whole)
		damaged[n] ^= 0x5a
		_ = Lines(bytes.NewReader(damaged), int64(len(damaged)), &nothing) // may go well where a value was hit; must return
	}
	for _, cut := range []int{0, 3, len(whole) / 2, len(whole) - 1} {
		if err := Lines(bytes.NewReader(whole[:cut]), int64(cut), &nothing); err == nil {
			t.Errorf("cut off at %d: no error", cut)
		}
	}
}
