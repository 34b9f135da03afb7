package models

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// parsedDataset is a dataset with the lines that later messages point to.
type parsedDataset struct {
	Dataset
	line            int
	referencesLines map[string]int // by column
}

// reader walks one file and gathers its problems, so that all of them are told at once.
type reader struct {
	file     string
	problems []Problem
}

func (r *reader) problem(n *yaml.Node, field, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Field: field, Text: fmt.Sprintf(format, args...)})
}

var (
	datasetFields = []string{"dataset", "source", "description", "key", "cursor", "drift", "columns"}
	columnFields  = []string{"name", "description", "type", "required", "values", "pii", "references"}
	name          = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// parseDataset reads one file. The dataset is only usable when there are no problems.
func parseDataset(file string, text []byte) (parsedDataset, []Problem) {
	r := &reader{file: file}
	d := parsedDataset{Dataset: Dataset{File: file}, referencesLines: map[string]int{}}
	root, fields := r.document(text, datasetFields)
	if fields == nil {
		return d, r.problems
	}
	d.line = root.Line
	d.Name = r.identifier(root, fields, "", "dataset")
	d.Key = r.identifier(root, fields, "", "key")
	d.Cursor = r.identifier(root, fields, "", "cursor")
	d.Description = r.optionalText(fields, "", "description")
	d.Drift = Evolve
	if fields["drift"] != nil {
		d.Drift = Drift(r.text(root, fields, "", "drift"))
		if !slices.Contains([]Drift{"", Evolve, Freeze, DiscardRow}, d.Drift) {
			r.problem(fields["drift"], "drift", "%q is not a policy; policies are evolve, freeze, discard_row", string(d.Drift))
		}
	}
	if stem := strings.TrimSuffix(path.Base(file), path.Ext(file)); d.Name != "" && d.Name != stem {
		r.problem(fields["dataset"], "dataset", "is %q but the file is named %q; they must agree", d.Name, stem)
	}
	if source := r.optionalText(fields, "", "source"); source != "" {
		d.Own = source == "warehouse"
		if !d.Own {
			r.problem(fields["source"], "source", "%q is not a source; it is warehouse, or left out for an export of Odoo", source)
		}
	}
	r.columns(root, fields["columns"], &d)
	if len(r.problems) == 0 {
		r.keyAndCursor(fields, d.Dataset)
	}
	return d, r.problems
}

func (r *reader) columns(root, list *yaml.Node, d *parsedDataset) {
	if list == nil {
		r.problem(root, "columns", "is missing")
		return
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		r.problem(list, "columns", "must be a list of columns")
		return
	}
	seen := map[string]int{}
	for i, n := range list.Content {
		c := r.column(n, fmt.Sprintf("columns[%d]", i), d)
		if first, twice := seen[c.Name]; twice && c.Name != "" {
			r.problem(n, fmt.Sprintf("columns[%d].name", i), "%q is already defined at line %d", c.Name, first)
		}
		seen[c.Name] = n.Line
		d.Columns = append(d.Columns, c)
	}
}

func (r *reader) column(n *yaml.Node, at string, d *parsedDataset) Column {
	fields := r.mapping(n, at, columnFields)
	if fields == nil {
		return Column{}
	}
	c := Column{
		Name:        r.identifier(n, fields, at, "name"),
		Description: r.optionalText(fields, at, "description"),
		References:  r.optionalText(fields, at, "references"),
		PII:         PII(r.optionalText(fields, at, "pii")),
	}
	if text := r.text(n, fields, at, "type"); text != "" {
		t, err := ParseType(text)
		if err != nil {
			r.problem(fields["type"], at+".type", "%s", err)
		}
		c.Type = t
	}
	if required := fields["required"]; required != nil && required.Decode(&c.Required) != nil {
		r.problem(required, at+".required", "%q is not true or false", required.Value)
	}
	if c.References != "" {
		d.referencesLines[c.Name] = fields["references"].Line
	}
	if c.PII != "" && !slices.Contains([]PII{RUT, Email, Phone}, c.PII) {
		r.problem(fields["pii"], at+".pii", "%q is not a kind of personal data; kinds are rut, email, phone", c.PII)
	}
	if c.PII != "" && c.Type.Kind != Text && c.Type.Kind != "" {
		r.problem(fields["pii"], at+".pii", "personal data is text, this column is %s", c.Type)
	}
	c.Values = r.values(n, fields["values"], at, c.Type.Kind)
	return c
}

func (r *reader) values(column, list *yaml.Node, at string, kind Kind) []string {
	if list == nil {
		if kind == Enum {
			r.problem(column, at+".values", "is missing; an enum lists its values")
		}
		return nil
	}
	if kind != Enum && kind != "" {
		r.problem(list, at+".values", "only an enum has values, this column is %s", kind)
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		r.problem(list, at+".values", "must be a list of texts")
		return nil
	}
	var values []string
	for i, n := range list.Content {
		switch {
		case n.Kind != yaml.ScalarNode || n.Value == "":
			r.problem(n, fmt.Sprintf("%s.values[%d]", at, i), "must be a text")
		case slices.Contains(values, n.Value):
			r.problem(n, fmt.Sprintf("%s.values[%d]", at, i), "%q is listed twice", n.Value)
		}
		values = append(values, n.Value)
	}
	return values
}

func (r *reader) keyAndCursor(fields map[string]*yaml.Node, d Dataset) {
	key, ok := d.Column(d.Key)
	if !ok {
		r.problem(fields["key"], "key", "%q is not a column of this dataset", d.Key)
	} else if key.Type.Kind != Integer || !key.Required {
		r.problem(fields["key"], "key", "column %q must be a required integer", d.Key)
	}
	cursor, ok := d.Column(d.Cursor)
	if !ok {
		r.problem(fields["cursor"], "cursor", "%q is not a column of this dataset", d.Cursor)
	} else if cursor.Type.Kind != Timestamp {
		r.problem(fields["cursor"], "cursor", "column %q must be a timestamp, it is %s", d.Cursor, cursor.Type)
	}
}

// checkTogether looks at what no file can tell alone.
func checkTogether(parsed []parsedDataset) []Problem {
	byName := map[string]string{}
	var problems []Problem
	for _, d := range parsed {
		if other, twice := byName[d.Name]; twice && d.Name != "" {
			problems = append(problems, Problem{File: d.File, Line: d.line, Field: "dataset", Text: fmt.Sprintf("%q is already defined in %s", d.Name, other)})
		}
		byName[d.Name] = d.File
	}
	for _, d := range parsed {
		for i, c := range d.Columns {
			if _, known := byName[c.References]; c.References != "" && !known {
				problems = append(problems, Problem{File: d.File, Line: d.referencesLines[c.Name], Field: fmt.Sprintf("columns[%d].references", i),
					Text: fmt.Sprintf("%q is not a dataset", c.References)})
			}
		}
	}
	return problems
}
