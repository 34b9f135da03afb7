package models

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Mart is one table that readers see: a SELECT over the vault and earlier marts, and what must be known to keep it up to date.
// It is shared and read-only, as a Dataset is.
type Mart struct {
	// Name is the table's name, mart_*, and the file's name without .yml; SQL is the text of the file beside it that ends in .sql.
	Name        string
	Description string
	SQL         string
	// Grain are the columns that identify a row.
	Grain []string
	// DrivenBy is the dataset whose touched rows are computed anew, found by the column Key, which has that dataset's hash key. Both are empty
	// for a mart that is computed whole whenever one of the datasets that it reads was touched.
	DrivenBy string
	Key      string
	// Near is a column of whole numbers that stands for the key, one number a key, and in whose order rows come (an id of the source): rows are looked for by it, which passes over what is
	// not near the touched ones. Empty for none.
	Near string
	// Sums is a mart whose rows this one counts and adds up: each column outside the grain is a count or a sum over them that is never NULL, and Count one that is 0 for a group without rows. What
	// rows that the other mart has lost and won make of it is added then, and the others are not read again. Both are empty for other marts.
	Sums, Count string
	// Refresh says how changes of other things that it reads reach it; what is not named there makes the whole mart anew. Narrow names what need not be read as a whole then.
	Refresh []Refresh
	Narrow  []Narrow
	// Period is the column whose month a row belongs to, for telling which months were restated; empty for none.
	Period string
	// Reads are the datasets and marts that the SQL reads.
	Reads []string
	// Amount is the column whose sum says how much is missing when rows are in quarantine; empty for none.
	Amount string
	// Traces say what columns are made of, for `etl trace`; a column without one is traced to all that the mart reads.
	Traces []Trace
	File   string
}

var martFields = []string{"mart", "description", "grain", "driven_by", "key", "near", "sums", "count", "refresh", "narrow", "period", "reads", "amount", "trace"}

type parsedMart struct {
	Mart
	lines map[string]int
}

func parseMart(layer fs.FS, file string, text []byte) (parsedMart, []Problem) {
	r := &reader{file: file}
	m := parsedMart{Mart: Mart{File: file}, lines: map[string]int{}}
	root, fields := r.document(text, martFields)
	if fields == nil {
		return m, r.problems
	}
	m.Name = r.prefixed(root, fields, "", "mart", "mart_")
	m.Description = r.optionalText(fields, "", "description")
	m.DrivenBy, m.Key = r.optionalText(fields, "", "driven_by"), r.optionalText(fields, "", "key")
	m.Amount = r.optionalText(fields, "", "amount")
	m.Grain, m.Reads = r.names(fields["grain"], "grain"), r.names(fields["reads"], "reads")
	m.Traces = r.traces(fields["trace"])
	m.Period = r.optionalText(fields, "", "period")
	r.refreshes(&m.Mart, root, fields)
	if len(m.Grain) == 0 {
		r.problem(root, "grain", "is missing; it lists the columns that identify a row")
	}
	stem := strings.TrimSuffix(file, path.Ext(file))
	if m.Name != "" && m.Name != path.Base(stem) {
		r.problem(fields["mart"], "mart", "is %q but the file is named %q; they must agree", m.Name, path.Base(stem))
	}
	query, err := fs.ReadFile(layer, stem+".sql")
	if err != nil {
		r.problem(root, "", "has no %s beside it", path.Base(stem)+".sql")
	}
	m.SQL = strings.TrimRight(strings.TrimSpace(string(query)), ";")
	if err == nil && m.SQL == "" {
		r.problem(root, "", "%s is empty", path.Base(stem)+".sql")
	}
	for field, n := range fields {
		m.lines[field] = n.Line
	}
	return m, r.problems
}

// orderMarts puts each mart behind those that it reads, and says what it reads that is not there.
func orderMarts(parsed []parsedMart, vaults []parsedVault) ([]Mart, []Problem) {
	var problems []Problem
	byName := map[string]parsedMart{}
	for _, m := range parsed {
		byName[m.Name] = m
	}
	for _, m := range parsed {
		for i, read := range m.Reads {
			_, mart := byName[read]
			if !mart && !slices.ContainsFunc(vaults, func(v parsedVault) bool { return v.Dataset == read }) {
				problems = append(problems, Problem{File: m.File, Line: m.lines["reads"], Field: fmt.Sprintf("reads[%d]", i), Text: fmt.Sprintf("%q is neither a dataset of the vault nor a mart", read)})
			}
		}
	}
	for _, m := range parsed {
		problems = append(problems, m.wrongTraces(byName)...)
	}
	var ordered []Mart
	state := map[string]int{} // 1 being placed, 2 placed
	var place func(name string) bool
	place = func(name string) bool {
		m, known := byName[name]
		if !known || state[name] == 2 {
			return true
		}
		if state[name] == 1 {
			return false
		}
		state[name] = 1
		for _, read := range m.Reads {
			if !place(read) {
				problems = append(problems, Problem{File: m.File, Line: m.lines["reads"], Field: "reads", Text: fmt.Sprintf("%q leads back to this mart", read)})
			}
		}
		state[name] = 2
		ordered = append(ordered, m.Mart)
		return true
	}
	for _, m := range parsed {
		place(m.Name)
	}
	return ordered, problems
}
