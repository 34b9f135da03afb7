package postgres

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The digest is that of `etl verify`, computed by PostgreSQL from what readers see: the rule stands in the warehouse's package canon. A row's text is its columns that are not NULL, sorted by
// name, each as `<bytes>:<name>=<text>`; the digest is the row count and the sum of the rows' md5, as numbers whose least byte is the first, mod 2^128.

// bytesBackwards are the positions of a number's bytes in the digits of a hash.
func bytesBackwards(digits string, first, last int) string {
	var parts []string
	for at := last; at >= first; at -= 2 {
		parts = append(parts, fmt.Sprintf("substr(%s, %d, 2)", digits, at))
	}
	return strings.Join(parts, " || ")
}

// text is a column's canonical text; false for a type that has another one at the warehouse.
func (c Column) text(table string) (string, bool) {
	column := table + "." + pgx.Identifier{c.Name}.Sanitize()
	switch {
	case c.Type == "uuid":
		digits := "replace(" + column + "::text, '-', '')"
		return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN coalesce(nullif(ltrim(upper(%s), '0'), ''), '0') END", column, bytesBackwards(digits, 1, 31)), true
	case strings.HasPrefix(c.Type, "numeric"):
		return "trim_scale(" + column + ")::text", true
	case slices.Contains([]string{"text", "boolean", "date", "timestamp", "bigint", "integer"}, c.Type):
		return column + "::text", true
	}
	return "", false
}

// sums asks for the row count and the sums of the two halves of the rows' hashes of a relation with the mart's columns.
func sums(columns []Column, relation string) (string, bool) {
	sorted := slices.SortedFunc(slices.Values(columns), func(a, b Column) int { return strings.Compare(a.Name, b.Name) })
	parts := []string{"''"}
	for _, c := range sorted {
		if c.Silent {
			continue
		}
		text, known := c.text("r")
		if !known {
			return "", false
		}
		parts = append(parts, fmt.Sprintf("coalesce((octet_length(%[2]s) + %[3]d) || %[1]s || %[2]s, '')", literal(":"+c.Name+"="), "("+text+")", len(c.Name)+1))
	}
	half := func(first, last int) string {
		number := fmt.Sprintf("('x' || %s)::bit(64)::bigint", bytesBackwards("h", first, last))
		return fmt.Sprintf("coalesce(sum(%[1]s::numeric + CASE WHEN %[1]s < 0 THEN 18446744073709551616 ELSE 0 END), 0)::text", number)
	}
	return fmt.Sprintf("SELECT count(*)::text, %s, %s FROM (SELECT md5(%s) AS h FROM %s AS r) AS hashes", half(17, 31), half(1, 15), strings.Join(parts, " || "), relation), true
}

// tally is a digest before it is put together.
type tally struct{ rows, sum *big.Int }

func (t tally) String() string {
	return fmt.Sprintf("%s-%032x", t.rows, new(big.Int).Mod(t.sum, new(big.Int).Lsh(big.NewInt(1), 128)))
}

// plus adds another one, times a sign.
func (t tally) plus(other tally, sign int64) tally {
	times := func(n *big.Int) *big.Int { return new(big.Int).Mul(n, big.NewInt(sign)) }
	return tally{new(big.Int).Add(t.rows, times(other.rows)), new(big.Int).Add(t.sum, times(other.sum))}
}

func parseTally(digest string) (tally, bool) {
	rows, sum, _ := strings.Cut(digest, "-")
	count, counted := new(big.Int).SetString(rows, 10)
	total, summed := new(big.Int).SetString(sum, 16)
	return tally{count, total}, counted && summed
}

func ask(ctx context.Context, conn *pgx.Conn, query string) (tally, error) {
	var texts [3]string
	if err := conn.QueryRow(ctx, query).Scan(&texts[0], &texts[1], &texts[2]); err != nil {
		return tally{}, err
	}
	var numbers [3]*big.Int
	for i, text := range texts {
		var sound bool
		if numbers[i], sound = new(big.Int).SetString(text, 10); !sound {
			return tally{}, fmt.Errorf("read digest: %q is not a whole number", text)
		}
	}
	return tally{numbers[0], numbers[2].Add(numbers[2], numbers[1].Lsh(numbers[1], 64))}, nil
}
