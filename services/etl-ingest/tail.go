package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// tailPages is how many pages of a walk are kept on disk until its end; a look-back of more pages is stored again at the next walk.
const tailPages = extract.SeenPages

// tail is the end of a walk, of which the next walk will see a part: from its own beginning on, cut into pages at other places. From the tail it is known what
// those pages will be if nothing changes, so that they need not be stored again.
type tail struct {
	pages []tailPage
	whole bool // nothing of the walk has been dropped
}

type tailPage struct {
	draft *spool.File
	first extract.Place
}

func newTail() *tail { return &tail{whole: true} }

// keep takes a page's file over.
func (t *tail) keep(draft *spool.File, first extract.Place) {
	if len(t.pages) == tailPages {
		t.pages[0].draft.Discard()
		t.pages, t.whole = t.pages[1:], false
	}
	t.pages = append(t.pages, tailPage{draft, first})
}

func (t *tail) discard() {
	for _, page := range t.pages {
		page.draft.Discard()
	}
	t.pages = nil
}

// covers says whether the tail has all rows from a place on.
func (t *tail) covers(at extract.Place) bool {
	return len(t.pages) > 0 && (t.whole || t.pages[0].first.Compare(at) < 0)
}

// expected are the pages that a walk from a place on will see, if nothing changes.
func (t *tail) expected(at extract.Place, request odoo.Request) ([]extract.Seen, error) {
	e := &expectation{request: request, at: at, sum: sha256.New()}
	begin := 0 // at the last page that begins before the place: those before it are of no use
	for n, page := range t.pages {
		if page.first.Compare(at) < 0 {
			begin = n
		}
	}
	for _, page := range t.pages[begin:] {
		if err := e.read(page.draft); err != nil {
			return nil, err
		}
	}
	if e.rows > 0 {
		e.end()
	}
	return e.seen, nil
}

// expectation cuts rows into pages.
type expectation struct {
	request odoo.Request
	header  []byte
	at      extract.Place // where the page under way is asked for
	last    extract.Place
	sum     hash.Hash
	rows    int
	seen    []extract.Seen
}

func (e *expectation) read(draft *spool.File) error {
	file, err := draft.Content()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	return odoo.Rows(file, e.request.Format, e.request.Columns, e.take)
}

// take takes a row, or a header line, which has no place.
func (e *expectation) take(line []byte, place *extract.Place) error {
	if place == nil {
		e.header = append(e.header[:0], line...)
		return nil
	}
	if place.Compare(e.at) <= 0 && len(e.seen) == 0 && e.rows == 0 {
		return nil
	}
	if e.rows == 0 {
		e.sum.Reset()
		e.sum.Write(e.header)
	}
	e.sum.Write(line)
	e.rows++
	e.last = *place
	if e.rows == e.request.Limit {
		e.end()
	}
	return nil
}

func (e *expectation) end() {
	e.seen = append(e.seen, extract.Seen{At: e.at.String(), SHA256: hex.EncodeToString(e.sum.Sum(nil))})
	e.at, e.rows = e.last, 0
}

// foresee tells the state what the next walk will see if nothing changes. It only saves storing it again, so that it may fail.
func (p *puller) foresee(ctx context.Context, dataset models.Dataset, walk extract.Walk, state extract.State, t *tail) error {
	next, err := extract.Begin(state, p.policy, walk.Epoch)
	if err != nil || next.At.Since.IsZero() || !t.covers(next.At) {
		return err
	}
	seen, err := t.expected(next.At, p.request(dataset, next.At))
	if err != nil {
		return fmt.Errorf("foresee pages of %s: %w", dataset.Name, err)
	}
	if len(seen) > extract.SeenPages || state.KnowsAll(seen) {
		return nil
	}
	return p.ledger.states.Foresee(ctx, dataset.Name, seen)
}
