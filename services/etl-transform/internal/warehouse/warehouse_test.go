package warehouse

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

// things is a warehouse of two datasets: things, which belong to owners, and a mart that is driven by things.
var things = fstest.MapFS{
	"datasets/owner.yml": {Data: []byte("dataset: owner\nkey: owner_id\ncursor: write_date\ncolumns:\n  - {name: owner_id, type: integer, required: true}\n  - {name: rut, type: text, pii: rut}\n  - {name: write_date, type: timestamp}\n")},
	"datasets/thing.yml": {Data: []byte("dataset: thing\nkey: thing_id\ncursor: write_date\ncolumns:\n  - {name: thing_id, type: integer, required: true}\n  - {name: owner_id, type: integer, references: owner}\n" +
		"  - {name: colour, type: text}\n  - {name: price, type: 'decimal(10,2)'}\n  - {name: write_date, type: timestamp}\n")},
	"vault/owner.yml": {Data: []byte("vault: owner\nhub: vault_h_owner\nkey: hk_owner\nbusiness_key: [owner_id]\nsatellite: vault_s_owner\n")},
	"vault/thing.yml": {Data: []byte("vault: thing\nhub: vault_h_thing\nkey: hk_thing\nbusiness_key: [thing_id]\nsatellite: vault_s_thing\nlinks:\n" +
		"  - {table: vault_l_owner_thing, effectivity: vault_e_owner_thing, column: owner_id, key: hk_owner, link_key: hk_owner_thing}\n")},
	"marts/mart_thing.yml": {Data: []byte("mart: mart_thing\ngrain: [hk_thing]\ndriven_by: thing\nkey: hk_thing\nreads: [thing]\namount: price\n")},
	"marts/mart_thing.sql": {Data: []byte("SELECT hk_thing, thing_id, coalesce(hk_owner, 0) AS hk_owner, colour, price FROM vault_s_thing WHERE is_current AND NOT is_deleted")},
	"checks.yml":           {Data: []byte("checks:\n  - table: mart_thing\n    tests:\n      - not_null: [colour]\n      - unique: [thing_id]\n")},
}

type shelf map[string][]byte

func (s shelf) Open(_ context.Context, url string) (io.ReadCloser, error) {
	content, found := s[url]
	if !found {
		return nil, fmt.Errorf("no raw file %s", url)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// bench is a warehouse in a folder of its own and the raw files that were made for it.
type bench struct {
	*Warehouse
	shelf    shelf
	sequence int64
}

func newBench(t *testing.T, layers ...fstest.MapFS) *bench {
	t.Helper()
	b := &bench{shelf: shelf{}}
	b.Warehouse = openIn(t, t.TempDir(), layers...)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func openIn(t *testing.T, folder string, layers ...fstest.MapFS) *Warehouse {
	t.Helper()
	all := fstest.MapFS{}
	for _, layer := range append([]fstest.MapFS{things}, layers...) {
		for name, file := range layer {
			all[name] = file
		}
	}
	m, err := models.Load(all)
	if err != nil {
		t.Fatal(err)
	}
	return openWith(t, folder, m)
}

func openWith(t *testing.T, folder string, m *models.Models) *Warehouse {
	t.Helper()
	tokens, err := token.New(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	db, err := duckdb.Open(t.Context(), filepath.Join(folder, "ofitec.duckdb"), duckdb.Options{MemoryLimit: "512MB", Threads: 1, TempDir: filepath.Join(folder, "spill")})
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(t.Context(), db, Options{Region: "a", Models: m, Tokens: tokens, TokenVersion: tokens.Version(), Spool: filepath.Join(folder, "spool"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// file makes a raw file and its announcement.
func (b *bench) file(dataset, kind, content string, asof int64) batch.Announced {
	b.sequence++
	sum := sha256.Sum256([]byte(content))
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(asof) * time.Hour)
	ready := events.ExportReady{
		Dataset: dataset, Region: "a", Batch: fmt.Sprintf("b%06d", b.sequence), RawURL: fmt.Sprintf("file:///raw/%s/%d.csv", dataset, b.sequence), Format: "csv", Kind: kind,
		SHA256: hex.EncodeToString(sum[:]), Rows: int64(strings.Count(content, "\n") - 1), Bytes: int64(len(content)), AsOf: events.AsOf{Epoch: 1, SourceClock: clock}, Sequence: b.sequence,
	}
	b.shelf[ready.RawURL] = []byte(content)
	event, err := events.New(events.Origin{Region: "a", Service: "etl-ingest"}, clock, ready)
	if err != nil {
		panic(err)
	}
	return batch.Announced{Event: event, Ready: ready}
}

func (b *bench) load(t *testing.T, files ...batch.Announced) Result {
	t.Helper()
	r, err := b.Load(t.Context(), files, b.shelf)
	if err != nil {
		t.Fatal(err)
	}
	for id, err := range r.Failed {
		t.Fatalf("file %v: %v", id, err)
	}
	return r
}

// query gives a table's rows as text.
func query(t *testing.T, db asker, q string) []string {
	t.Helper()
	found, err := db.QueryContext(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	defer found.Close()
	columns, _ := found.Columns()
	var all []string
	for found.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			if v != nil {
				texts[i] = fmt.Sprint(v)
			}
		}
		all = append(all, strings.Join(texts, "|"))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (b *bench) digests(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, table := range b.Tables() {
		digest, err := b.Digest(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		all[table] = digest
	}
	return all
}

const thingHeader = "thing_id,owner_id,colour,price,write_date\n"

func csvOf(records []record) string {
	var b strings.Builder
	b.WriteString(thingHeader)
	for _, r := range records {
		at := ""
		if r.at != "" {
			at = r.at + "T00:00:00Z"
		}
		price := "1.50"
		if r.kind == "rejected" {
			price = "much"
		}
		fmt.Fprintf(&b, "%d,%s,%s,%s,%s\n", r.id, r.owner, r.colour, price, at)
	}
	return b.String()
}

// hashOf is the payload's hash as the warehouse orders it: md5 as a little-endian number.
func hashOf(r record) string {
	text := ""
	for _, f := range [][2]string{{"colour", r.colour}, {"owner_id", r.owner}, {"price", "1.5"}} {
		if f[1] != "" {
			field := f[0] + "=" + f[1]
			text += fmt.Sprintf("%d:%s", len(field), field)
		}
	}
	sum := md5.Sum([]byte(text))
	slices.Reverse(sum[:])
	return hex.EncodeToString(sum[:])
}

func randomRecords(random *rand.Rand) []record {
	records := make([]record, 5+random.IntN(45))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for i := range records {
		r := record{kind: "rows", asof: int64(1 + random.IntN(7)), id: 1 + random.IntN(3), owner: pick("", "7", "7", "8"), colour: pick("", "red", "red", "RED"), at: pick("2026-01-01", "2026-01-02", "2026-01-03", "")}
		if random.IntN(6) == 0 {
			r.id = 10 + random.IntN(30) // most likely the only one of its key
		}
		switch random.IntN(10) {
		case 0:
			r = record{kind: "absent", asof: r.asof, id: r.id}
		case 1:
			r.kind = "assert"
		case 2:
			r.kind = "rejected"
		}
		records[i] = r
	}
	return records
}

// pieces makes files of records in their order: of one kind and asof each, a record that fits goes in with all chances but one of so many.
func (b *bench) pieces(random *rand.Rand, dataset string, records []record, csv func([]record) string, chances int) (files []batch.Announced) {
	for len(records) > 0 {
		first := records[0]
		var mine, rest []record
		for _, r := range records {
			if r.kind == first.kind && r.asof == first.asof && (len(mine) == 0 || random.IntN(chances) > 0) {
				mine = append(mine, r)
			} else {
				rest = append(rest, r)
			}
		}
		kind := first.kind
		if kind == "rejected" {
			kind = "rows"
		}
		files = append(files, b.file(dataset, kind, csv(mine), first.asof))
		records = rest
	}
	return files
}

// cut makes files of the records: of one kind and asof each, in a random order, some of the records and some of the files twice.
func (b *bench) cut(random *rand.Rand, records []record) [][]batch.Announced {
	shuffled := slices.Clone(records)
	for range random.IntN(4) {
		shuffled = append(shuffled, records[random.IntN(len(records))])
	}
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	files := b.pieces(random, "thing", shuffled, csvOf, 3)
	var loads [][]batch.Announced
	for len(files) > 0 {
		n := 1 + random.IntN(min(4, len(files)))
		loads = append(loads, files[:n])
		files = files[n:]
	}
	return loads
}

func TestOrderDuplicationAndCuttingOfTheDeltasChangeNothing(t *testing.T) {
	t.Parallel()
	seeds := 8
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(uint64(seed), 7))
		records := randomRecords(random)
		want := oracle(records, hashOf)
		var first map[string]string
		for run := range 2 {
			b := newBench(t)
			for _, files := range b.cut(random, records) {
				b.load(t, files...)
			}
			b.againstOracle(t, seed, want)
			digests := b.digests(t)
			for table, digest := range digests {
				if run > 0 && first[table] != digest {
					t.Errorf("seed %d: %s has %s, before %s", seed, table, digest, first[table])
				}
			}
			first = digests
			_ = b.Close()
		}
		if t.Failed() {
			for _, r := range records {
				t.Logf("%+v", r)
			}
			return
		}
	}
}

func (b *bench) againstOracle(t *testing.T, seed int, want []version) {
	t.Helper()
	have := query(t, b.db, `SELECT format('{} v{} owner={} colour={} at={} current={} deleted={}', thing_id, version, coalesce(owner_id::VARCHAR, ''), coalesce(colour, ''), coalesce(strftime(write_date, '%Y-%m-%d'), ''), is_current, is_deleted)
		FROM vault_s_thing ORDER BY thing_id, version`)
	texts := make([]string, len(want))
	var inMart int
	for i, v := range want {
		texts[i] = v.String()
		if v.current && !v.gone && v.colour != "" {
			inMart++
		}
	}
	if !slices.Equal(have, texts) {
		t.Errorf("seed %d: satellite is\n%s\nwant\n%s", seed, strings.Join(have, "\n"), strings.Join(texts, "\n"))
	}
	var spans []string
	for _, p := range periods(want) {
		spans = append(spans, fmt.Sprintf("%d %s %s-%s %t", p.id, p.owner, p.from, p.to, p.current))
	}
	have = query(t, b.db, `SELECT format('{} {} {}-{} {}', t.thing_id, o.owner_id, coalesce(strftime(e.valid_from, '%Y-%m-%d'), ''), coalesce(strftime(e.valid_to, '%Y-%m-%d'), ''), e.is_current)
		FROM vault_e_owner_thing e JOIN vault_h_thing t USING (hk_thing) JOIN vault_h_owner o USING (hk_owner)`)
	slices.Sort(have)
	slices.Sort(spans)
	if !slices.Equal(have, spans) {
		t.Errorf("seed %d: periods are\n%s\nwant\n%s", seed, strings.Join(have, "\n"), strings.Join(spans, "\n"))
	}
	if rows := query(t, b.db, "SELECT count(*) FROM mart_thing"); rows[0] != fmt.Sprint(inMart) {
		t.Errorf("seed %d: mart has %s rows, want %d", seed, rows[0], inMart)
	}
}
