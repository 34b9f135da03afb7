// Package vault writes the SQL that keeps one dataset in the Data Vault, from the models alone. It runs nothing and reads no clock.
//
// stage_<dataset> has every observation: each distinct key, cursor and payload that was ever read, and the greatest asof at which it was. vault_r_<dataset> has what was said
// of keys beside that: absent (no such row at the source) and assert (the row is this one). Hubs, links, satellites and periods follow from these two alone, so that neither order
// nor repetition nor cutting of the deltas can change them.
package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// Plan is one dataset with its place in the vault. It is read-only and safe for concurrent use.
type Plan struct {
	Dataset models.Dataset
	Vault   models.Vault
	// Kept is false for a dataset that has a stage and no vault.
	Kept bool
	hubs []hub // of the datasets that links lead to, in order of the links
	low  *int64
	high *int64 // nil: the delta's keys may be anywhere
}

// hub is another dataset's table of keys.
type hub struct{ table, key, businessKey, sqlType string }

// reserved are the names of columns that the vault adds to a dataset's own.
var reserved = []string{"hashdiff", "as_of", "load", "raw_sequence", "raw_line", "version", "valid_to", "is_current", "is_deleted", "deleted_as_of"}

// Plans are all datasets of the models, in order of their names. The error names the columns that cannot stand beside the vault's own.
func Plans(m *models.Models) ([]Plan, error) {
	var plans []Plan
	var wrong []error
	for _, d := range m.All() {
		for _, c := range d.Columns {
			if slices.Contains(reserved, c.Name) || strings.HasPrefix(c.Name, "hk_") {
				wrong = append(wrong, fmt.Errorf("%s: column %q: the warehouse has a column of that name itself; not hk_*, %s", d.File, c.Name, strings.Join(reserved, ", ")))
			}
		}
		p := Plan{Dataset: d}
		p.Vault, p.Kept = m.Vault(d.Name)
		if !p.Kept {
			p.Vault = models.Vault{Dataset: d.Name, Key: "hk_" + d.Name, BusinessKey: []string{d.Key}}
		}
		for _, link := range p.Vault.Links {
			column, _ := d.Column(link.Column) // the loader has checked it
			other, _ := m.Vault(column.References)
			target, _ := m.Dataset(column.References)
			key, _ := target.Column(other.BusinessKey[0])
			p.hubs = append(p.hubs, hub{table: other.Hub, key: other.Key, businessKey: other.BusinessKey[0], sqlType: canon.SQLType(key.Type)})
		}
		plans = append(plans, p)
	}
	return plans, errors.Join(wrong...)
}

// Stage is the table of observations.
func (p Plan) Stage() string { return "stage_" + p.Dataset.Name }

// Tracking is the table of what was said of keys beside observations.
func (p Plan) Tracking() string { return "vault_r_" + p.Dataset.Name }

// Tables lists the dataset's tables; hubs are also filled by other datasets.
func (p Plan) Tables() []string {
	if !p.Kept {
		return []string{p.Stage(), p.Tracking()}
	}
	tables := []string{p.Stage(), p.Tracking(), p.Vault.Hub, p.Vault.Satellite}
	for _, link := range p.Vault.Links {
		tables = append(tables, link.Table, link.Effectivity)
	}
	return tables
}

// DDL makes the tables where they are not there.
func (p Plan) DDL() []string {
	columns := make([]string, len(p.Dataset.Columns))
	for i, c := range p.Dataset.Columns {
		columns[i] = canon.Quote(c.Name) + " " + canon.SQLType(c.Type)
	}
	all := strings.Join(columns, ", ")
	key := p.Vault.Key + " " + canon.Key
	ddl := []string{
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s, hashdiff %s, %s, as_of UHUGEINT, load BIGINT, raw_sequence BIGINT, raw_line BIGINT)", p.Stage(), key, canon.Key, all),
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s, kind VARCHAR, as_of UHUGEINT, %s %s, hashdiff %s, load BIGINT, raw_sequence BIGINT)",
			p.Tracking(), key, canon.Quote(p.Dataset.Cursor), "TIMESTAMP", canon.Key),
	}
	if !p.Kept {
		return ddl
	}
	var links strings.Builder
	for _, link := range p.Vault.Links {
		fmt.Fprintf(&links, "%s %s, ", link.Key, canon.Key)
	}
	ddl = append(ddl,
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s, %s, load BIGINT)", p.Vault.Hub, key, p.businessColumns()),
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s, version INTEGER, %s%s, valid_to TIMESTAMP, is_current BOOLEAN, is_deleted BOOLEAN, hashdiff %s, deleted_as_of UHUGEINT, load BIGINT)",
			p.Vault.Satellite, key, links.String(), all, canon.Key))
	for _, link := range p.Vault.Links {
		pair := fmt.Sprintf("%s %s, %s %s, %s", link.LinkKey, canon.Key, link.Key, canon.Key, key)
		ddl = append(ddl,
			fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s, load BIGINT)", link.Table, pair),
			fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s, valid_from TIMESTAMP, valid_to TIMESTAMP, is_current BOOLEAN, load BIGINT)", link.Effectivity, pair))
	}
	return ddl
}

func (p Plan) businessColumns() string {
	columns := make([]string, len(p.Vault.BusinessKey))
	for i, name := range p.Vault.BusinessKey {
		c, _ := p.Dataset.Column(name)
		columns[i] = canon.Quote(name) + " " + canon.SQLType(c.Type)
	}
	return strings.Join(columns, ", ")
}

// text is the canonical text of a column of the dataset.
func (p Plan) text(prefix, column string) string {
	c, _ := p.Dataset.Column(column)
	return canon.Text(c.Type.Kind, prefix+canon.Quote(column))
}

// part is a column as a part of a key.
func (p Plan) part(prefix, column string) canon.Part {
	c, _ := p.Dataset.Column(column)
	return canon.Part{Text: p.text(prefix, column), Kind: c.Type.Kind}
}

// hashKey is the key of the dataset's row.
func (p Plan) hashKey(prefix string) string {
	var parts []canon.Part
	for _, column := range p.Vault.BusinessKey {
		parts = append(parts, p.part(prefix, column))
	}
	return canon.HashKey(parts...)
}

// otherKey is the key of the row that a link leads to; NULL when the column is.
func (p Plan) otherKey(prefix string, link models.Link) string {
	return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN %s END", prefix+canon.Quote(link.Column), canon.HashKey(p.part(prefix, link.Column)))
}

// linkKey is the hash over both business keys, the other row's first.
func (p Plan) linkKey(prefix string, link models.Link) string {
	parts := []canon.Part{p.part(prefix, link.Column)}
	for _, column := range p.Vault.BusinessKey {
		parts = append(parts, p.part(prefix, column))
	}
	return canon.HashKey(parts...)
}

// Range asks for the least and the greatest whole number that the delta's keys have in them; "" when they have none.
func (p Plan) Range() string {
	if column := p.whole(); column != "" {
		return fmt.Sprintf("SELECT min(%[1]s), max(%[1]s) FROM %[2]s", canon.Quote(column), p.rows())
	}
	return ""
}

// Within is the plan for a delta whose keys are in a range: ids come in their order, so that what is not near them is passed over without reading it.
func (p Plan) Within(low, high *int64) Plan {
	p.low, p.high = low, high
	return p
}

// whole is the business key's first column of whole numbers.
func (p Plan) whole() string {
	for _, name := range p.Vault.BusinessKey {
		if c, _ := p.Dataset.Column(name); c.Type.Kind == models.Integer {
			return name
		}
	}
	return ""
}

// near is true for rows s of stage, hub and satellite that may be of the delta's keys.
func (p Plan) near() string {
	if p.low == nil || p.high == nil {
		return "true"
	}
	return fmt.Sprintf("s.%s BETWEEN %d AND %d", canon.Quote(p.whole()), *p.low, *p.high)
}

// Payload are the columns that the hashdiff is over: all but the business key and the cursor.
func (p Plan) Payload() []string {
	var names []string
	for _, c := range p.Dataset.Columns {
		if c.Name != p.Dataset.Cursor && !slices.Contains(p.Vault.BusinessKey, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func (p Plan) hashdiff(prefix string) string {
	var fields []canon.Field
	for _, name := range p.Payload() {
		fields = append(fields, canon.Field{Name: name, Text: p.text(prefix, name)})
	}
	return canon.Hashdiff(fields)
}

// columns lists the dataset's columns, each behind the prefix.
func (p Plan) columns(prefix string) string {
	names := make([]string, len(p.Dataset.Columns))
	for i, c := range p.Dataset.Columns {
		names[i] = prefix + canon.Quote(c.Name)
	}
	return strings.Join(names, ", ")
}

func (p Plan) cursor() string { return canon.Quote(p.Dataset.Cursor) }
