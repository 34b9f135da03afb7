package reconcile

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestADigestIsTheSumOfTheRowsWhateverTheirOrder(t *testing.T) {
	var one Tally
	one.Add(7, time.Date(2026, 11, 24, 4, 30, 0, 123456000, time.UTC))
	if got := one.Digest.String(); got != "ddb70bdb0dc16801bdeb830aa9d8ad03" { // md5 of "7|2026-11-24T04:30:00.123456Z"
		t.Errorf("digest %s", got)
	}
	var null Tally
	null.Add(7, time.Time{})
	if got := null.Digest.String(); got != "3e436c6cf1e9b176c94d216b78af232d" { // md5 of "7|"
		t.Errorf("digest without write_date %s", got)
	}
	var forth, back Tally
	for id := range int64(1000) {
		forth.Add(id, time.Unix(id, 0))
		back.Add(999-id, time.Unix(999-id, 0))
	}
	if forth != back {
		t.Errorf("%v and %v", forth, back)
	}
}

// table is a source or our books: ids and write_dates.
type table map[int64]time.Time

func (t table) tally(w Window) (sum Tally, first time.Time) {
	for id, at := range t {
		if w.Has(at) {
			sum.Add(id, at)
			if first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	return sum, first
}

func TestEveryDifferenceIsFetchedAndLittleElse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for round := range 30 {
		ours, theirs := table{}, table{}
		for id := range int64(3000) {
			at := begin.Add(time.Duration(random.Int64N(int64(5 * 365 * 24 * time.Hour)))).Truncate(time.Microsecond)
			if random.IntN(3) == 0 {
				at = begin.Add(1000 * time.Hour) // a mass import, in one transaction
			}
			ours[id], theirs[id] = at, at
		}
		different := map[time.Time]bool{}
		for range 1 + random.IntN(4) {
			id := random.Int64N(3000)
			switch random.IntN(3) {
			case 0:
				different[theirs[id]] = true
				delete(theirs, id)
			case 1:
				different[ours[id]] = true
				delete(ours, id)
			default:
				at := begin.Add(-time.Duration(random.Int64N(1e15)))
				theirs[id+100000], different[at] = at, true
			}
		}
		level, fetched := []Window{{To: begin.Add(6 * 365 * 24 * time.Hour)}}, []Window{}
		asked := 0
		for len(level) > 0 {
			var next []Window
			for _, w := range level {
				asked++
				known, first := ours.tally(w)
				source, _ := theirs.tally(w)
				switch a := Decide(w, known, source, first, 50).(type) {
				case Fetch:
					fetched = append(fetched, w)
				case Split:
					next = append(next, a.Parts...)
				}
			}
			level = next
		}
		fetched = Join(fetched)
		for at := range different {
			if Find(fetched, at) < 0 && !at.IsZero() {
				t.Errorf("round %d: a difference at %s is in none of %v", round, at, fetched)
			}
		}
		if asked > 700 {
			t.Errorf("round %d: %d questions for %d differences", round, asked, len(different))
		}
	}
}

func TestThePartsOfAWindowAreTheWindow(t *testing.T) {
	begin := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, width := range []time.Duration{1100 * time.Millisecond, time.Hour, 40 * 365 * 24 * time.Hour} {
		w := Window{From: begin, To: begin.Add(width)}
		split, ok := Decide(w, Tally{Count: 1000}, Tally{Count: 2000}, begin, 10).(Split)
		if !ok || len(split.Parts) != splitInto || !split.Parts[0].From.Equal(w.From) || !split.Parts[splitInto-1].To.Equal(w.To) {
			t.Fatalf("%s: %+v", width, split)
		}
		for n, part := range split.Parts {
			if !part.From.Before(part.To) || n > 0 && !part.From.Equal(split.Parts[n-1].To) {
				t.Errorf("%s: part %d is %v", width, n, part)
			}
		}
	}
}

func TestWindowsThatTouchAreJoinedWhateverTheirOrder(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 24, hour, 0, 0, 0, time.UTC) }
	got := Join([]Window{{From: at(9)}, {From: at(3), To: at(4)}, {To: at(1)}, {From: at(2), To: at(3)}})
	want := []Window{{To: at(1)}, {From: at(2), To: at(4)}, {From: at(9)}}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for n, hour := range []int{0, 2, 3, 9, 20} {
		if i := Find(got, at(hour)); i != []int{0, 1, 1, 2, 2}[n] {
			t.Errorf("%d o'clock is in window %d", hour, i)
		}
	}
	if Find(got, at(1)) != -1 || Find(got, at(5)) != -1 || Find(got, time.Time{}) != -1 {
		t.Error("a time between the windows is in one")
	}
}
