package vault

import (
	"fmt"
	"strings"

	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// IsEmpty counts what is known of the dataset; 0 before its first load.
func (p Plan) IsEmpty() string {
	return fmt.Sprintf("SELECT (SELECT count(*) FROM %s) + (SELECT count(*) FROM %s)", p.Stage(), p.Tracking())
}

// IsPlain counts the rows of the delta that do more than bring a key which no other row of it has; 0 when First is enough in an empty stage.
func (p Plan) IsPlain() string {
	return fmt.Sprintf("SELECT count(*) - count(DISTINCT %s) + count(*) FILTER (_kind <> '%s') FROM %s", p.Vault.Key, KindRows, p.rows())
}

// First stands for Observe, Grow and Derive where nothing was known of the dataset and each row of the delta is the only one of its key. There is nothing to compare and
// nothing to put in order then: every row is an observation, the first version of its key and the only period of its pairs.
func (p Plan) First(load int64) []string {
	key, cursor := p.Vault.Key, p.cursor()
	statements := []string{
		fmt.Sprintf("INSERT INTO %s BY NAME SELECT r.%s, r.hashdiff, %s, r._as_of AS as_of, %d AS load, r._sequence AS raw_sequence, r._line AS raw_line FROM %s AS r",
			p.Stage(), key, p.columns("r."), load, p.rows()),
	}
	if !p.Kept {
		return statements
	}
	business := make([]string, len(p.Vault.BusinessKey))
	for i, column := range p.Vault.BusinessKey {
		business[i] = "r." + canon.Quote(column)
	}
	// Other datasets may have named these keys before.
	statements = append(statements, fmt.Sprintf("INSERT INTO %[1]s BY NAME SELECT r.%[2]s, %[3]s, %[4]d AS load FROM %[5]s AS r ANTI JOIN %[1]s AS h ON h.%[2]s = r.%[2]s",
		p.Vault.Hub, key, strings.Join(business, ", "), load, p.rows()))
	var links strings.Builder
	for i, link := range p.Vault.Links {
		column, other := canon.Quote(link.Column), p.hubs[i]
		fmt.Fprintf(&links, "r._other%d AS %s, ", i, link.Key)
		pair := fmt.Sprintf("r._link%d AS %s, r._other%[1]d AS %[3]s, r.%[4]s", i, link.LinkKey, link.Key, key)
		statements = append(statements,
			fmt.Sprintf("INSERT INTO %[1]s BY NAME SELECT n.*, %[2]d AS load FROM (SELECT any_value(r._other%[3]d) AS %[4]s, r.%[5]s AS %[6]s FROM %[7]s AS r WHERE r.%[5]s IS NOT NULL GROUP BY r.%[5]s) AS n ANTI JOIN %[1]s AS h ON h.%[4]s = n.%[4]s",
				other.table, load, i, other.key, column, canon.Quote(other.businessKey), p.rows()),
			fmt.Sprintf("INSERT INTO %s BY NAME SELECT %s, %d AS load FROM %s AS r WHERE r.%s IS NOT NULL", link.Table, pair, load, p.rows(), column),
			fmt.Sprintf("INSERT INTO %s BY NAME SELECT %s, r.%s AS valid_from, true AS is_current, %d AS load FROM %s AS r WHERE r.%s IS NOT NULL", link.Effectivity, pair, cursor, load, p.rows(), column))
	}
	return append(statements, fmt.Sprintf("INSERT INTO %s BY NAME SELECT r.%s, 1 AS version, %s%s, true AS is_current, false AS is_deleted, r.hashdiff, %d AS load FROM %s AS r",
		p.Vault.Satellite, key, links.String(), p.columns("r."), load, p.rows()))
}
