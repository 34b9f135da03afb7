package models

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Vault says how one dataset is kept in the Data Vault: its hub, its satellite, and a link for each column that names another dataset's row.
// It is shared and read-only, as a Dataset is.
type Vault struct {
	// Dataset is the dataset's name and also the file's name without .yml.
	Dataset     string
	Description string
	// Hub is the table of keys, Key the column with the hash of the business key.
	Hub string
	Key string
	// BusinessKey are the columns whose values identify the thing, in order.
	BusinessKey []string
	// Satellite is the table of versions.
	Satellite string
	Links     []Link
	File      string
}

// Link joins a dataset's rows, which drive it, to rows of another dataset.
type Link struct {
	// Table has a row for each pair that ever was, Effectivity its periods.
	Table       string
	Effectivity string
	// Column is the driving dataset's column that names the other row; it references that row's dataset.
	Column string
	// Key is the name of the other row's hash key, in link, effectivity and satellite. It tells roles apart: hk_credit_note beside hk_invoice.
	Key string
	// LinkKey is the name of the hash over both business keys.
	LinkKey string
}

var (
	vaultFields = []string{"vault", "description", "hub", "key", "business_key", "satellite", "links"}
	linkFields  = []string{"table", "effectivity", "column", "key", "link_key"}
)

// parsedVault is a vault with the lines that later messages point to.
type parsedVault struct {
	Vault
	lines map[string]int // by field
}

func parseVault(file string, text []byte) (parsedVault, []Problem) {
	r := &reader{file: file}
	v := parsedVault{Vault: Vault{File: file}, lines: map[string]int{}}
	root, fields := r.document(text, vaultFields)
	if fields == nil {
		return v, r.problems
	}
	v.Dataset = r.identifier(root, fields, "", "vault")
	v.Description = r.optionalText(fields, "", "description")
	v.Hub = r.prefixed(root, fields, "", "hub", "vault_h_")
	v.Key = r.prefixed(root, fields, "", "key", "hk_")
	v.Satellite = r.prefixed(root, fields, "", "satellite", "vault_s_")
	v.BusinessKey = r.names(fields["business_key"], "business_key")
	if len(v.BusinessKey) == 0 && len(r.problems) == 0 {
		r.problem(root, "business_key", "is missing; it lists the columns that identify the thing")
	}
	if stem := strings.TrimSuffix(path.Base(file), path.Ext(file)); v.Dataset != "" && v.Dataset != stem {
		r.problem(fields["vault"], "vault", "is %q but the file is named %q; they must agree", v.Dataset, stem)
	}
	for field, n := range fields {
		v.lines[field] = n.Line
	}
	if list := fields["links"]; list != nil {
		if list.Kind != yaml.SequenceNode {
			r.problem(list, "links", "must be a list of links")
			return v, r.problems
		}
		for i, n := range list.Content {
			at := fmt.Sprintf("links[%d]", i)
			if f := r.mapping(n, at, linkFields); f != nil {
				v.Links = append(v.Links, Link{
					Table: r.prefixed(n, f, at, "table", "vault_l_"), Effectivity: r.prefixed(n, f, at, "effectivity", "vault_e_"),
					Column: r.identifier(n, f, at, "column"), Key: r.prefixed(n, f, at, "key", "hk_"), LinkKey: r.prefixed(n, f, at, "link_key", "hk_"),
				})
				v.lines[at] = n.Line
			}
		}
	}
	return v, r.problems
}

// prefixed reads a name that must begin in a certain way, so that a table's kind can be told from its name.
func (r *reader) prefixed(parent *yaml.Node, fields map[string]*yaml.Node, at, field, prefix string) string {
	value := r.identifier(parent, fields, at, field)
	if value != "" && !strings.HasPrefix(value, prefix) {
		r.problem(fields[field], joinField(at, field), "%q must begin with %s", value, prefix)
	}
	return value
}

// names reads a list of names; nil for none.
func (r *reader) names(list *yaml.Node, at string) []string {
	if list == nil {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		r.problem(list, at, "must be a list of names")
		return nil
	}
	var all []string
	for i, n := range list.Content {
		if n.Kind != yaml.ScalarNode || !name.MatchString(n.Value) {
			r.problem(n, fmt.Sprintf("%s[%d]", at, i), "%q is not a name", n.Value)
			continue
		}
		all = append(all, n.Value)
	}
	return all
}

// checkVaults looks at what a vault's file cannot tell alone: its dataset, the other hubs, tables made twice.
func checkVaults(vaults []parsedVault, datasets []Dataset) []Problem {
	var problems []Problem
	byDataset := map[string]parsedVault{}
	for _, v := range vaults {
		byDataset[v.Dataset] = v
	}
	tables := map[string]string{}
	for _, v := range vaults {
		say := func(field, format string, args ...any) {
			problems = append(problems, Problem{File: v.File, Line: v.lines[strings.Split(field, ".")[0]], Field: field, Text: fmt.Sprintf(format, args...)})
		}
		once := func(field, table string) {
			if where, twice := tables[table]; twice && table != "" {
				say(field, "table %q is already made by %s", table, where)
			}
			tables[table] = v.File
		}
		once("hub", v.Hub)
		once("satellite", v.Satellite)
		i := slices.IndexFunc(datasets, func(d Dataset) bool { return d.Name == v.Dataset })
		if i < 0 {
			say("vault", "%q is not a dataset", v.Dataset)
			continue
		}
		for _, column := range v.BusinessKey {
			if c, ok := datasets[i].Column(column); !ok {
				say("business_key", "%q is not a column of dataset %s", column, v.Dataset)
			} else if !c.Required {
				say("business_key", "column %q must be required", column)
			}
		}
		for n, link := range v.Links {
			at := fmt.Sprintf("links[%d]", n)
			once(at+".table", link.Table)
			once(at+".effectivity", link.Effectivity)
			c, ok := datasets[i].Column(link.Column)
			other, known := byDataset[c.References]
			switch {
			case !ok:
				say(at+".column", "%q is not a column of dataset %s", link.Column, v.Dataset)
			case !known:
				say(at+".column", "column %q references no dataset that has a hub", link.Column)
			case len(other.BusinessKey) != 1:
				say(at+".column", "hub %s has a key of %d parts; a column can only name a row by one", other.Hub, len(other.BusinessKey))
			}
		}
	}
	return problems
}
