package odoo

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

var columns = Columns{Key: "invoice_id", Cursor: "write_date"}

func TestRowsAreToldApartHoweverTheyAreWritten(t *testing.T) {
	for name, body := range map[string]string{
		"plain":                  "invoice_id,name,write_date\n1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24 12:00:01\n",
		"CR LF, no end":          "invoice_id,name,write_date\r\n1,a,2026-11-24T12:00:00Z\r\n2,b,2026-11-24T12:00:01+00:00",
		"mixed line ends":        "invoice_id,name,write_date\r\n1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:01Z\r\n\r\n",
		"byte order mark":        "\xef\xbb\xbfinvoice_id,name,write_date\n1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:01Z\n",
		"quotes and lines":       "name,invoice_id,write_date\n\"a\r\n\"\"b\"\", c\n\",1,2026-11-24T12:00:00Z\n\"\n\",\"2\",\"2026-11-24T12:00:01Z\"\n",
		"Latin-1":                "invoice_id,name,write_date\n1,\xf1and\xfa,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:01Z\n",
		"a quote within a field": "invoice_id,name,write_date\n1,5\"\" pipe,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:01Z\n",
		"300 columns":            "invoice_id,write_date" + strings.Repeat(",c", 300) + "\n1,2026-11-24T12:00:00Z" + strings.Repeat(",x", 300) + "\n2,2026-11-24T12:00:01Z" + strings.Repeat(",", 300) + "\n",
	} {
		t.Run(name, func(t *testing.T) { mustBeTwoRows(t, "csv", body) })
	}
	mustBeTwoRows(t, "ndjson", "{\"invoice_id\":1,\"name\":\"a\\n\",\"write_date\":\"2026-11-24 12:00:00\"}\n{\"invoice_id\":2,\"write_date\":\"2026-11-24T12:00:01.000000Z\"}")
}

func mustBeTwoRows(t *testing.T, format, body string) {
	t.Helper()
	var got []string
	err := Places(iotest.OneByteReader(strings.NewReader(body)), format, columns, func(p extract.Place) error {
		got = append(got, p.String())
		return nil
	})
	want := "[2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:01.000000Z#2]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOneBadRowDoesNotHoldUpTheOthers(t *testing.T) {
	const head = "invoice_id,name,write_date\n"
	for name, body := range map[string]string{
		"key is NULL":            head + "1,a,2026-11-24T12:00:00Z\n,b,2026-11-24T12:00:02Z\n3,c,2026-11-24T12:00:01Z\n",
		"key is no number":       head + "x7,b,2026-11-24T12:00:00Z\n1,a,2026-11-24T12:00:00Z\n3,c,2026-11-24T12:00:01Z\n",
		"no moment":              head + "1,a,2026-11-24T12:00:00Z\n3,c,2026-11-24T12:00:01Z\n4,d,2026-11-99T12:00:01Z\n",
		"a column too few":       head + "1,a,2026-11-24T12:00:00Z\n2,b\n3,c,2026-11-24T12:00:01Z\n",
		"a column too many":      head + "1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:02Z,x\n3,c,2026-11-24T12:00:01Z\n",
		"a key out of all reach": head + "1,a,2026-11-24T12:00:00Z\n99999999999999999999,b,2026-11-24T12:00:02Z\n3,c,2026-11-24T12:00:01Z\n",
	} {
		r := &rows{format: "csv", columns: columns}
		_, err := io.WriteString(r, body)
		if err == nil {
			err = r.close(true)
		}
		var page extract.Page
		if err == nil {
			err = r.order.end(r, &page)
		}
		if err == nil {
			err = r.placed()
		}
		if err != nil || r.misplaced != 1 || r.count != 3 || page.Last.String() != "2026-11-24T12:00:01.000000Z#3" {
			t.Errorf("%s: %d of %d rows misplaced, the last one at %s, %v", name, r.misplaced, r.count, page.Last, err)
		}
		seen := 0
		if err := Places(strings.NewReader(body), "csv", columns, func(extract.Place) error { seen++; return nil }); err != nil || seen != 2 {
			t.Errorf("%s: %d places, %v", name, seen, err)
		}
	}
}

func TestABodyThatEndsWithinARowIsCutOff(t *testing.T) {
	err := Places(strings.NewReader("invoice_id,name,write_date\n1,a,2026-11-24T12:00:00Z\n2,b,2026-1"), "csv", columns, func(extract.Place) error { return nil })
	var failure *extract.PullError
	if !errors.As(err, &failure) || failure.Code != extract.CodeTruncated {
		t.Errorf("it says %v", err)
	}
}

func TestRowsThatCannotBeWorkedWithAreRefusedWithoutShowingThem(t *testing.T) {
	for name, body := range map[string]string{
		"no key column":      "name,write_date\nsecret,2026-11-24T12:00:00Z\n",
		"no cursor column":   "invoice_id,name\n1,secret\n",
		"key is no number":   "invoice_id,write_date\nsecret,2026-11-24T12:00:00Z\n",
		"key is NULL":        "invoice_id,write_date\n,2026-11-24T12:00:00Z\n",
		"no moment":          "invoice_id,write_date\n1,secret\n",
		"a column too few":   "invoice_id,name,write_date\n1,secret\n",
		"a row without end":  "invoice_id,write_date\n1,\"" + strings.Repeat("x", longestRow+1),
		"the end is missing": "invoice_id,write_date\n1,\"secret",
	} {
		err := Places(strings.NewReader(body), "csv", columns, func(extract.Place) error { return nil })
		var failure *extract.PullError
		if !errors.As(err, &failure) || failure.Code != extract.CodeSchema && failure.Code != extract.CodeTruncated {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the row: %v", name, err)
		}
	}
}

func TestRowsWithoutAWriteDateHaveNone(t *testing.T) {
	for format, body := range map[string]string{
		"csv":    "invoice_id,write_date\n4,\n",
		"ndjson": `{"invoice_id":4,"write_date":null}` + "\n",
	} {
		err := Places(strings.NewReader(body), format, columns, func(p extract.Place) error {
			if p.ID != 4 || !p.Since.IsZero() {
				t.Errorf("%s: %v", format, p)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	for _, nothing := range []string{`{"invoice_id":4,"write_date":false}`, `{"invoice_id":4}`} {
		err := Places(strings.NewReader(nothing), "ndjson", columns, func(p extract.Place) error {
			if !p.Since.IsZero() {
				t.Errorf("%s: %v", nothing, p)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", nothing, err)
		}
	}
}

func TestListsOfIDsAreUnderstood(t *testing.T) {
	for name, body := range map[string]string{
		"CSV": "invoice_id\r\n1\r\n2\r\n", "quoted": "\"invoice_id\"\n\"1\"\n\"2\"\n", "no header line": "1\n2\n", "objects": "{\"invoice_id\":1}\n{\"invoice_id\":2}\n", "a JSON list": "[1, 2]\n",
	} {
		var got []int64
		var l Listing
		err := l.read(strings.NewReader(body), "invoice_id", func(id int64) error {
			got = append(got, id)
			return nil
		})
		if err != nil || fmt.Sprint(got) != "[1 2]" || l.Rows != 2 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, body := range []string{"<html>\n", "invoice_id\nx\n", "partner_id\n1\n", "{\"partner_id\":1}\n", "[1,", "[{}]"} {
		var l Listing
		if err := l.read(strings.NewReader(body), "invoice_id", func(int64) error { return nil }); err == nil {
			t.Errorf("%q is taken for a list of ids", body)
		}
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "Tue, 24 Nov 2026 12:01:00 GMT": time.Minute, "Tue, 24 Nov 2026 11:00:00 GMT": 0} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestTheOrderOfRowsIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		rows     string
		unsorted bool
		places   string
	}{
		"in order":             {"1,a,2026-11-24T12:00:00Z\n9,b,2026-11-24T12:00:01Z\n3,c,2026-11-24T12:00:02Z\n", false, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:02.000000Z#3"},
		"ties by id":           {"9,a,2026-11-24T12:00:00Z\n10,b,2026-11-24T12:00:00Z\n", false, "2026-11-24T12:00:00.000000Z#9 2026-11-24T12:00:00.000000Z#10"},
		"ties by id as text":   {"10,a,2026-11-24T12:00:00Z\n9,b,2026-11-24T12:00:00Z\n", true, "2026-11-24T12:00:00.000000Z#9 2026-11-24T12:00:00.000000Z#10"},
		"one goes back":        {"1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:05Z\n3,c,2026-11-24T12:00:04Z\n4,d,2026-11-24T12:00:06Z\n", true, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:06.000000Z#4"},
		"quotes and forms":     {"1,\"a,b\",2026-11-24T12:00:00Z\n2,b,2026-11-24 12:00:05.5\n3,\"c\",2026-11-24T12:00:06Z\n", false, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:06.000000Z#3"},
		"NULL before all":      {"5,a,\n6,b,\n1,c,2026-11-24T12:00:00Z\n", false, "none#5 2026-11-24T12:00:00.000000Z#1"},
		"NULL behind":          {"1,c,2026-11-24T12:00:00Z\n5,a,\n", true, "none#5 2026-11-24T12:00:00.000000Z#1"},
		"the last row only":    {"1,c,2026-11-24T12:00:00Z\n", false, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:00.000000Z#1"},
		"no row, only headers": {"", false, "start start"},
	} {
		r := &rows{format: "csv", columns: columns}
		_, err := io.WriteString(r, "invoice_id,name,write_date\n"+c.rows)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var page extract.Page
		if err := r.order.end(r, &page); err != nil || page.Unsorted != c.unsorted || page.First.String()+" "+page.Last.String() != c.places {
			t.Errorf("%s: unsorted %v, %s %s, %v", name, page.Unsorted, page.First, page.Last, err)
		}
	}
}
