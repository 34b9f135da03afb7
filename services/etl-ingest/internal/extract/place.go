// Package extract decides how a dataset is read: where a walk begins, which page to ask for next, which page is worth keeping, and how far the cursor may
// move. It does no I/O.
//
// A dataset is read in walks. A walk begins a look-back before the cursor and goes page by page in the order of (write_date, id) to the end. Rows of a
// transaction that began earlier and committed later turn up behind the cursor; the look-back finds them as long as it is not shorter than the longest
// transaction. For that the cursor must never pass the source's clock at the *walk's* beginning: a row that commits while a long walk is at its last page may
// belong on its first one.
package extract

import (
	"cmp"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Moment is how a write_date is written: UTC, six digits.
const Moment = "2006-01-02T15:04:05.000000Z"

// Place is a place in the order of (write_date, id). Rows without a write_date come before all others, so the zero Since with an id is a place among those.
// The zero Place is the beginning. Without HasID a place stands before the first row of its write_date.
type Place struct {
	Since time.Time
	ID    int64
	HasID bool
}

// Compare is less than 0 when p comes before q.
func (p Place) Compare(q Place) int {
	if c := p.Since.Compare(q.Since); c != 0 {
		return c
	}
	if p.HasID != q.HasID {
		if p.HasID {
			return 1
		}
		return -1
	}
	return cmp.Compare(p.ID, q.ID)
}

// String is "start", a write_date, or a write_date and an id: "2026-03-02T09:30:00.000000Z#17".
func (p Place) String() string {
	if p == (Place{}) {
		return "start"
	}
	text := "none"
	if !p.Since.IsZero() {
		text = p.Since.UTC().Format(Moment)
	}
	if p.HasID {
		text += "#" + strconv.FormatInt(p.ID, 10)
	}
	return text
}

// Cursor is the place as events have it; nil for the beginning and for places among rows without a write_date.
func (p Place) Cursor() *events.Cursor {
	if p.Since.IsZero() {
		return nil
	}
	return &events.Cursor{WriteDate: p.Since.UTC(), ID: p.ID}
}

// PlaceOf is the place right behind a row.
func PlaceOf(c events.Cursor) Place { return Place{Since: c.WriteDate, ID: c.ID, HasID: true} }
