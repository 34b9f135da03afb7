package odoo

import (
	"bytes"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// order follows whether rows come in the order of their places, and keeps the least and the greatest. Most rows of a CSV are compared as they are written: the same
// form with a greater text is a later moment.
type order struct {
	least, greatest extract.Place
	some            bool // least and greatest are places
	unsorted        bool
	row             []byte // the last row, when greatest does not have it yet
	moment          []byte // its write_date, as written
}

// see takes a row.
func (o *order) see(r *rows, row []byte) error {
	_, moment, _ := r.quick(row)
	if !o.some || len(moment) == 0 || len(moment) != len(o.moment) || bytes.Compare(moment, o.moment) <= 0 {
		if err := o.settle(r); err != nil {
			return err
		}
		place, err := r.place(row)
		if err != nil {
			return err
		}
		o.placed(place)
		o.moment = append(o.moment[:0], moment...)
		return nil
	}
	o.row, o.moment = append(o.row[:0], row...), append(o.moment[:0], moment...)
	return nil
}

// settle takes the place of a row that was only compared by its text.
func (o *order) settle(r *rows) error {
	if len(o.row) == 0 {
		return nil
	}
	place, err := r.place(o.row)
	if err != nil {
		return err
	}
	o.row = o.row[:0]
	o.placed(place)
	return nil
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
