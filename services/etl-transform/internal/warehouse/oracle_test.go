package warehouse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The oracle is the same rules written as naively as possible: one key at a time, all of its records in memory.

// record is what a raw file says of a key.
type record struct {
	kind   string // rows, absent, assert, or rejected for a row that cannot be read
	asof   int64
	id     int
	owner  string // the other row's id, "" for none
	colour string
	at     string // write_date, "" for none
}

func (r record) payload() string { return r.owner + "/" + r.colour }

// version is one row of the satellite.
type version struct {
	id, version   int
	owner, colour string
	at            string
	current, gone bool
}

func (v version) String() string {
	return fmt.Sprintf("%d v%d owner=%s colour=%s at=%s current=%t deleted=%t", v.id, v.version, v.owner, v.colour, v.at, v.current, v.gone)
}

// observed is one distinct observation and the greatest asof at which it was seen; seen is false for one that was only asserted.
type observed struct {
	record
	seen bool
}

// oracle gives the satellite. hash orders payloads as the warehouse does.
func oracle(records []record, hash func(record) string) []version {
	byKey := map[int][]record{}
	for _, r := range records {
		byKey[r.id] = append(byKey[r.id], r)
	}
	var all []version
	for id, mine := range byKey {
		all = append(all, history(id, mine, hash)...)
	}
	slices.SortFunc(all, func(a, b version) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.version, b.version)) })
	return all
}

func history(id int, mine []record, hash func(record) string) []version {
	observations := map[string]*observed{}
	var asserts []record
	var present, absent, rejected int64 = -1, -1, -1
	for _, r := range mine {
		switch r.kind {
		case "absent":
			absent = max(absent, r.asof)
			continue
		case "rejected":
			rejected = max(rejected, r.asof)
			continue
		case "assert":
			asserts = append(asserts, r)
		}
		present = max(present, r.asof)
		name := r.at + "|" + r.payload()
		o := observations[name]
		if o == nil {
			o = &observed{record: r}
			o.asof = -1
			observations[name] = o
		}
		if r.kind == "rows" {
			o.seen, o.asof = true, max(o.asof, r.asof)
		}
	}
	type step struct {
		record
		segment int64
		place   int
	}
	var line []step
	for _, o := range observations {
		if !o.seen {
			continue
		}
		s := step{record: o.record, segment: -1, place: 1}
		for _, a := range asserts {
			if a.asof <= o.asof {
				s.segment = max(s.segment, a.asof)
			}
		}
		line = append(line, s)
	}
	for _, a := range asserts {
		line = append(line, step{record: a, segment: a.asof})
	}
	slices.SortFunc(line, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.place, b.place), strings.Compare(a.at, b.at), strings.Compare(hash(a.record), hash(b.record)))
	})
	var versions []version
	for i, s := range line {
		if i > 0 && line[i-1].payload() == s.payload() {
			continue
		}
		versions = append(versions, version{id: id, version: len(versions) + 1, owner: s.owner, colour: s.colour, at: s.at})
	}
	if len(versions) > 0 {
		last := &versions[len(versions)-1]
		last.current = rejected <= present || rejected < absent
		last.gone = last.current && absent > present
	}
	return versions
}

// period is one row of the effectivity.
type period struct {
	id              int
	owner, from, to string
	current         bool
}

func periods(versions []version) []period {
	var all []period
	for i, v := range versions {
		first := i == 0 || versions[i-1].id != v.id
		if !first && versions[i-1].owner == v.owner {
			continue
		}
		p := period{id: v.id, owner: v.owner, from: v.at, current: true}
		for _, later := range versions[i:] {
			if later.id != v.id {
				break
			}
			if later.owner != v.owner {
				p.to, p.current = later.at, false
				break
			}
			p.current = later.current && !later.gone
		}
		if v.owner != "" {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b period) int {
		return cmp.Or(cmp.Compare(a.id, b.id), strings.Compare(a.from, b.from), strings.Compare(a.owner, b.owner), strings.Compare(a.to, b.to))
	})
	return all
}
