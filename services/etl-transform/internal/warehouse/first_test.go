package warehouse

import (
	"math/rand/v2"
	"testing"
)

// The vault of one load and that of several must be the same rows, though the first of them goes a way of its own.
func TestAFirstLoadGivesWhatManyGive(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 9))
	records := make([]record, 60)
	for i := range records {
		pick := func(from ...string) string { return from[random.IntN(len(from))] }
		records[i] = record{kind: "rows", asof: 1, id: i + 1, owner: pick("", "7", "8"), colour: pick("", "red", "blue"), at: pick("2026-01-01", "2026-01-02", "")}
	}
	want := oracle(records, hashOf)
	var once map[string]string
	for _, cuts := range [][]int{{0, 60}, {0, 1, 60}, {0, 30, 31, 60}} {
		b := newBench(t)
		b.load(t, b.file("owner", "rows", "owner_id,rut,write_date\n7,,2026-01-01T00:00:00Z\n", 1))
		for i := 1; i < len(cuts); i++ {
			r := b.load(t, b.file("thing", "rows", csvOf(records[cuts[i-1]:cuts[i]]), 1))
			if r.Written != int64(cuts[i]-cuts[i-1]) {
				t.Errorf("%d keys were touched, want %d", r.Written, cuts[i]-cuts[i-1])
			}
		}
		b.againstOracle(t, len(cuts), want)
		digests := b.digests(t)
		for table, digest := range digests {
			if once != nil && once[table] != digest {
				t.Errorf("%s has %s in %d loads, %s in one", table, digest, len(cuts)-1, once[table])
			}
		}
		if once == nil {
			once = digests
		}
	}
}

func TestAFirstLoadWithARepeatedKeyAnAbsenceOrABadRowGoesTheLongWay(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct {
		kind, content string
		said          string // rows of what is known beside observations
		versions      []string
	}{
		"a key twice":    {"rows", lines("1,,red,1,2026-01-01T00:00:00Z", "1,,blue,1,2026-01-02T00:00:00Z"), "0", []string{"1|1|red|false", "1|2|blue|true"}},
		"the same twice": {"rows", lines("1,,red,1,2026-01-01T00:00:00Z", "1,,red,1,2026-01-01T00:00:00Z"), "0", []string{"1|1|red|true"}},
		"an absence":     {"absent", "thing_id\n1\n", "1", nil},
		"an assertion":   {"assert", lines("1,,red,1,2026-01-01T00:00:00Z"), "1", []string{"1|1|red|true"}},
		"a bad row":      {"rows", lines("1,,red,much,2026-01-01T00:00:00Z", "2,,red,1,2026-01-01T00:00:00Z"), "1", []string{"2|1|red|true"}},
		// An older version never stands in for one that could not be read.
		"a bad row beside a good one of its key": {"rows", lines("1,,red,1,2026-01-01T00:00:00Z", "1,,red,much,2026-01-02T00:00:00Z"), "1", []string{"1|1|red|true"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			b := newBench(t)
			b.load(t, b.file("thing", c.kind, c.content, 1))
			b.expect(t, versionsOf, c.versions...)
			b.expect(t, "SELECT count(*) FROM vault_r_thing", c.said)
		})
	}
}
