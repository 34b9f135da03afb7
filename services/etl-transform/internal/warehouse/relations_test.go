package warehouse

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
)

// relation is a dataset of a company in small: rows name rows of others.
type relation struct {
	name string
	refs []string
}

var relations = []relation{
	{"partner", nil}, {"project", []string{"partner"}}, {"invoice", []string{"partner", "project"}}, {"line", []string{"invoice", "project"}}, {"payment", []string{"invoice", "partner"}},
}

// company are the models of the relations: a link with periods for each reference, and a mart over three of the datasets.
func company() fstest.MapFS {
	files := fstest.MapFS{}
	put := func(name, text string) { files[name] = &fstest.MapFile{Data: []byte(text)} }
	for _, r := range relations {
		dataset := fmt.Sprintf("dataset: %s\nkey: %[1]s_id\ncursor: write_date\ncolumns:\n  - {name: %[1]s_id, type: integer, required: true}\n", r.name)
		vault := fmt.Sprintf("vault: %s\nhub: vault_h_%[1]s\nkey: hk_%[1]s\nbusiness_key: [%[1]s_id]\nsatellite: vault_s_%[1]s\n", r.name)
		for n, ref := range r.refs {
			dataset += fmt.Sprintf("  - {name: %s_id, type: integer, references: %[1]s}\n", ref)
			if n == 0 {
				vault += "links:\n"
			}
			vault += fmt.Sprintf("  - {table: vault_l_%s_%s, effectivity: vault_e_%[1]s_%[2]s, column: %[1]s_id, key: hk_%[1]s, link_key: hk_%[1]s_%[2]s}\n", ref, r.name)
		}
		put("datasets/"+r.name+".yml", dataset+"  - {name: colour, type: text}\n  - {name: price, type: 'decimal(10,2)'}\n  - {name: write_date, type: timestamp}\n")
		put("vault/"+r.name+".yml", vault)
	}
	put("marts/mart_line.yml", "mart: mart_line\ngrain: [hk_line]\nreads: [line, invoice, partner]\n")
	put("marts/mart_line.sql", `SELECT l.hk_line, l.line_id, i.invoice_id, i.colour AS invoice_colour, p.partner_id, p.colour AS partner_colour FROM vault_s_line l
		LEFT JOIN vault_s_invoice i ON i.invoice_id = l.invoice_id AND i.is_current AND NOT i.is_deleted
		LEFT JOIN vault_s_partner p ON p.partner_id = i.partner_id AND p.is_current AND NOT p.is_deleted WHERE l.is_current AND NOT l.is_deleted`)
	return files
}

// ownersOf are what a row names, in the order of the references: the oracle knows one owner, which is all of them.
func ownersOf(owner string, r relation) []string {
	if owner == "" {
		return make([]string, len(r.refs)) // of a row that was never read
	}
	return strings.Split(owner, ";")
}

// hash is the payload's, as hashOf makes it.
func (r relation) hash(x record) string {
	fields := [][2]string{{"colour", x.colour}, {"price", "1.5"}}
	for n, id := range ownersOf(x.owner, r) {
		fields = append(fields, [2]string{r.refs[n] + "_id", id})
	}
	slices.SortFunc(fields, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	text := ""
	for _, f := range fields {
		if f[1] != "" {
			field := f[0] + "=" + f[1]
			text += fmt.Sprintf("%d:%s", len(field), field)
		}
	}
	sum := md5.Sum([]byte(text))
	slices.Reverse(sum[:])
	return hex.EncodeToString(sum[:])
}

func (r relation) random(random *rand.Rand) []record {
	records := make([]record, 4+random.IntN(16))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for i := range records {
		x := record{kind: "rows", asof: int64(1 + random.IntN(7)), id: 1 + random.IntN(4), colour: pick("", "red", "red", "RED"), at: pick("2026-01-01", "2026-01-02", "2026-01-03", "")}
		owners := make([]string, len(r.refs))
		for n := range owners {
			owners[n] = pick("", "1", "2", "3", "9") // 9 is never told of by its own dataset
		}
		x.owner = strings.Join(owners, ";")
		switch random.IntN(10) {
		case 0:
			x = record{kind: "absent", asof: x.asof, id: x.id}
		case 1:
			x.kind = "assert"
		case 2:
			x.kind = "rejected"
		}
		records[i] = x
	}
	return records
}

func (r relation) csv(records []record) string {
	var b strings.Builder
	b.WriteString(r.name + "_id")
	for _, ref := range r.refs {
		b.WriteString("," + ref + "_id")
	}
	b.WriteString(",colour,price,write_date\n")
	for _, x := range records {
		at, price := "", "1.50"
		if x.at != "" {
			at = x.at + "T00:00:00Z"
		}
		if x.kind == "rejected" {
			price = "much"
		}
		fmt.Fprintf(&b, "%d", x.id)
		for _, id := range ownersOf(x.owner, r) {
			b.WriteString("," + id)
		}
		fmt.Fprintf(&b, ",%s,%s,%s\n", x.colour, price, at)
	}
	return b.String()
}

// history is files of all datasets in a random order, cut at random, some records and files twice, and put into transactions at random.
// With apart, one dataset comes after the other, those that are named after those that name them.
func (b *bench) history(random *rand.Rand, histories [][]record, apart bool) (loads [][]batch.Announced) {
	var files []batch.Announced
	for n, r := range relations {
		rest := slices.Clone(histories[n])
		for range random.IntN(3) {
			rest = append(rest, rest[random.IntN(len(rest))])
		}
		random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		files = append(files, b.pieces(random, r.name, rest, r.csv, 4)...)
		if apart {
			loads, files = append([][]batch.Announced{files}, loads...), nil
		}
	}
	if apart {
		return loads
	}
	files = append(files, files[random.IntN(len(files))])
	random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	for len(files) > 0 {
		n := min(len(files), 1+random.IntN(30))
		loads, files = append(loads, files[:n]), files[n:]
	}
	return loads
}

// TestRandomHistoriesOfRelatedDatasetsGiveWhatTheOracleSaysHoweverTheyArrive has inserts, updates, deletions, late commits and equal write_dates in five datasets that name each other, also before
// what is named is known, and compares versions, periods of all links, a mart over three of them, and digests.
func TestRandomHistoriesOfRelatedDatasetsGiveWhatTheOracleSaysHoweverTheyArrive(t *testing.T) {
	t.Parallel()
	seeds := 1
	if chassistest.Drill() {
		seeds = 100
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(uint64(seed), 11))
		var histories [][]record
		var want [][]version
		for _, r := range relations {
			histories = append(histories, r.random(random))
			want = append(want, oracle(histories[len(histories)-1], r.hash))
		}
		var first map[string]string
		for run := range 2 {
			b := newBench(t, company())
			for _, files := range b.history(random, histories, run > 0) {
				b.load(t, files...)
			}
			for n, r := range relations {
				b.mustEqualRelation(t, seed, r, want[n])
			}
			b.mustEqualMart(t, seed, want)
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
			t.Fatalf("seed %d: %+v", seed, histories)
		}
	}
}

func (b *bench) mustEqualRelation(t *testing.T, seed int, r relation, want []version) {
	t.Helper()
	owner := "''"
	for n, ref := range r.refs {
		if n > 0 {
			owner += " || ';'"
		}
		owner += " || coalesce(" + ref + "_id::VARCHAR, '')"
	}
	have := query(t, b.db, fmt.Sprintf(`SELECT format('{} v{} owner={} colour={} at={} current={} deleted={}', %s_id, version, %s, coalesce(colour, ''), coalesce(strftime(write_date, '%%Y-%%m-%%d'), ''), is_current, is_deleted)
		FROM vault_s_%[1]s ORDER BY %[1]s_id, version`, r.name, owner))
	texts := make([]string, len(want))
	for i, v := range want {
		texts[i] = v.String()
	}
	if !slices.Equal(have, texts) {
		t.Errorf("seed %d: versions of %s are\n%s\nwant\n%s", seed, r.name, strings.Join(have, "\n"), strings.Join(texts, "\n"))
	}
	for n, ref := range r.refs {
		mine := slices.Clone(want)
		for i := range mine {
			mine[i].owner = ownersOf(mine[i].owner, r)[n]
		}
		spans := []string{}
		for _, p := range periods(mine) {
			spans = append(spans, fmt.Sprintf("%d %s %s-%s %t", p.id, p.owner, p.from, p.to, p.current))
		}
		have := query(t, b.db, fmt.Sprintf(`SELECT format('{} {} {}-{} {}', t.%s_id, o.%s_id, coalesce(strftime(e.valid_from, '%%Y-%%m-%%d'), ''), coalesce(strftime(e.valid_to, '%%Y-%%m-%%d'), ''), e.is_current)
			FROM vault_e_%[2]s_%[1]s e JOIN vault_h_%[1]s t USING (hk_%[1]s) JOIN vault_h_%[2]s o USING (hk_%[2]s)`, r.name, ref))
		slices.Sort(have)
		slices.Sort(spans)
		if !slices.Equal(have, spans) {
			t.Errorf("seed %d: periods of %s at %s are\n%s\nwant\n%s", seed, r.name, ref, strings.Join(have, "\n"), strings.Join(spans, "\n"))
		}
	}
}

// mustEqualMart joins the current versions one by one.
func (b *bench) mustEqualMart(t *testing.T, seed int, want [][]version) {
	t.Helper()
	current := func(relation int, id string) (version, bool) {
		n := slices.IndexFunc(want[relation], func(v version) bool { return v.current && !v.gone && fmt.Sprint(v.id) == id })
		if n < 0 {
			return version{}, false
		}
		return want[relation][n], true
	}
	const partner, invoice, line = 0, 2, 3
	lines := []string{}
	for _, l := range want[line] {
		if !l.current || l.gone {
			continue
		}
		text := fmt.Sprintf("%d|", l.id)
		i, found := current(invoice, ownersOf(l.owner, relations[line])[0])
		if !found {
			lines = append(lines, text+"|||")
			continue
		}
		text += fmt.Sprintf("%d|%s|", i.id, i.colour)
		if p, found := current(partner, ownersOf(i.owner, relations[invoice])[0]); found {
			text += fmt.Sprintf("%d|%s", p.id, p.colour)
		} else {
			text += "|"
		}
		lines = append(lines, text)
	}
	have := query(t, b.db, "SELECT line_id, invoice_id, invoice_colour, partner_id, partner_colour FROM mart_line")
	slices.Sort(have)
	slices.Sort(lines)
	if !slices.Equal(have, lines) {
		t.Errorf("seed %d: the mart is\n%s\nwant\n%s", seed, strings.Join(have, "\n"), strings.Join(lines, "\n"))
	}
}
