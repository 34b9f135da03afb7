package board

import (
	"time"

	"github.com/ofitec/ofitec/events"
)

// Kpi is a month of the company or of a project as published. Amounts are the database's own text; nil is unknown, or is not told of a project.
type Kpi struct {
	Month      string  `json:"month_end"`
	Open       bool    `json:"open,omitempty"` // not over yet
	Revenue    *string `json:"revenue"`
	DirectCost *string `json:"direct_cost"`
	Margin     *string `json:"gross_margin"`
	Backlog    *string `json:"backlog"`
	Wip        *string `json:"wip"`
	Cash       *string `json:"cash,omitempty"`
	Days       *string `json:"days_of_cash,omitempty"`
	Planned    *string `json:"pv,omitempty"` // planned, earned and actual of a project: the S-curve
	Earned     *string `json:"ev,omitempty"`
	Actual     *string `json:"ac,omitempty"`
}

// Project is one that the reader can choose.
type Project struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Publication says when the marts were published and from which load.
type Publication struct {
	Load int64     `json:"load"`
	At   time.Time `json:"at"`
}

// Kpis are the months that a filter chooses, with what was published at the same instant.
type Kpis struct {
	From        events.Region `json:"from"` // whose database told it
	Publication *Publication  `json:"publication,omitempty"`
	Projects    []Project     `json:"projects"`
	Months      []Kpi         `json:"months"`
	Held        []Held        `json:"held"` // what checks have found
}
