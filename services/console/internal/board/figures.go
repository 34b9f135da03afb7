package board

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// FigureFilter chooses which rows of the projects' KPIs are wanted. What is zero does not choose.
type FigureFilter struct {
	Project  *int64
	From, To time.Time // the first day of the first and of the last month
}

// Figure is a project's month as published. Amounts are the database's own text, to the last digit; nil is unknown.
type Figure struct {
	Project   int64
	Name      *string
	Month     string
	Open      bool
	Published [8]*string // in the order of FigureColumns
}

// FigureColumns are the published columns of mart_kpi_project that a Figure carries.
var FigureColumns = [8]string{"revenue", "direct_cost", "gross_margin", "revenue_to_date", "direct_cost_to_date", "earned_revenue", "backlog", "wip"}

// ParseFigureFilter reads a filter from an address, and names the field and the value that it cannot read.
func ParseFigureFilter(query url.Values) (FigureFilter, error) {
	var f FigureFilter
	if text := query.Get("project"); text != "" {
		project, err := strconv.ParseInt(text, 10, 64)
		if err != nil || project < 0 {
			return f, fmt.Errorf("project %q: want a project's number in Odoo, such as 42, or 0 for the unknown one", text)
		}
		f.Project = &project
	}
	for name, month := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		at, err := time.Parse("2006-01", text)
		if err != nil {
			return f, fmt.Errorf("%s %q: want a month such as 2026-10", name, text)
		}
		*month = at
	}
	if !f.From.IsZero() && !f.To.IsZero() && f.To.Before(f.From) {
		return f, fmt.Errorf("to %q: want a month that is not before from %q", query.Get("to"), query.Get("from"))
	}
	return f, nil
}
