package warehouse

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
)

// lines makes a CSV of things.
func lines(rows ...string) string { return thingHeader + strings.Join(rows, "\n") + "\n" }

func (b *bench) expect(t *testing.T, q string, want ...string) {
	t.Helper()
	if have := query(t, b.db, q); !slices.Equal(have, want) {
		t.Errorf("%s gives\n%s\nwant\n%s", q, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

const versionsOf = "SELECT thing_id, version, coalesce(colour, '-'), is_current FROM vault_s_thing ORDER BY thing_id, version"

func TestAVersionThatArrivesLateGoesInItsPlaceAndBothNeighboursAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z", "1,,red,1,2026-01-03T00:00:00Z"), 1))
	b.expect(t, versionsOf, "1|1|red|true")
	b.load(t, b.file("thing", "rows", lines("1,,blue,1,2026-01-02T00:00:00Z"), 2))
	b.expect(t, versionsOf, "1|1|red|false", "1|2|blue|false", "1|3|red|true")
}

func TestWhatOnlyLooksDifferentIsNoVersion(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("thing", "rows", lines(`1,false,red,1.50,2026-01-01T00:00:00Z`, `1,,red,01.5,2026-01-02T00:00:00Z`, `1,,Red,1.5,2026-01-03T00:00:00+00:00`), 1))
	b.expect(t, versionsOf, "1|1|red|false", "1|2|Red|true")
}

func TestARowThatWasReadBeforeTouchesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z", "2,,red,1,2026-01-01T00:00:00Z"), 1))
	if r := b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z", "2,,blue,1,2026-01-02T00:00:00Z"), 2)); r.Written != 1 {
		t.Errorf("%d keys were touched, want 1", r.Written)
	}
	b.expect(t, "SELECT count(*) FROM stage_thing", "3")
}

func TestADeletionHoldsUntilSomethingLaterIsSeen(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("thing", "rows", lines("1,7,red,1,2026-01-01T00:00:00Z"), 1))
	b.load(t, b.file("thing", "absent", "thing_id\n1\n", 5))
	b.expect(t, "SELECT is_current, is_deleted FROM vault_s_thing", "true|true")
	b.expect(t, "SELECT count(*) FROM mart_thing", "0")
	b.expect(t, "SELECT is_current FROM vault_e_owner_thing", "false")
	b.load(t, b.file("thing", "rows", lines("1,7,red,1,2026-01-01T00:00:00Z"), 4)) // it was read before the listing
	b.expect(t, "SELECT count(*) FROM mart_thing", "0")
	b.load(t, b.file("thing", "rows", lines("1,7,red,1,2026-01-01T00:00:00Z"), 6)) // it came back
	b.expect(t, "SELECT count(*) FROM mart_thing", "1")
	b.expect(t, "SELECT is_current FROM vault_e_owner_thing", "true")
}

func TestWhatAFailoverHasLostIsTakenBackByAnAssertionHoweverNewItLooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z", "1,,blue,1,2026-01-09T00:00:00Z"), 1))
	b.load(t, b.file("thing", "assert", lines("1,,red,1,2026-01-01T00:00:00Z"), 2))
	b.expect(t, versionsOf, "1|1|red|false", "1|2|blue|false", "1|3|red|true")
	b.load(t, b.file("thing", "rows", lines("1,,green,1,2026-01-05T00:00:00Z"), 3))
	b.expect(t, versionsOf, "1|1|red|false", "1|2|blue|false", "1|3|red|false", "1|4|green|true")
}

func TestAValueThatCannotBeReadGoesToQuarantineAndTheGoodRowsGoOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.load(t, b.file("thing", "rows", lines("1,,red,1.005,2026-01-01T00:00:00Z", "x,,red,1,2026-01-01T00:00:00Z", "2,,red,1,2026-01-01T00:00:00Z", "3,,red", ",,red,1,2026-01-01T00:00:00Z", "4,,red,1,soon"), 1))
	if r.Rejected["thing"] != 5 || r.Read["thing"].Rows != 6 {
		t.Errorf("rejected %d of %d rows, want 5 of 6", r.Rejected["thing"], r.Read["thing"].Rows)
	}
	b.expect(t, "SELECT coalesce(row_key, '-'), coalesce(column_name, '-'), coalesce(value, '-'), reason, raw_line FROM etl_quarantine ORDER BY raw_line",
		"1|price|1.005|is not of type decimal(10,2)|2", "x|thing_id|x|is not of type integer|3", "-|-|-|has 3 fields, the header has 5|5", "-|thing_id|-|is required|6", "4|write_date|soon|is not of type timestamp|7")
	b.expect(t, "SELECT thing_id FROM mart_thing", "2")
	b.load(t, b.file("thing", "rows", lines("1,,red,1.005,2026-01-01T00:00:00Z"), 2)) // the look-back reads it again
	b.expect(t, "SELECT count(*) FROM etl_quarantine WHERE row_key = '1'", "1")
}

func TestAnOlderVersionNeverStandsInForOneThatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z"), 1))
	b.load(t, b.file("thing", "rows", lines("1,,red,much,2026-01-02T00:00:00Z"), 2))
	b.expect(t, "SELECT count(*) FROM mart_thing", "0")
	b.load(t, b.file("thing", "rows", lines("1,,red,2,2026-01-02T00:00:00Z"), 3))
	b.expect(t, "SELECT price FROM mart_thing", "2")
}

func TestARowThatFailsACheckIsKeptOutUntilItIsGood(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.load(t, b.file("thing", "rows", lines("1,,,3.50,2026-01-01T00:00:00Z", "2,,red,1,2026-01-01T00:00:00Z"), 1))
	if m := r.Marts[0]; m.Quarantined != 1 || m.Missing != "3.50" || m.Failed != 1 || m.Passed != 1 || m.Rows != 1 {
		t.Errorf("mart is %+v", m)
	}
	b.expect(t, "SELECT name, column_name, reason FROM etl_quarantine", "mart_thing|colour|not_null.colour: is missing")
	b.load(t, b.file("thing", "rows", lines("1,,blue,3.50,2026-01-02T00:00:00Z"), 2))
	b.expect(t, "SELECT count(*) FROM etl_quarantine", "0")
	b.expect(t, "SELECT thing_id FROM mart_thing ORDER BY 1", "1", "2")
}

func TestATableCheckHoldsTheMartBackAndLetsItGoAgain(t *testing.T) {
	t.Parallel()
	few := fstest.MapFS{"checks.yml": {Data: []byte("checks:\n  - table: mart_thing\n    tests:\n      - min_rows: 2\n")}}
	b := newBench(t, few)
	r := b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z"), 1))
	if m := r.Marts[0]; m.BlockedBy != "min_rows" || m.Kept != 0 {
		t.Errorf("mart is %+v", m)
	}
	b.expect(t, "SELECT count(*) FROM mart_thing", "0")
	var types []string
	pending, err := b.Pending(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range pending {
		event, err := events.Decode(entry.Data)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, event.Type.Name())
		if err := b.Done(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"warehouse.loaded.v1", "warehouse.rejected.v1", "warehouse.checked.v1"}; !slices.Equal(types, want) {
		t.Errorf("outbox has %v, want %v", types, want)
	}
	if pending, _ := b.Pending(t.Context()); len(pending) != 0 {
		t.Errorf("%d entries are left in the outbox", len(pending))
	}
	b.load(t, b.file("thing", "rows", lines("2,,red,1,2026-01-01T00:00:00Z"), 2))
	b.expect(t, "SELECT thing_id FROM mart_thing ORDER BY 1", "1", "2")
	b.load(t, b.file("thing", "absent", "thing_id\n1\n", 3))
	b.expect(t, "SELECT thing_id FROM mart_thing ORDER BY 1", "1", "2") // readers keep what they have
}

func TestAMartThatCannotBeComputedIsHeldBackAndTheLoadGoesOn(t *testing.T) {
	t.Parallel()
	numbers := fstest.MapFS{
		"marts/mart_number.yml": {Data: []byte("mart: mart_number\ngrain: [thing_id]\nreads: [thing]\n")},
		"marts/mart_number.sql": {Data: []byte("SELECT thing_id, CAST(colour AS INTEGER) AS number FROM vault_s_thing WHERE is_current AND NOT is_deleted")},
	}
	b := newBench(t, numbers)
	b.load(t, b.file("thing", "rows", lines("1,,5,1,2026-01-01T00:00:00Z"), 1))
	r := b.load(t, b.file("thing", "rows", lines("1,,red,1,2026-01-02T00:00:00Z", "2,,7,much,2026-01-02T00:00:00Z"), 2))
	b.expect(t, "SELECT mart, blocked_by FROM etl_mart WHERE blocked_by IS NOT NULL", "mart_number|refresh")
	b.expect(t, "SELECT number FROM mart_number", "5") // what readers had
	b.expect(t, "SELECT colour FROM mart_thing", "red")
	if r.Rejected["thing"] != 1 || r.Written != 2 {
		t.Errorf("result is %+v", r)
	}
	b.expect(t, "SELECT count(*) FROM etl_quarantine", "1")
	b.load(t, b.file("thing", "rows", lines("1,,6,1,2026-01-03T00:00:00Z"), 3))
	b.expect(t, "SELECT number FROM mart_number", "6")
}

func TestASnapshotShowsTheMartsAsTheLastLoadHasLeftThem(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	digest := func() string {
		t.Helper()
		s, err := b.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var out strings.Builder
		if len(s.Marts) == 0 {
			return ""
		}
		if err := s.Write(t.Context(), s.Marts[0], &out); err != nil {
			t.Fatal(err)
		}
		if lines := int64(strings.Count(out.String(), "\n")); lines != s.Marts[0].Rows {
			t.Errorf("%d lines for %d rows:\n%s", lines, s.Marts[0].Rows, out.String())
		}
		whole, err := b.Digest(t.Context(), "mart_thing")
		if err != nil || whole != s.Marts[0].Digest {
			t.Errorf("digest is %s, of the table %s: %v", s.Marts[0].Digest, whole, err)
		}
		return s.Marts[0].Digest
	}
	if digest() != "" {
		t.Error("there are marts before the first load")
	}
	b.load(t, b.file("thing", "rows", lines(`1,,"red\	x
y",1,2026-01-01T00:00:00Z`), 1))
	first := digest()
	b.load(t, b.file("thing", "rows", lines("2,,blue,1,2026-01-02T00:00:00Z"), 2))
	if second := digest(); second == first {
		t.Error("the digest stays when the mart changes")
	}
}

func TestPersonalDataAreTokensEverywhere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.load(t, b.file("owner", "rows", "owner_id,rut,write_date\n1,76.000.000-0,2026-01-01T00:00:00Z\n2,76000000-0,2026-01-01T00:00:00Z\n3,,2026-01-01T00:00:00Z\n", 1))
	b.expect(t, "SELECT count(DISTINCT rut), count(rut), bool_and(starts_with(rut, 'rut_')) FROM vault_s_owner", "1|2|true")
	for _, table := range b.Tables() {
		if found := query(t, b.db, fmt.Sprintf("SELECT * FROM %s AS t WHERE contains(t::VARCHAR, '000.000')", table)); len(found) > 0 {
			t.Errorf("%s has %v", table, found)
		}
	}
}

func TestALoadThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	before := b.digests(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Load(ctx, nil, b.shelf); err != nil {
		t.Errorf("nothing to load: %v", err)
	}
	file := b.file("thing", "rows", lines("1,,red,1,2026-01-01T00:00:00Z"), 1)
	if _, err := b.Load(ctx, []batch.Announced{file}, b.shelf); err == nil {
		t.Error("a load whose context has ended was done")
	}
	b.load(t, file)
	if b.digests(t)["stage_thing"] == before["stage_thing"] {
		t.Error("the next load did nothing")
	}
}

func TestAFileMadeByOtherModelsIsNotTouched(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := openIn(t, folder)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = openIn(t, folder) // the same again
	o := w.o
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	o.TokenVersion = "another"
	db, err := duckdb.Open(t.Context(), filepath.Join(folder, "ofitec.duckdb"), duckdb.Options{MemoryLimit: "512MB", Threads: 1, TempDir: filepath.Join(folder, "spill")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := New(t.Context(), db, o); !errors.Is(err, ErrOtherRules) {
		t.Errorf("opened with another key: %v", err)
	}
}

func TestAColumnThatTheVaultHasItselfIsRefusedByItsName(t *testing.T) {
	t.Parallel()
	m, err := models.Load(fstest.MapFS{"datasets/thing.yml": {Data: []byte("dataset: thing\nkey: thing_id\ncursor: write_date\ncolumns:\n  - {name: thing_id, type: integer, required: true}\n  - {name: version, type: text}\n  - {name: write_date, type: timestamp}\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), nil, Options{Models: m}); err == nil || !strings.Contains(err.Error(), `datasets/thing.yml: column "version"`) {
		t.Errorf("error is %v", err)
	}
}
