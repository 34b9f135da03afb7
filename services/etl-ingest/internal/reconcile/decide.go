// Package reconcile decides how what was received is compared with what the source has, window by window of write_date, and what is fetched again. It does no I/O.
//
// A digest of a window is the sum modulo 2^128 of md5("<id>|<write_date>") over its rows, each read as a big-endian number: the order of rows does not matter, and
// what differs is found by asking for parts.
package reconcile

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Window is the rows with From <= write_date < To; a zero bound is none.
type Window struct{ From, To time.Time }

// Has says whether a write_date is in the window. The zero time, of a row without a write_date, is only in the one without bounds.
func (w Window) Has(at time.Time) bool {
	if at.IsZero() {
		return w == Window{}
	}
	return !at.Before(w.From) && (w.To.IsZero() || at.Before(w.To))
}

// Find gives the window that has a write_date, of windows in order that do not overlap; -1 for none.
func Find(windows []Window, at time.Time) int {
	n := sort.Search(len(windows), func(n int) bool { return windows[n].To.IsZero() || at.Before(windows[n].To) })
	if n == len(windows) || !windows[n].Has(at) {
		return -1
	}
	return n
}

// Join puts windows that do not overlap in order, and those that touch together.
func Join(windows []Window) []Window {
	slices.SortFunc(windows, func(a, b Window) int { return a.From.Compare(b.From) }) // none is the beginning
	var joined []Window
	for _, w := range windows {
		if n := len(joined); n > 0 && joined[n-1].To.Equal(w.From) {
			joined[n-1].To = w.To
			continue
		}
		joined = append(joined, w)
	}
	return joined
}

// Algorithm is how digests are made.
const Algorithm = "sum128-md5-id-write_date"

// Digest is a sum modulo 2^128, big-endian.
type Digest [16]byte

// String is 32 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Tally is how many rows a window has, and their digest.
type Tally struct {
	Count  int64
	Digest Digest
}

// moment is how a write_date stands in a digest: UTC, six digits.
const moment = "2006-01-02T15:04:05.000000Z"

// Add counts a row; the zero time is a row without a write_date.
func (t *Tally) Add(id int64, at time.Time) {
	var text [64]byte
	row := strconv.AppendInt(text[:0], id, 10)
	row = append(row, '|')
	if !at.IsZero() {
		row = at.UTC().AppendFormat(row, moment)
	}
	sum := md5.Sum(row)
	low, carry := bits.Add64(binary.BigEndian.Uint64(t.Digest[8:]), binary.BigEndian.Uint64(sum[8:]), 0)
	high, _ := bits.Add64(binary.BigEndian.Uint64(t.Digest[:8]), binary.BigEndian.Uint64(sum[:8]), carry)
	binary.BigEndian.PutUint64(t.Digest[8:], low)
	binary.BigEndian.PutUint64(t.Digest[:8], high)
	t.Count++
}

// Summary is what the source says of a window.
type Summary struct {
	Tally
	WithoutDate int64 // rows of the whole dataset that are in no window
	Clock       time.Time
	CountOnly   bool // the source's digest is of an unknown kind and left out
}

// Action is what is to be done about a window.
type Action interface{ action() }

// Agree says that the window's rows are those of the source.
type Agree struct{}

// Split says that its parts are compared, which together are the window.
type Split struct{ Parts []Window }

// Fetch says that its rows are read again.
type Fetch struct{}

func (Agree) action() {}
func (Split) action() {}
func (Fetch) action() {}

const (
	splitInto   = 16
	finestSplit = time.Second // rows that share their write_date cannot be told apart by it
)

// Decide says what becomes of a window that holds known rows by our books and source rows by the source's. first is the earliest write_date of ours in it. Windows that are
// small enough to be read are; so is one that has no beginning and nothing of ours.
func Decide(w Window, known, source Tally, first time.Time, readable int64) Action {
	if known == source {
		return Agree{}
	}
	if max(known.Count, source.Count) <= readable {
		return Fetch{}
	}
	if w.From.IsZero() {
		if first.IsZero() || !first.Before(w.To) {
			return Fetch{}
		}
		return Split{[]Window{{To: first}, {From: first, To: w.To}}}
	}
	width := w.To.Sub(w.From)
	if width <= finestSplit {
		return Fetch{}
	}
	parts := make([]Window, 0, splitInto)
	for from := w.From; len(parts) < splitInto; from = parts[len(parts)-1].To {
		parts = append(parts, Window{From: from, To: from.Add(width / splitInto).Truncate(time.Microsecond)})
	}
	parts[splitInto-1].To = w.To
	return Split{parts}
}
