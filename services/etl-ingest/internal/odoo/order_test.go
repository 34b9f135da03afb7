package odoo

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

func TestRowsOfOneMomentAreComparedByIDWhateverCameBetween(t *testing.T) {
	for name, c := range map[string]struct {
		rows      string
		unsorted  bool
		misplaced int64
		places    string
	}{
		"ties behind rows compared by text": {"1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:01Z\n7,c,2026-11-24T12:00:02Z\n8,d,2026-11-24T12:00:02Z\n11,e,2026-11-24T12:00:02Z\n", false, 0, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:02.000000Z#11"},
		"a tie goes back":                   {"1,a,2026-11-24T12:00:00Z\n9,b,2026-11-24T12:00:01Z\n3,c,2026-11-24T12:00:01Z\n", true, 0, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:01.000000Z#9"},
		"ties of an earlier moment":         {"9,a,2026-11-24T12:00:05Z\n3,b,2026-11-24T12:00:01Z\n2,c,2026-11-24T12:00:01Z\n", true, 0, "2026-11-24T12:00:01.000000Z#2 2026-11-24T12:00:05.000000Z#9"},
		"a bad id among ties":               {"1,a,2026-11-24T12:00:00Z\nx,b,2026-11-24T12:00:00Z\n3,c,2026-11-24T12:00:00Z\n", false, 1, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:00.000000Z#3"},
		"ties of no moment":                 {"1,a,2026-11-24T12:00:00Z\n2,b,2026-11-24T12:00:99Z\n3,c,2026-11-24T12:00:99Z\n", false, 2, "2026-11-24T12:00:00.000000Z#1 2026-11-24T12:00:00.000000Z#1"},
	} {
		r := &rows{format: "csv", columns: columns}
		if _, err := io.WriteString(r, "invoice_id,name,write_date\n"+c.rows); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var page extract.Page
		if err := r.order.end(r, &page); err != nil || page.Unsorted != c.unsorted || r.misplaced != c.misplaced || page.First.String()+" "+page.Last.String() != c.places {
			t.Errorf("%s: unsorted %v, misplaced %d, %s %s, %v", name, page.Unsorted, r.misplaced, page.First, page.Last, err)
		}
	}
}

func BenchmarkOrder(b *testing.B) {
	for _, ties := range []int{1, 100} {
		var body bytes.Buffer
		body.WriteString("invoice_id,name,write_date\n")
		for n := range 20_000 {
			at := n / ties
			fmt.Fprintf(&body, "%d,a customer of some name,2026-11-24T%02d:%02d:%02dZ\n", n+1, at/3600, at/60%60, at%60)
		}
		b.Run(fmt.Sprintf("%d-rows-a-moment", ties), func(b *testing.B) {
			b.SetBytes(int64(body.Len()))
			for b.Loop() {
				r := &rows{format: "csv", columns: columns}
				if _, err := r.Write(body.Bytes()); err != nil {
					b.Fatal(err)
				}
				var page extract.Page
				if err := r.order.end(r, &page); err != nil || page.Unsorted {
					b.Fatal(page.Unsorted, err)
				}
			}
		})
	}
}
