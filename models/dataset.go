// Package models says what the warehouse is made of, as data: one YAML file a dataset under datasets/. The files are the
// source of truth for column names, types, keys and personal data; both ETL services and the Odoo stand-in read them.
package models

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Dataset is one export of Odoo, `/of/export/<Name>`.
// A Dataset that Load returned is complete and consistent; it is shared, so callers do not change it.
type Dataset struct {
	// Name is also the file's name without .yml.
	Name        string
	Description string
	// Key is the column that identifies a row; an integer that is never NULL.
	Key string
	// Cursor is the timestamp column that orders changes.
	Cursor string
	// Own says that the warehouse writes the dataset itself: nobody exports it.
	Own bool
	// Drift is what becomes of rows when the source has other columns than these.
	Drift Drift
	// Columns in the order of the file, which is the order of a CSV export.
	Columns []Column
	// File is where the dataset was read from, for messages.
	File string
}

// Column is one field of a dataset's rows.
type Column struct {
	Name        string
	Description string
	Type        Type
	// Required columns are never NULL; a row without one is a failing row.
	Required bool
	// Values are what an enum column may hold; empty for other kinds.
	Values []string
	// PII is set for personal data, which leaves the raw layer only as a token.
	PII PII
	// References names the dataset whose key this column holds; empty for none.
	References string
}

// Drift is a policy for columns that come or go in the source. Raw files keep what was received in any case.
type Drift string

// The policies. Evolve takes the rows: a column that the dataset does not name is told of and not loaded until it is named, one that is missing is NULL. Freeze
// pulls nothing of such an export until source and dataset agree. DiscardRow takes the rows but for those that hold a value in a column that is not named, which are rejected.
const (
	Evolve     Drift = "evolve"
	Freeze     Drift = "freeze"
	DiscardRow Drift = "discard_row"
)

// Column finds a column by name.
func (d Dataset) Column(name string) (Column, bool) {
	i := slices.IndexFunc(d.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return d.Columns[i], true
}

// Names lists the columns' names in order.
func (d Dataset) Names() []string {
	names := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		names[i] = c.Name
	}
	return names
}

// Kind is a column's type without its precision.
type Kind string

// The kinds. Date is a calendar day that no zone shifts; Timestamp is an instant, UTC, to the microsecond; Enum is text
// with listed values; Decimal is exact and never a float.
const (
	Integer   Kind = "integer"
	Decimal   Kind = "decimal"
	Text      Kind = "text"
	Boolean   Kind = "boolean"
	Date      Kind = "date"
	Timestamp Kind = "timestamp"
	Enum      Kind = "enum"
)

// Type is a kind with, for decimals, how many digits there are in all and after the point.
type Type struct {
	Kind      Kind
	Precision int
	Scale     int
}

// String writes the type as the YAML does: `decimal(18,2)`, `date`.
func (t Type) String() string {
	if t.Kind == Decimal {
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	}
	return string(t.Kind)
}

// maxPrecision is what a 128-bit decimal holds, DuckDB's largest.
const maxPrecision = 38

// ParseType reads a type as the YAML writes it.
func ParseType(text string) (Type, error) {
	switch k := Kind(text); k {
	case Integer, Text, Boolean, Date, Timestamp, Enum:
		return Type{Kind: k}, nil
	case Decimal:
		return Type{}, fmt.Errorf("decimal needs digits in all and after the point, as in decimal(18,2)")
	}
	inner, ok := strings.CutPrefix(text, "decimal(")
	inner, closed := strings.CutSuffix(inner, ")")
	if !ok || !closed {
		return Type{}, fmt.Errorf("%q is not a type; types are integer, decimal(p,s), text, boolean, date, timestamp, enum", text)
	}
	p, s, _ := strings.Cut(inner, ",")
	precision, errP := strconv.Atoi(strings.TrimSpace(p))
	scale, errS := strconv.Atoi(strings.TrimSpace(s))
	if errP != nil || errS != nil {
		return Type{}, fmt.Errorf("%q is not decimal(digits in all, digits after the point)", text)
	}
	if precision < 1 || precision > maxPrecision || scale < 0 || scale > precision {
		return Type{}, fmt.Errorf("%q: digits in all must be 1 to %d, digits after the point 0 to that", text, maxPrecision)
	}
	return Type{Kind: Decimal, Precision: precision, Scale: scale}, nil
}

// PII is the kind of personal datum that a column holds; it decides how a value is normalised before it becomes a token.
type PII string

// The kinds of personal data: Chilean tax number, e-mail address, telephone number.
const (
	RUT   PII = "rut"
	Email PII = "email"
	Phone PII = "phone"
)
