package warehouse

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Each kind of check on a mart of things, with rows that pass it and one or more that do not.
var checkKinds = []struct {
	test, check string
	column      string
	names       string // a part of what names the first row
	bad         string // rows of a second file
	blocks      bool
}{
	{test: "not_null: [colour]", check: "not_null.colour", column: "colour", names: "thing_id=3: NULL", bad: "3,1,,5.00"},
	{test: "positive: [price]", check: "positive.price", column: "price", names: "thing_id=3: 0.00", bad: "3,1,red,0.00"},
	{test: "enum: {column: colour, values: [red, blue]}", check: "enum.colour", column: "colour", names: "thing_id=3: pink", bad: "3,1,pink,5.00"},
	{test: "accepted_range: {column: price, min: 1, max: 100}", check: "accepted_range.price", column: "price", names: "thing_id=3: 100.01", bad: "3,1,red,100.01"},
	{test: "regex: {column: colour, pattern: '[a-z]+'}", check: "regex.colour", column: "colour", names: "thing_id=3: Red 2", bad: "3,1,Red 2,5.00"},
	{test: "relationships: {column: hk_owner, to: vault_s_owner.hk_owner}", check: "relationships.hk_owner", column: "hk_owner", names: "thing_id=3: ", bad: "3,9,red,5.00"},
	{test: "rut: [rut]", check: "rut.rut", column: "rut", names: "thing_id=3: rutx_", bad: "3,2,red,5.00"},
	{test: "unique: [colour, price]", check: "unique.colour-price", column: "colour, price", names: "colour=red price=5.00 x 2", bad: "3,1,red,5.00", blocks: true},
	{test: "min_rows: 2", check: "min_rows", blocks: true},
	{test: "freshness: {column: made, within: 24h}", check: "freshness.made", column: "made", blocks: true},
	{test: "row_count_change: {max_percent: 20}", check: "row_count_change", bad: "3,1,red,6.00", blocks: true},
	{test: "reconcile: {column: write_date, with: vault_s_thing, where: 'is_current AND NOT is_deleted', amount: price}", check: "reconcile.write_date", column: "write_date", names: "2026-01: 2 rows, 12.00; the source has 3, 13.00", bad: "3,1,lost,1.00", blocks: true},
	{test: "sql: {name: dear, query: 'SELECT thing_id, price FROM {table} WHERE price > 50'}", check: "sql.dear", names: "'thing_id': 3, 'price': 51.00", bad: "3,1,red,51.00", blocks: true},
}

// checkBench is a warehouse of things with one check on them. The mart has the owner's tax number, and loses what is of the colour lost.
func checkBench(t *testing.T, test string) *bench {
	t.Helper()
	return newBench(t, fstest.MapFS{
		"marts/mart_thing.yml": {Data: []byte("mart: mart_thing\ngrain: [thing_id]\nreads: [thing, owner]\namount: price\n")},
		"marts/mart_thing.sql": {Data: []byte("SELECT s.thing_id, s.hk_owner, o.rut, s.colour, s.price, CAST(s.write_date AS DATE) AS made, s.write_date FROM vault_s_thing AS s LEFT JOIN vault_s_owner AS o ON o.hk_owner = s.hk_owner AND o.is_current " +
			"WHERE s.is_current AND NOT s.is_deleted AND s.colour IS DISTINCT FROM 'lost'")},
		"checks.yml": {Data: []byte("checks:\n  - table: mart_thing\n    tests:\n      - " + test + "\n")},
	})
}

const thingColumns = "thing_id,owner_id,colour,price,write_date\n"

func TestEachKindOfCheckFailsWhenItShouldAndNamesTableColumnAndRows(t *testing.T) {
	t.Parallel()
	for _, k := range checkKinds {
		t.Run(k.check, func(t *testing.T) {
			t.Parallel()
			b := checkBench(t, k.test)
			r := b.load(t, b.file("owner", "rows", "owner_id,rut,write_date\n1,76.000.000-0,2026-01-01T00:00:00Z\n2,76.000.000-1,2026-01-01T00:00:00Z\n", 1),
				b.file("thing", "rows", thingColumns+"1,1,red,5.00,2026-01-01T00:00:00Z\n2,1,blue,7.00,2026-01-01T00:00:00Z\n", 1))
			findings, err := b.Audit(t.Context(), b.Checks())
			if err != nil {
				t.Fatal(err)
			}
			if m := r.Marts[0]; findings[0].Failing != 0 || m.BlockedBy != "" || m.Quarantined != 0 || m.Passed != 1 {
				t.Fatalf("what is right fails: %+v, %+v", findings[0], m)
			}
			switch k.check {
			case "min_rows":
				r = b.load(t, b.file("thing", "absent", "thing_id\n2\n", 2))
			case "freshness.made": // the source goes on, and nothing new is made
				r = b.load(t, b.file("thing", "rows", thingColumns+"1,1,green,5.00,2026-01-01T01:00:00Z\n", 72))
			default:
				r = b.load(t, b.file("thing", "rows", thingColumns+k.bad+",2026-01-02T00:00:00Z\n", 2))
			}
			m := r.Marts[0]
			if k.blocks != (m.BlockedBy == k.check) || !k.blocks && m.Quarantined != 1 || m.Failed != 1 {
				t.Errorf("the mart is %+v", m)
			}
			b.expect(t, "SELECT mart, name, severity, failing > 0 FROM etl_check", "mart_thing|"+k.check+"|error|true")
			if findings, err = b.Audit(t.Context(), b.Checks()); err != nil {
				t.Fatal(err)
			}
			f := findings[0]
			if f.Table != "mart_thing" || f.Check != k.check || f.Column != k.column || f.Failing == 0 || f.Reason == "" {
				t.Errorf("the finding is %+v", f)
			}
			if k.names != "" && (len(f.Rows) == 0 || !strings.Contains(f.Rows[0], k.names)) {
				t.Errorf("rows are %q, want one with %q", f.Rows, k.names)
			}
		})
	}
}

func TestACheckThatWarnsIsToldAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := checkBench(t, "positive: {columns: [price], severity: warn}")
	r := b.load(t, b.file("thing", "rows", thingColumns+"1,1,red,0.00,2026-01-01T00:00:00Z\n", 1))
	if m := r.Marts[0]; m.Warned != 1 || m.Failed != 0 || m.Quarantined != 0 || m.BlockedBy != "" || m.Rows != 1 {
		t.Errorf("the mart is %+v", m)
	}
	b.expect(t, "SELECT name, severity, failing FROM etl_check", "positive.price|warn|1")
}

func TestTheKindsThatAreTriedAreAllThatThereAre(t *testing.T) {
	t.Parallel()
	var tried []string
	for _, k := range checkKinds {
		kind, _, _ := strings.Cut(k.test, ":")
		tried = append(tried, kind)
	}
	for _, kind := range strings.Fields("not_null positive enum accepted_range regex relationships rut unique min_rows freshness row_count_change reconcile sql") {
		if !slices.Contains(tried, kind) {
			t.Error(fmt.Errorf("%s is not tried", kind))
		}
	}
}
