// Package canon writes the SQL of keys, hashdiffs and digests. It is the one place where their rules stand; change nothing here without a record in the
// manifest, because two warehouses can only be compared when they were made by the same rules.
//
// A value's text: integers and decimals without leading or trailing zeros, dates and times in ISO order and UTC, booleans true and false, text as it is, keys in a digest in hexadecimal.
// NULL has no text. What an export writes for nothing (” and, but for booleans, Odoo's false) became NULL while staging.
//
// A key is md5 over the business key's parts, each trimmed and in upper case, with \, | and ^ escaped by \, joined by ||, with ^^ for a part that is missing.
//
// A row is the concatenation of its columns that have a text, sorted by name, each as `<bytes>:<name>=<text>` where bytes counts `<name>=<text>`. So a new column
// that is empty changes nothing, and no two rows read the same. The hashdiff of a row is its md5, not folded in case. A table's digest is its row count and the sum of its rows' md5 mod 2^128.
package canon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
)

// Key is the DuckDB type of hashes: 128 bits, far faster to join than text.
const Key = "UHUGEINT"

// Zero is the key of the unknown member.
const Zero = "0::UHUGEINT"

// Quote makes an identifier of a name.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal makes a text constant.
func Literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Text is an expression's text by the rule above; kind is its type's.
func Text(kind models.Kind, expr string) string {
	switch kind {
	case models.Text, models.Enum:
		return expr
	case models.Decimal:
		cast := "CAST(" + expr + " AS VARCHAR)"
		return fmt.Sprintf("CASE WHEN contains(%[1]s, '.') THEN rtrim(rtrim(%[1]s, '0'), '.') ELSE %[1]s END", cast)
	}
	return "CAST(" + expr + " AS VARCHAR)"
}

// Part is one part of a business key: an expression of its text, and the kind of the value.
type Part struct {
	Text string
	Kind models.Kind
}

// HashKey is the key over parts. Numbers and times have nothing to trim, fold or escape.
func HashKey(parts ...Part) string {
	texts := make([]string, len(parts))
	for i, part := range parts {
		switch part.Kind {
		case models.Integer, models.Decimal, models.Date, models.Timestamp:
			texts[i] = fmt.Sprintf("coalesce(%s, '^^')", part.Text)
		default:
			escaped := fmt.Sprintf(`replace(replace(replace(upper(trim(%s)), '\', '\\'), '|', '\|'), '^', '\^')`, part.Text)
			texts[i] = fmt.Sprintf("coalesce(nullif(%s, ''), '^^')", escaped)
		}
	}
	return "md5_number(" + strings.Join(texts, " || '||' || ") + ")"
}

// Field is a column of a row: its name and an expression of its text.
type Field struct{ Name, Text string }

// Row is the text of a row by the rule above.
func Row(fields []Field) string {
	if len(fields) == 0 {
		return "''"
	}
	sorted := slices.SortedFunc(slices.Values(fields), func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	parts := make([]string, len(sorted))
	for i, f := range sorted {
		// concat passes over NULL.
		parts[i] = fmt.Sprintf("strlen(%[2]s) + %[3]d, CASE WHEN %[2]s IS NOT NULL THEN %[1]s END, %[2]s", Literal(":"+f.Name+"="), "("+f.Text+")", len(f.Name)+1)
	}
	return "concat(" + strings.Join(parts, ", ") + ")"
}

// Hashdiff is the md5 of a row.
func Hashdiff(fields []Field) string { return "md5_number(" + Row(fields) + ")" }
