package archive

import (
	"testing"
	"time"
)

// segments are numbers on a timeline.
func segments(timeline uint32, numbers ...uint64) (list []Segment) {
	for _, n := range numbers {
		list = append(list, Segment{timeline, n})
	}
	return list
}

func TestASegmentsNameIsReadAndWritten(t *testing.T) {
	s, ok := ParseSegment("0000000200000001000000FE")
	if !ok || s != (Segment{2, 0x1FE}) || s.String() != "0000000200000001000000FE" {
		t.Errorf("got %+v, %t, %s", s, ok, s)
	}
	for _, name := range []string{"", "00000002.history", "000000010000000000000003.partial", "00000001000000000000FFFF"} {
		if _, ok := ParseSegment(name); ok {
			t.Errorf("%q is taken for a segment", name)
		}
	}
}

func TestHolesAreFoundWithinATimelineAndBetweenTwo(t *testing.T) {
	from := []Backup{{Label: "f", Full: true, Start: Segment{1, 3}}}
	for name, c := range map[string]struct {
		have  []Segment
		holes int
	}{
		"none":                                  {segments(1, 3, 4, 5), 0},
		"before the backup nothing counts":      {segments(1, 1, 3, 4), 0},
		"two in the middle":                     {segments(1, 3, 6), 2},
		"the backup's own first one":            {segments(1, 4, 5), 1},
		"a new timeline goes on":                {append(segments(1, 3, 4), segments(2, 5, 6)...), 0},
		"a new timeline begins again in one":    {append(segments(1, 3, 4, 5), segments(2, 5, 6)...), 0},
		"the old primary had not archived one":  {append(segments(1, 3), segments(2, 5, 6)...), 1},
		"the old timeline hides none of a hole": {append(segments(1, 3, 4, 5, 6, 7), segments(2, 5, 7)...), 1},
	} {
		if got := (Inventory{Segments: c.have, Backups: from}).Holes(); got != c.holes {
			t.Errorf("%s: %d holes, want %d", name, got, c.holes)
		}
	}
}

func TestABackupIsDueWhenARestoreNeedsOne(t *testing.T) {
	now, day := time.Unix(1e9, 0), 24*time.Hour
	old := Backup{Label: "f", Full: true, Start: Segment{1, 3}, At: now.Add(-25 * time.Hour)}
	fresh := Backup{Label: "g", Start: Segment{1, 3}, At: now.Add(-time.Hour)}
	ancient := old
	ancient.At = now.Add(-8 * day)
	for name, c := range map[string]struct {
		backups   []Backup
		have      []Segment
		timeline  uint32
		due, full bool
	}{
		"the first":             {nil, nil, 1, true, true},
		"fresh":                 {[]Backup{old, fresh}, segments(1, 3, 4), 1, false, false},
		"a day old":             {[]Backup{old}, segments(1, 3, 4), 1, true, false},
		"a week since a full":   {[]Backup{ancient}, segments(1, 3, 4), 1, true, true},
		"after a hole":          {[]Backup{old, fresh}, segments(1, 3, 5), 1, true, true},
		"after a new timeline":  {[]Backup{old, fresh}, segments(1, 3, 4), 2, true, true},
		"of a later one's time": {[]Backup{{Full: true, Start: Segment{2, 9}, At: now}}, segments(2, 9), 2, false, false},
	} {
		due, full, why := Inventory{Segments: c.have, Backups: c.backups}.Due(now, day, c.timeline)
		if due != c.due || full != c.full || due != (why != "") {
			t.Errorf("%s: due %t, full %t, %q", name, due, full, why)
		}
	}
}
