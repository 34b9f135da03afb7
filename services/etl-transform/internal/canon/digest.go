package canon

import (
	"fmt"
	"math/big"
	"slices"
)

// bookkeeping are the columns that say how and when a row came in; the same rows that came in another way have the same digest.
var bookkeeping = []string{"load", "as_of", "raw_sequence", "raw_line", "deleted_as_of"}

// Silent says whether a column is left out of the digest.
func Silent(column string) bool { return slices.Contains(bookkeeping, column) }

// Column is one of a table as DESCRIBE tells it.
type Column struct{ Name, Type string }

// DigestSQL asks for the two halves of a table's sum and its row count: rows, high, low, all of them HUGEINT or NULL.
func DigestSQL(table string, columns []Column) string {
	// Shifted and masked: the engine divides numbers of 128 bits digit by digit, 50 times slower.
	return fmt.Sprintf(`SELECT count(*)::HUGEINT, coalesce(sum((h >> 64::UHUGEINT)::HUGEINT), 0)::HUGEINT, coalesce(sum((h & 18446744073709551615::UHUGEINT)::HUGEINT), 0)::HUGEINT FROM (SELECT md5_number(%s) AS h FROM %s)`,
		RowOf(columns), Quote(table))
}

// RowOf is the text of a table's row that the digest is over.
func RowOf(columns []Column) string {
	var fields []Field
	for _, c := range columns {
		if !Silent(c.Name) {
			text := Text(KindOf(c.Type), Quote(c.Name))
			if c.Type == Key {
				text = "hex(" + Quote(c.Name) + ")" // a key in decimals costs a hundred times as much
			}
			fields = append(fields, Field{Name: c.Name, Text: text})
		}
	}
	return Row(fields)
}

// Digest puts the halves together: row count and sum mod 2^128.
func Digest(rows, high, low *big.Int) string {
	sum := new(big.Int).Lsh(high, 64)
	sum.Add(sum, low)
	sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 128))
	return fmt.Sprintf("%d-%032x", rows, sum)
}
