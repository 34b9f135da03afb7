package archive

import (
	"fmt"
	"strconv"
	"time"
)

// Segment is one file of WAL: its timeline, and its number on it.
type Segment struct {
	Timeline uint32
	Number   uint64
}

// perID is how many segments of 16 MiB share the middle part of a name. pgBackRest and initdb's default know no other size here.
const perID = (1 << 32) / (16 << 20)

// ParseSegment reads the name of a whole segment.
func ParseSegment(name string) (Segment, bool) {
	if len(name) != 24 {
		return Segment{}, false
	}
	timeline, err1 := strconv.ParseUint(name[:8], 16, 32)
	id, err2 := strconv.ParseUint(name[8:16], 16, 64)
	part, err3 := strconv.ParseUint(name[16:], 16, 64)
	if err1 != nil || err2 != nil || err3 != nil || part >= perID {
		return Segment{}, false
	}
	return Segment{uint32(timeline), id*perID + part}, true
}

// String is the segment's file name.
func (s Segment) String() string {
	return fmt.Sprintf("%08X%08X%08X", s.Timeline, s.Number/perID, s.Number%perID)
}

// Backup is one base backup.
type Backup struct {
	Label string
	Full  bool
	Start Segment // from which on WAL is needed
	At    time.Time
}

// Inventory is what the repository has.
type Inventory struct {
	Segments []Segment
	Backups  []Backup // oldest first
}

// Newest is the last backup, nil when there is none.
func (i Inventory) Newest() *Backup {
	if len(i.Backups) == 0 {
		return nil
	}
	return &i.Backups[len(i.Backups)-1]
}

// Missing says of a segment whether the repository lacks it.
func (i Inventory) Missing() func(Segment) bool {
	have := map[Segment]bool{}
	for _, s := range i.Segments {
		have[s] = true
	}
	return func(s Segment) bool { return !have[s] }
}

// Holes is how many segments lack between the newest backup and the last one that is there, so that a restore ends before them: within a timeline, or where none
// of them has the number. Without a backup nothing is restored, and nothing lacks.
func (i Inventory) Holes() int {
	newest := i.Newest()
	if newest == nil {
		return 0
	}
	have, anywhere := map[Segment]bool{}, map[uint64]bool{}
	first, last := map[uint32]uint64{}, map[uint32]uint64{}
	var end uint64
	for _, s := range i.Segments {
		if s.Number < newest.Start.Number || s.Timeline < newest.Start.Timeline {
			continue
		}
		have[s], anywhere[s.Number], end = true, true, max(end, s.Number)
		if known, found := first[s.Timeline]; !found || s.Number < known {
			first[s.Timeline] = s.Number
		}
		last[s.Timeline] = max(last[s.Timeline], s.Number)
	}
	lacking := map[uint64]bool{}
	for n := newest.Start.Number; n < end; n++ {
		lacking[n] = !anywhere[n]
	}
	for timeline := range first {
		for n := first[timeline]; n < last[timeline]; n++ {
			lacking[n] = lacking[n] || !have[Segment{timeline, n}]
		}
	}
	holes := 0
	for _, lacks := range lacking {
		if lacks {
			holes++
		}
	}
	return holes
}

// Due says which backup is to be made now, if any, and why: the first one, after a hole, when another timeline began, or when the newest is old. Only the first and
// every seventh day's is full; the others have what has changed.
func (i Inventory) Due(now time.Time, every time.Duration, timeline uint32) (due, full bool, why string) {
	newest := i.Newest()
	switch {
	case newest == nil:
		return true, true, "there is no backup"
	case newest.Start.Timeline != timeline:
		return true, true, fmt.Sprintf("the newest backup is of timeline %d, and %d is written", newest.Start.Timeline, timeline)
	case i.Holes() > 0:
		return true, true, fmt.Sprintf("%d segments of WAL lack since the newest backup", i.Holes())
	case now.Sub(newest.At) < every:
		return false, false, ""
	}
	lastFull := time.Time{}
	for _, b := range i.Backups {
		if b.Full {
			lastFull = b.At
		}
	}
	return true, now.Sub(lastFull) >= 7*every, fmt.Sprintf("the newest backup is older than %s", every)
}
