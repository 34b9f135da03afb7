package models

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// Trace is what some columns of a mart are made of: other columns of the row, the same columns of another mart's row of the same project and month, or rows of a dataset.
type Trace struct {
	Columns []string
	// From are columns of the same row.
	From []string
	// Mart is another mart, and As the name of the column's trace there where it is not the same.
	Mart, As string
	// Dataset has the rows. Where chooses among the current ones of the project, and Amount is what each adds: the cell is their sum. Both are SQL over the satellite, in which {month_end} is
	// the last day of the month. Without an amount the rows are told and not added up.
	Dataset, Where, Amount string
}

// Trace finds what a column is made of.
func (m Mart) Trace(column string) (Trace, bool) {
	i := slices.IndexFunc(m.Traces, func(t Trace) bool { return slices.Contains(t.Columns, column) })
	if i < 0 {
		return Trace{}, false
	}
	return m.Traces[i], true
}

var traceFields = []string{"columns", "from", "mart", "as", "dataset", "where", "amount"}

// traces reads the list of what columns are made of.
func (r *reader) traces(list *yaml.Node) []Trace {
	if list == nil {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		r.problem(list, "trace", "must be a list of maps, as - {columns: [backlog], from: [contract_value, earned_revenue]}")
		return nil
	}
	var traces []Trace
	for i, n := range list.Content {
		at := fmt.Sprintf("trace[%d]", i)
		f := r.mapping(n, at, traceFields)
		if f == nil {
			continue
		}
		t := Trace{Mart: r.optionalText(f, at, "mart"), As: r.optionalText(f, at, "as"), Dataset: r.optionalText(f, at, "dataset"), Where: r.optionalText(f, at, "where"), Amount: r.optionalText(f, at, "amount")}
		if f["from"] != nil {
			t.From = r.names(f["from"], at+".from")
		}
		if f["columns"] == nil {
			r.problem(n, at+".columns", "is missing; it lists the columns that are made so")
			continue
		}
		t.Columns = r.names(f["columns"], at+".columns")
		ways := 0
		for _, there := range []bool{len(t.From) > 0, t.Mart != "", t.Dataset != ""} {
			if there {
				ways++
			}
		}
		if ways != 1 {
			r.problem(n, at, "needs one of from, mart and dataset")
		}
		traces = append(traces, t)
	}
	return traces
}

// wrongTraces says which traces lead to what the mart does not read.
func (m parsedMart) wrongTraces(byName map[string]parsedMart) []Problem {
	var problems []Problem
	for i, t := range m.Traces {
		for field, target := range map[string]string{"mart": t.Mart, "dataset": t.Dataset} {
			_, mart := byName[target]
			if target != "" && (!slices.Contains(m.Reads, target) || mart != (field == "mart")) {
				problems = append(problems, Problem{File: m.File, Line: m.lines["trace"], Field: fmt.Sprintf("trace[%d].%s", i, field), Text: fmt.Sprintf("%q is not among reads", target)})
			}
		}
	}
	return problems
}
