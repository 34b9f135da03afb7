package warehouse

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// keys are columns that say which row it is, or that it is still open, and are no figures.
var keys = []string{"hk_project", "month_end", "is_open"}

func TestEveryColumnOfTheKPIsIsTracedToLinesOfRawFilesAndTheirEvents(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	for _, mart := range []string{"mart_kpi_project", "mart_kpi_company"} {
		columns, err := columnsOf(t.Context(), b.db, mart)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range columns {
			if slices.Contains(keys, c.Name) {
				continue
			}
			for _, month := range []time.Month{time.March, time.May} { // one in pesos, one with dollars and UF
				cell := Cell{Mart: mart, Column: c.Name, Project: "2", Month: time.Date(2025, month, 1, 0, 0, 0, 0, time.UTC)}
				traced, err := b.Trace(t.Context(), cell)
				if err != nil {
					t.Errorf("%s.%s: %v", mart, c.Name, err)
					continue
				}
				b.judge(t, mart+"."+c.Name+" of "+cell.Month.Format("2006-01"), traced)
			}
		}
	}
}

// judge looks at a trace: declared all the way, sums that are the values, and rows that name a file that is there, its hash, line and event.
func (b *bench) judge(t *testing.T, cell string, traced Traced) {
	t.Helper()
	for _, s := range traced.Steps {
		if strings.HasPrefix(s.MadeOf, "whatever") {
			t.Errorf("%s: nobody says what %s.%s is made of", cell, s.Mart, s.Column)
		}
		if s.Agrees != nil && !*s.Agrees && s.Value != "NULL" {
			t.Errorf("%s: %s.%s is %s, its rows add up to %s", cell, s.Mart, s.Column, s.Value, s.Sum)
		}
	}
	for _, r := range traced.Rows {
		content := strings.Split(string(b.shelf[r.Raw.URL]), "\n")
		if r.Raw.Line < 2 || int(r.Raw.Line) > len(content) || !strings.HasPrefix(content[r.Raw.Line-1], r.Key+",") {
			t.Errorf("%s: %s %s is said to be in line %d of %s", cell, r.Satellite, r.Key, r.Raw.Line, r.Raw.URL)
		}
		if len(r.Raw.SHA256) != 64 || r.Raw.Event == "" || r.Raw.Sequence == 0 || r.Raw.Batch == "" {
			t.Errorf("%s: no way back from %+v", cell, r)
		}
	}
	if value := strings.Trim(traced.Steps[0].Value, "0."); len(traced.Rows) == 0 && value != "" { // nothing is made of nothing
		t.Errorf("%s: it leads to no row of a raw file: %+v", cell, traced.Steps)
	}
}
