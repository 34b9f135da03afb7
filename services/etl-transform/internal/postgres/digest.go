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

// nibbles are the lower halves of the bytes of a number of 64 bits.
const nibbles = 0x0f0f0f0f0f0f0f0f

// swapped is a number whose bytes stand in order again after their hexadecimal digits were reversed.
func swapped(number string) string {
	return fmt.Sprintf("(((%[1]s & %[2]d) << 4) | ((%[1]s >> 4) & %[2]d))", number, int64(nibbles))
}

// half is the first or second half of 32 hexadecimal digits, as a number.
func half(digits string, first int) string {
	return fmt.Sprintf("('x' || substr(%s, %d, 16))::bit(64)::bigint", digits, first)
}

// text is a column's canonical text; false for a type that has another one at the warehouse. A key's is made of its halves, which the relation must have.
func (c Column) text() (string, bool) {
	column := pgx.Identifier{c.Name}.Sanitize()
	switch {
	case c.Type == "uuid":
		number := fmt.Sprintf("to_hex(%s) || lpad(to_hex(%s), 16, '0')", swapped(c.part("high")), swapped(c.part("low")))
		return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN coalesce(nullif(ltrim(upper(%s), '0'), ''), '0') END", column, number), true
	case strings.HasPrefix(c.Type, "numeric"):
		return "trim_scale(" + column + ")::text", true
	case slices.Contains([]string{"text", "boolean", "date", "timestamp", "bigint", "integer"}, c.Type):
		return column + "::text", true
	}
	return "", false
}

// part names what is made of a key on the way to its text.
func (c Column) part(name string) string { return pgx.Identifier{c.Name + " " + name}.Sanitize() }

// sums asks for the row count and the sums of the two halves of the rows' hashes of a relation with the mart's columns, and how many of the halves are negative as a bigint. Each step stands in
// a query of its own behind an OFFSET: else PostgreSQL puts a step's text into the next wherever it is named, and makes the hash of a row 32 times.
func sums(columns []Column, relation string) (string, bool) {
	sorted := slices.SortedFunc(slices.Values(columns), func(a, b Column) int { return strings.Compare(a.Name, b.Name) })
	digits, halves, texts, parts := []string{"r.*"}, []string{"r.*"}, []string{"0"}, []string{"''"}
	for _, c := range sorted {
		if c.Silent {
			continue
		}
		text, known := c.text()
		if !known {
			return "", false
		}
		column := pgx.Identifier{c.Name}.Sanitize()
		if c.Type == "uuid" {
			digits = append(digits, fmt.Sprintf("reverse(replace(%s::text, '-', '')) AS %s", column, c.part("digits")))
			halves = append(halves, half(c.part("digits"), 1)+" AS "+c.part("high"), half(c.part("digits"), 17)+" AS "+c.part("low"))
		}
		texts = append(texts, text+" AS "+column)
		parts = append(parts, fmt.Sprintf("coalesce((octet_length(%[2]s) + %[3]d) || %[1]s || %[2]s, '')", literal(":"+c.Name+"="), column, len(c.Name)+1))
	}
	from := relation
	for _, step := range [][]string{digits, halves, texts, {"reverse(md5(" + strings.Join(parts, " || ") + ")) AS h"}, {half("h", 1) + " AS high", half("h", 17) + " AS low"}, {swapped("high") + " AS high", swapped("low") + " AS low"}} {
		from = fmt.Sprintf("(SELECT %s FROM %s AS r OFFSET 0)", strings.Join(step, ", "), from)
	}
	return fmt.Sprintf("SELECT count(*)::text, coalesce(sum(high), 0)::text, coalesce(sum(low), 0)::text, count(*) FILTER (WHERE high < 0), count(*) FILTER (WHERE low < 0) FROM %s AS r", from), true
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
	var below [2]int64
	if err := conn.QueryRow(ctx, query).Scan(&texts[0], &texts[1], &texts[2], &below[0], &below[1]); err != nil {
		return tally{}, err
	}
	var numbers [3]*big.Int
	for i, text := range texts {
		var sound bool
		if numbers[i], sound = new(big.Int).SetString(text, 10); !sound {
			return tally{}, fmt.Errorf("read digest: %q is not a whole number", text)
		}
	}
	for i, count := range below { // they were taken for negative
		numbers[i+1].Add(numbers[i+1], new(big.Int).Lsh(big.NewInt(count), 64))
	}
	return tally{numbers[0], numbers[2].Add(numbers[2], numbers[1].Lsh(numbers[1], 64))}, nil
}
