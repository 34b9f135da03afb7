package models

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// Refresh says which rows of a mart a change of one thing that it reads reaches.
type Refresh struct {
	// Read is a dataset or an earlier mart.
	Read string
	// Keys is a query that gives values of the mart's key. In it `touched` stands for what has changed: the hash keys of a dataset's touched rows (all of whose versions, old ones too, are in
	// the satellite) with its business key, or the rows that an earlier mart has lost and won. In a mart with Near the query gives that number behind each key.
	Keys string
}

// Narrow is a table of which only a part is read when some keys are computed anew.
type Narrow struct {
	// Table is a satellite or a mart, and By the expression over it that has one of the values.
	Table, By string
	// Among is a query of the values; without one they are the keys to be computed anew, which `scope` has.
	Among string
}

// Refreshes are all of a mart's: driven_by is the short form of one.
func (m Mart) Refreshes() []Refresh {
	if m.DrivenBy == "" {
		return m.Refresh
	}
	columns := m.Key
	if m.Near != "" {
		columns += ", " + m.Near
	}
	return append([]Refresh{{Read: m.DrivenBy, Keys: "SELECT " + columns + " FROM touched"}}, m.Refresh...)
}

// RefreshOf finds how a change of something reaches the mart; false when it makes the whole of it anew.
func (m Mart) RefreshOf(read string) (Refresh, bool) {
	all := m.Refreshes()
	i := slices.IndexFunc(all, func(r Refresh) bool { return r.Read == read })
	if i < 0 {
		return Refresh{}, false
	}
	return all[i], true
}

// maps reads a list of maps of texts.
func (r *reader) maps(list *yaml.Node, field string, known, required []string, each func(value func(string) string)) {
	if list == nil {
		return
	}
	if list.Kind != yaml.SequenceNode {
		r.problem(list, field, "must be a list of maps")
		return
	}
	for i, n := range list.Content {
		at := fmt.Sprintf("%s[%d]", field, i)
		f := r.mapping(n, at, known)
		if f == nil {
			continue
		}
		for _, name := range required {
			r.text(n, f, at, name)
		}
		each(func(name string) string { return r.optionalText(f, at, name) })
	}
}

// refreshes reads how the mart is kept up to date.
func (r *reader) refreshes(m *Mart, root *yaml.Node, fields map[string]*yaml.Node) {
	r.maps(fields["refresh"], "refresh", []string{"read", "keys"}, []string{"read", "keys"}, func(value func(string) string) {
		m.Refresh = append(m.Refresh, Refresh{Read: value("read"), Keys: value("keys")})
	})
	r.maps(fields["narrow"], "narrow", []string{"table", "by", "among"}, []string{"table", "by"}, func(value func(string) string) {
		m.Narrow = append(m.Narrow, Narrow{Table: value("table"), By: value("by"), Among: value("among")})
	})
	if (m.DrivenBy == "" && len(m.Refresh) == 0) != (m.Key == "") {
		r.problem(root, "driven_by", "and key belong together (or refresh and key): have both or none")
	}
	m.Near, m.Sums, m.Count = r.optionalText(fields, "", "near"), r.optionalText(fields, "", "sums"), r.optionalText(fields, "", "count")
	switch {
	case m.Near != "" && m.Key == "":
		r.problem(fields["near"], "near", "needs a key, which it stands beside")
	case (m.Sums == "") != (m.Count == ""):
		r.problem(root, "sums", "and count belong together: have both or none")
	case m.Sums != "" && !slices.ContainsFunc(m.Refresh, func(f Refresh) bool { return f.Read == m.Sums }):
		r.problem(fields["sums"], "sums", "%q is not among refresh, which says what is computed when something else has changed too", m.Sums)
	}
	if m.DrivenBy != "" && !slices.Contains(m.Reads, m.DrivenBy) {
		r.problem(fields["driven_by"], "driven_by", "%q is not among reads", m.DrivenBy)
	}
	for i, refresh := range m.Refresh {
		if refresh.Read != "" && !slices.Contains(m.Reads, refresh.Read) {
			r.problem(fields["refresh"], fmt.Sprintf("refresh[%d].read", i), "%q is not among reads", refresh.Read)
		}
	}
}
