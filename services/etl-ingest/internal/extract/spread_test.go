package extract

import (
	"testing"
	"time"
)

func TestATimeIsCutWhereTheRowsAre(t *testing.T) {
	var rows []time.Time
	for n := range 10_000 {
		at := noon.Add(time.Duration(n) * time.Second)
		if n < 5_000 {
			at = noon.Add(time.Duration(n) * time.Millisecond) // half of them in five seconds
		}
		rows = append(rows, at)
	}
	count := func(from, to time.Time) (n int64, _ error) {
		for _, at := range rows {
			if !at.Before(from) && at.Before(to) {
				n++
			}
		}
		return n, nil
	}
	end := noon.Add(20_000 * time.Second)
	bounds, err := Spread(noon, end, 1_000, count)
	if err != nil || len(bounds) < 9 {
		t.Fatalf("%d bounds, %v", len(bounds), err)
	}
	from := time.Time{}
	for _, at := range append(bounds, end) {
		if n, _ := count(from, at); n > 2_500 || !at.After(from) {
			t.Errorf("%d rows to %s", n, at)
		}
		from = at
	}
}

func TestASourceIsNotAskedForEver(t *testing.T) {
	asked := 0
	_, err := Spread(noon, noon.Add(1000*time.Hour), 1, func(_, _ time.Time) (int64, error) { asked++; return 1_000_000, nil })
	if err != nil || asked > spreadQuestions+spreadDepth*spreadParts {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func TestRowsOfOneMomentAreNotCut(t *testing.T) {
	asked := 0
	bounds, err := Spread(noon, noon.Add(time.Hour), 10, func(from, to time.Time) (int64, error) {
		asked++
		if !noon.Before(from) && noon.Before(to) {
			return 1_000_000, nil
		}
		return 0, nil
	})
	if err != nil || len(bounds) != 0 || asked > spreadQuestions {
		t.Errorf("%v after %d questions, %v", bounds, asked, err)
	}
}
