package board

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/events"
)

// LedgerFilter chooses a month, of the company or of a project.
type LedgerFilter struct {
	Project *int64
	Month   time.Time // its first day
	Most    int       // documents that are wanted; 0 for all
}

// Ledger is what a month's figures are made of, as published at one instant. Amounts are the database's own text; nil is unknown.
type Ledger struct {
	From      events.Region  `json:"from"` // whose database told it
	Month     string         `json:"month_end"`
	Kpi       *Kpi           `json:"kpi"`                 // nil where nothing is published of that month
	Documents []Document     `json:"documents"`           // of a project, oldest first
	All       int64          `json:"all"`                 // how many documents there are
	Revenue   string         `json:"revenue_documents"`   // what they add up to
	Cost      string         `json:"cost_documents"`      // the same
	Projects  []ProjectMonth `json:"projects"`            // of the company
	Closed    *Closed        `json:"closed,omitempty"`    // nil where nobody has closed the month
	Published *Publication   `json:"published,omitempty"` // nil where the reader may not look at it
}

// Document is one of a project's month: a document to a client, or a cost line.
type Document struct {
	Kind     string  `json:"kind"`   // invoice, credit_note or cost
	Number   int64   `json:"number"` // in Odoo
	Date     string  `json:"date"`
	About    *string `json:"about"`  // the client, or the cost's category
	Amount   *string `json:"amount"` // without tax, in Currency, negative for a credit note
	Currency string  `json:"currency"`
	Counted  *string `json:"counted"` // what the KPIs count, company currency; nil without a rate
}

// ProjectMonth is a project's part of the company's month.
type ProjectMonth struct {
	ID         int64   `json:"id"`
	Name       string  `json:"name"`
	Revenue    *string `json:"revenue"`
	DirectCost *string `json:"direct_cost"`
	Margin     *string `json:"gross_margin"`
	Backlog    *string `json:"backlog"`
	Wip        *string `json:"wip"`
}

// Closed is a month that was closed: what was reported then beside what the documents say now.
type Closed struct {
	At        time.Time  `json:"at"`
	By        *string    `json:"by"`
	Reason    *string    `json:"reason"`
	Figures   []Frozen   `json:"figures"`
	Documents []Restated `json:"documents"`
}

// Frozen is a figure of a closed month.
type Frozen struct {
	Measure    string  `json:"measure"` // a column of the KPIs
	Reported   *string `json:"reported"`
	Now        *string `json:"now"`
	Difference *string `json:"difference"`
	Differs    bool    `json:"differs"`
}

// Restated is a document that is not what it was when its month was closed.
type Restated struct {
	Dataset  string  `json:"dataset"`
	Document string  `json:"document"`
	What     string  `json:"what"` // late, changed or gone
	Project  *int64  `json:"project"`
	Reported *string `json:"reported"`
	Now      *string `json:"now"`
}

// Held is a check that keeps rows of a mart out, holds the mart back, or warns.
type Held struct {
	Mart     string  `json:"mart"`
	Check    string  `json:"check"`
	Severity string  `json:"severity"`
	Failing  int64   `json:"failing"`
	Amount   *string `json:"amount,omitempty"` // of the rows that are kept out
	Blocks   bool    `json:"blocks,omitempty"` // readers see the mart of an older load
	Reason   string  `json:"reason,omitempty"`
}

// ParseLedgerFilter reads a filter from an address, and names the field and the value that it cannot read.
func ParseLedgerFilter(query url.Values) (LedgerFilter, error) {
	months, err := ParseFigureFilter(url.Values{"project": query["project"]})
	if err != nil {
		return LedgerFilter{}, err
	}
	month, err := time.Parse("2006-01", query.Get("month"))
	if err != nil {
		return LedgerFilter{}, fmt.Errorf("month %s: want a month such as 2026-10", strconv.Quote(query.Get("month")))
	}
	return LedgerFilter{Project: months.Project, Month: month}, nil
}
