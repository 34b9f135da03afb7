package canon_test

import (
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
)

func engine(t *testing.T) *sql.DB {
	t.Helper()
	folder := t.TempDir()
	db, err := duckdb.Open(t.Context(), filepath.Join(folder, "x.duckdb"), duckdb.Options{MemoryLimit: "256MB", Threads: 1, TempDir: filepath.Join(folder, "spill")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// ask gives one value as text; "-" for NULL.
func ask(t *testing.T, db *sql.DB, expr string) string {
	t.Helper()
	var text sql.NullString
	if err := db.QueryRowContext(t.Context(), "SELECT CAST("+expr+" AS VARCHAR)").Scan(&text); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if !text.Valid {
		return "-"
	}
	return text.String
}

// number is the md5 of a text as the engine has it: the first byte is the least.
func number(text string) string {
	sum := md5.Sum([]byte(text))
	slices.Reverse(sum[:])
	n, _ := new(big.Int).SetString(hex.EncodeToString(sum[:]), 16)
	return n.String()
}

func text(expr string) canon.Part { return canon.Part{Text: expr, Kind: models.Text} }

func TestTheRulesOfKeysAndHashdiffsAreTheStatedOnes(t *testing.T) {
	db := engine(t)
	for sentence, c := range map[string]struct{ expr, text string }{
		"a key is trimmed and in upper case":          {canon.HashKey(text("' ab '")), "AB"},
		"parts are joined":                            {canon.HashKey(text("'a'"), text("'b'")), "A||B"},
		"bars in a part are escaped":                  {canon.HashKey(text("'a||b'"), text("'c'")), `A\|\|B||C`},
		"so are backslashes":                          {canon.HashKey(text(`'a\'`), text("'|b'")), `A\\||\|B`},
		"a missing part is none of the others":        {canon.HashKey(text("NULL"), text("''"), text("'^^'")), `^^||^^||\^\^`},
		"a row is sorted by name and has no NULL":     {canon.Hashdiff([]canon.Field{{Name: "b", Text: "'x'"}, {Name: "c", Text: "NULL"}, {Name: "a", Text: "'yy'"}}), "4:a=yy3:b=x"},
		"lengths are bytes, and case is kept":         {canon.Hashdiff([]canon.Field{{Name: "a", Text: "'ñÑ'"}}), "6:a=ñÑ"},
		"a row of nothing is a row":                   {canon.Hashdiff([]canon.Field{{Name: "a", Text: "NULL"}}), ""},
		"decimals have no zeros at their end":         {canon.Hashdiff([]canon.Field{{Name: "a", Text: canon.Text(models.Decimal, "CAST('1.50' AS DECIMAL(9,2))")}}), "5:a=1.5"},
		"nor a point that nothing follows":            {canon.Hashdiff([]canon.Field{{Name: "a", Text: canon.Text(models.Decimal, "CAST('100.00' AS DECIMAL(9,2))")}}), "5:a=100"},
		"an integer key is the key of its text":       {canon.HashKey(canon.Part{Text: canon.Text(models.Integer, "42::BIGINT"), Kind: models.Integer}, canon.Part{Text: canon.Text(models.Date, "NULL::DATE"), Kind: models.Date}), "42||^^"},
		"a moment is written in UTC and microseconds": {canon.Hashdiff([]canon.Field{{Name: "a", Text: canon.Text(models.Timestamp, "TIMESTAMP '2026-01-02 03:04:05.000006'")}}), "28:a=2026-01-02 03:04:05.000006"},
	} {
		if have, want := ask(t, db, c.expr), number(c.text); have != want {
			t.Errorf("%s: %s, want md5 of %q", sentence, have, c.text)
		}
	}
}

func TestWhatCanBeReadAndWhatCannot(t *testing.T) {
	db := engine(t)
	decimal := models.Type{Kind: models.Decimal, Precision: 18, Scale: 2}
	for _, c := range []struct {
		kind     models.Type
		in, want string
	}{
		{models.Type{Kind: models.Integer}, "42", "42"}, {models.Type{Kind: models.Integer}, "42.0", "42"}, {models.Type{Kind: models.Integer}, "1-2", "!"}, {models.Type{Kind: models.Integer}, "-7", "-7"}, {models.Type{Kind: models.Integer}, "42.7", "!"},
		{models.Type{Kind: models.Integer}, "9223372036854775808", "!"}, {models.Type{Kind: models.Integer}, "0x1", "!"},
		{decimal, "-1190.5", "-1190.50"}, {decimal, "1.500", "1.50"}, {decimal, "1.005", "!"}, {decimal, "1e3", "!"}, {decimal, "NaN", "!"}, {decimal, ".", "!"}, {decimal, "1,5", "!"}, {decimal, "", "!"}, {decimal, "-", "!"}, {decimal, "12.3450", "!"}, {decimal, "-.5", "-0.50"},
		{decimal, "99999999999999999.00", "!"},
		{models.Type{Kind: models.Date}, "2026-02-28", "2026-02-28"}, {models.Type{Kind: models.Date}, "2026-02-30", "!"}, {models.Type{Kind: models.Date}, "infinity", "!"},
		{models.Type{Kind: models.Timestamp}, "2026-01-01T10:00:00.5Z", "2026-01-01 10:00:00.5"}, {models.Type{Kind: models.Timestamp}, "2026-01-01T10:00:00-03:00", "2026-01-01 13:00:00"},
		{models.Type{Kind: models.Timestamp}, "2026-01-01 10:00:00", "2026-01-01 10:00:00"}, {models.Type{Kind: models.Timestamp}, "soon", "!"},
		{models.Type{Kind: models.Boolean}, "true", "true"}, {models.Type{Kind: models.Boolean}, "False", "false"}, {models.Type{Kind: models.Boolean}, "perhaps", "!"},
		{models.Type{Kind: models.Text}, " x", " x"}, {models.Type{Kind: models.Enum}, "open", "open"}, {models.Type{Kind: models.Enum}, "Open", "!"},
	} {
		column := models.Column{Type: c.kind, Values: []string{"open", "done"}}
		have := ask(t, db, canon.Cast(column, canon.Literal(c.in)))
		if have == "-" {
			have = "!" // there is a text, and it cannot be read
		}
		if have != c.want {
			t.Errorf("%s %q is %s, want %s", c.kind, c.in, have, c.want)
		}
	}
}

func TestADigestKnowsNoOrderAndNoBookkeeping(t *testing.T) {
	db := engine(t)
	digest := func(rows string) string {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), "CREATE OR REPLACE TABLE x AS SELECT * FROM (VALUES "+rows+") AS v(a, load)"); err != nil {
			t.Fatal(err)
		}
		var count, high, low any
		q := canon.DigestSQL("x", []canon.Column{{Name: "a", Type: "VARCHAR"}, {Name: "load", Type: "INTEGER"}})
		if err := db.QueryRowContext(t.Context(), q).Scan(&count, &high, &low); err != nil {
			t.Fatal(err)
		}
		return canon.Digest(count.(*big.Int), high.(*big.Int), low.(*big.Int))
	}
	first := digest("('p', 1), ('q', 2), ('q', 3)")
	if second := digest("('q', 9), ('p', 8), ('q', 7)"); second != first {
		t.Errorf("digests are %s and %s", first, second)
	}
	if third := digest("('p', 1), ('q', 2)"); third == first {
		t.Error("a row that comes twice is not seen")
	}
	sum := new(big.Int)
	for _, text := range []string{"3:a=p", "3:a=q", "3:a=q"} {
		n, _ := new(big.Int).SetString(number(text), 10)
		sum.Add(sum, n)
	}
	sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 128))
	if want := fmt.Sprintf("3-%032x", sum); first != want {
		t.Errorf("digest is %s, want %s", first, want)
	}
}
