package odoo

import (
	"bytes"
	"strconv"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// order follows whether rows come in the order of their places, and keeps the least and the greatest. Most rows of a CSV are compared as they are written: the same
// form with a greater text is a later moment.
type order struct {
	least, greatest extract.Place
	some            bool // least and greatest are places
	unsorted        bool
	row, before     []byte // the last row, when greatest does not have it yet, and the one before it, should the last one turn out to be none
	moment          []byte // its write_date, as written
	last            extract.Place
	known           bool // last is the place of a row with that write_date
}

// see takes a row.
func (o *order) see(r *rows, row []byte) error {
	id, moment, _ := r.quick(row)
	if tied, err := o.tie(r, id, moment); tied || err != nil {
		return err
	}
	if !o.some || !isNumber(id) || len(moment) == 0 || len(moment) != len(o.moment) || bytes.Compare(moment, o.moment) <= 0 {
		if err := o.settle(r); err != nil {
			return err
		}
		place, err := r.place(row)
		if err != nil {
			r.misplace(err)
			return nil
		}
		o.placed(place)
		o.moment = append(o.moment[:0], moment...)
		o.last, o.known = place, true
		return nil
	}
	o.row, o.before = o.before, o.row
	o.row, o.moment = append(o.row[:0], row...), append(o.moment[:0], moment...)
	return nil
}

// tie takes a row whose write_date is written as the last one's: that was read once, so only its key is.
func (o *order) tie(r *rows, id, moment []byte) (bool, error) {
	if !isNumber(id) || len(moment) == 0 || !bytes.Equal(moment, o.moment) {
		return false, nil
	}
	if err := o.settle(r); err != nil || !o.known {
		return false, err
	}
	key, err := strconv.ParseInt(string(id), 10, 64)
	if err != nil {
		return false, nil //nolint:nilerr // the row is looked at closely
	}
	o.last.ID = key
	o.placed(o.last)
	return true, nil
}

// settle takes the place of a row that was only compared by its text.
func (o *order) settle(r *rows) error {
	if len(o.row) == 0 {
		return nil
	}
	place, err := r.place(o.row)
	o.last, o.known = place, err == nil
	if err != nil {
		r.misplace(err)
		if len(o.before) > 0 {
			place, err = r.place(o.before)
		}
	}
	o.row, o.before = o.row[:0], o.before[:0]
	if err != nil {
		return nil //nolint:nilerr // it was counted
	}
	o.placed(place)
	return nil
}

// isNumber says that a key is one as far as its digits go; those that are not are looked at closely.
func isNumber(id []byte) bool {
	for _, c := range id {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(id) > 0 && len(id) < 19
}

func (o *order) placed(p extract.Place) {
	switch {
	case !o.some:
		o.least, o.greatest, o.some = p, p, true
	case p.Compare(o.greatest) < 0:
		o.unsorted = true
		if p.Compare(o.least) < 0 {
			o.least = p
		}
	default:
		o.greatest = p
	}
}

// end tells a page what came.
func (o *order) end(r *rows, page *extract.Page) error {
	if err := o.settle(r); err != nil {
		return err
	}
	page.First, page.Last, page.Unsorted = o.least, o.greatest, o.unsorted
	return nil
}
