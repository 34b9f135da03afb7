package warehouse

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ofitec/ofitec/services/etl-transform/internal/rows"
	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

var gauges = fstest.MapFS{
	"datasets/gauge.yml": {Data: []byte("dataset: gauge\nkey: gauge_id\ncursor: write_date\ncolumns:\n  - {name: gauge_id, type: integer, required: true}\n  - {name: name, type: text, required: true}\n  - {name: owner_id, type: integer, references: owner}\n" +
		"  - {name: amount, type: 'decimal(18,2)'}\n  - {name: weight, type: 'decimal(38,10)'}\n  - {name: share, type: 'decimal(4,4)'}\n  - {name: open, type: boolean}\n  - {name: day, type: date, required: true}\n" +
		"  - {name: seen, type: timestamp}\n  - {name: shade, type: enum, values: [light, 'very dark']}\n  - {name: note, type: text}\n  - {name: rut, type: text, pii: rut}\n  - {name: write_date, type: timestamp}\n")},
	"vault/gauge.yml": {Data: []byte("vault: gauge\nhub: vault_h_gauge\nkey: hk_gauge\nbusiness_key: [gauge_id, name]\nsatellite: vault_s_gauge\nlinks:\n" +
		"  - {table: vault_l_owner_gauge, effectivity: vault_e_owner_gauge, column: owner_id, key: hk_owner, link_key: hk_owner_gauge}\n")},
}

// gaugeValues are what exports write, and what they should not. The first ones are plain.
var gaugeValues = map[string][]string{
	"gauge_id":   {"1", "2", "300", "4", "", "x", "07", "5.0", "false"},
	"name":       {"g1", "G 2", " g3 ", "a|b", `a\b^`, "ñandú", "x\"y", "", "false", "multi\nline"},
	"owner_id":   {"7", "0", "-7", "999999999999999999", "", "007", "-0", "+7", "7.0", "7.5", "9223372036854775807", "9223372036854775808", "1e3", " 8 ", "false", "0x10", "1_000", "--1", "-"},
	"amount":     {"0", "1.5", "1.50", "1.00", "-12345.67", "9999999999999999.99", "100", "-0.5", "", ".5", "5.", "1.005", "1.500", "00.5", "-0", "-0.00", "+1", "99999999999999999.9", "1,5", "1e2", "NaN", "1.2.3", "-.5"},
	"weight":     {"1.0123456789", "0.0000000001", "1234567890123456789012345678", "-1.10", "", "12345678901234567890123456789", "1.01234567891", "inf"},
	"share":      {"", "0.5", "0.1234", "0.12345", "1", ".5", "-0.2", "0", "0.0"},
	"open":       {"true", "false", "", "True", "FALSE", "t", "1", "0", "yes", " true "},
	"day":        {"2026-02-28", "2024-02-29", "0001-01-01", "9999-12-31", "2026-02-29", "2026-13-01", "2026-1-5", "", "infinity", "2026-02-28T00:00:00", "2026/02/28", "10000-01-01", "0000-01-01", " 2026-01-01", "2026-00-10", "2026-04-31"},
	"seen":       {"2026-02-28T10:11:12Z", "2026-02-28 10:11:12", "2026-02-28T10:11:12.5Z", "2026-02-28 10:11:12.000001", "2026-02-28T10:11:12.120Z", "2026-02-28T10:11:12.000", "", "2026-02-28T10:11:12-03:00", "2026-02-28", "2026-02-28T24:00:00Z", "2026-02-28T10:11:60Z", "2026-02-28T10:11:12.1234567Z", "2026-02-28T10:11", "1969-12-31T23:59:59.999999Z", "2026-02-28T10:11:12z", "-infinity", "2026-02-28T10:11:12.Z", "0044-03-15 00:00:00 (BC)"},
	"shade":      {"light", "very dark", "", "dark", "Light", " light"},
	"note":       {"plain", "with, comma", `with "quotes"`, "  spaces  ", "línea", "", "False", "two\r\nlines", "NULL", "'", "{}", "tab\there"},
	"rut":        {"12.345.678-5", "", "11111111-2", "no"},
	"write_date": {"2026-01-01T00:00:00.000001Z", "2026-01-01 00:00:00", "", "yesterday", "2026-01-01T00:00:00+02:00"},
}

// What is read by types and what is tried as text must be the same rows, keys and hashdiffs included: which way a record goes is chosen for its speed alone.
func TestPlainRecordsBecomeWhatTheLongWayMakesOfThem(t *testing.T) {
	t.Parallel()
	w := openIn(t, t.TempDir(), gauges)
	t.Cleanup(func() { _ = w.Close() })
	plan := w.plans[slices.IndexFunc(w.plans, func(p vault.Plan) bool { return p.Dataset.Name == "gauge" })]
	content := gaugeFile(t, plan.Dataset.Names())
	for _, statement := range []string{vault.FilesDDL(), "INSERT INTO " + vault.Files + " VALUES (3, 9, 'rows', 5, 'x')"} {
		if _, err := w.conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	read := func(short bool, into string) rows.Summary {
		folder := t.TempDir()
		s := vault.Spool{Typed: []string{filepath.Join(folder, "typed")}, Other: []string{filepath.Join(folder, "other")}}
		typed, err := os.Create(s.Typed[0])
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.Create(s.Other[0])
		if err != nil {
			t.Fatal(err)
		}
		writer := rows.NewWriter(other, plan.Dataset, w.o.Tokens, 0)
		if short {
			writer.Typed(typed, plan.Payload())
		} else {
			s.Typed = nil
		}
		summary, err := writer.File(strings.NewReader(content), "csv", 3)
		if err == nil {
			err = writer.Flush()
		}
		if err != nil || typed.Close() != nil || other.Close() != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{plan.Read(s), "CREATE TEMP TABLE " + into + " AS FROM work_rows_gauge"} {
			if _, err := w.conn.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		return summary
	}
	long, short := read(false, "long"), read(true, "short")
	if long.Typed != 0 || long.Records != short.Records || short.Typed < short.Records/4 || short.Typed > short.Records*3/4 {
		t.Errorf("of %d records %d are plain, %d of %d without the short way", short.Records, short.Typed, long.Typed, long.Records)
	}
	differ := "SELECT '%s', * FROM (SELECT * FROM %s WHERE NOT _bad EXCEPT ALL SELECT * FROM %s WHERE NOT _bad) ORDER BY _n LIMIT 10"
	for _, q := range []string{fmt.Sprintf(differ, "long way", "long", "short"), fmt.Sprintf(differ, "short way", "short", "long")} {
		for _, row := range query(t, w.conn, q) {
			t.Error(row)
		}
	}
	if bad := query(t, w.conn, "SELECT count(*) FROM long WHERE _bad"); bad[0] == "0" {
		t.Error("no record is bad: the values prove nothing")
	}
}

// gaugeFile has each value of each column once among plain ones, and then what chance puts together.
func gaugeFile(t *testing.T, names []string) string {
	t.Helper()
	var out strings.Builder
	to := csv.NewWriter(&out)
	write := func(record []string) {
		if err := to.Write(record); err != nil {
			t.Fatal(err)
		}
	}
	write(names)
	for i, name := range names {
		for _, value := range gaugeValues[name] {
			record := make([]string, len(names))
			for j, other := range names {
				record[j] = gaugeValues[other][0]
			}
			record[i] = value
			write(record)
		}
	}
	random := rand.New(rand.NewPCG(11, 4))
	for range 400 {
		record := make([]string, len(names))
		for i, name := range names {
			values := gaugeValues[name]
			if random.IntN(40) > 0 {
				values = values[:2]
			}
			record[i] = values[random.IntN(len(values))]
		}
		write(record)
	}
	to.Flush()
	return out.String()
}
