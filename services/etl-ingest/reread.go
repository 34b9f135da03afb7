package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/known"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/reconcile"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// bookTally is what a book has in a window, and its earliest write_date there.
type bookTally struct {
	reconcile.Tally
	First time.Time
}

// CountOnly drops our digest where the source has none that we know.
func (t *bookTally) CountOnly(source reconcile.Summary) {
	if source.CountOnly {
		t.Digest = reconcile.Digest{}
	}
}

// tallies sums up a book over windows that are in order and do not overlap, in one reading. A window without bounds has all rows, those without a write_date included.
func tallies(book *known.Book, windows []reconcile.Window) ([]bookTally, error) {
	sums := make([]bookTally, len(windows))
	err := book.Each(func(_ int64, r known.Row) error {
		if n := reconcile.Find(windows, r.At); n >= 0 {
			sums[n].Add(r.ID, r.At)
			if sums[n].First.IsZero() || r.At.Before(sums[n].First) {
				sums[n].First = r.At
			}
		}
		return nil
	})
	return sums, err
}

// reread reads a window page by page, marks what is there, and records pages that hold a row which the book has not, or not so. It gives the source's clock at the last page: a row that appears
// later is seen by a pull that is later, too.
func (c *comparison) reread(ctx context.Context, book *known.Book, w reconcile.Window, marks known.Marks) (clock time.Time, err error) {
	at := extract.Place{Since: w.From}
	for {
		var differs bool
		request := c.puller.request(c.dataset, at)
		request.Visit = func() func(extract.Place) error {
			differs = false
			return func(place extract.Place) error {
				position, row, has, err := book.Find(place.ID)
				if err != nil {
					return err
				}
				if has {
					marks.Set(position)
				}
				differs = differs || w.Has(place.Since) && (!has || !row.At.Equal(place.Since))
				return nil
			}
		}
		draft, page, err := c.puller.fetch(ctx, request)
		if err != nil {
			return clock, err
		}
		clock = page.Clock
		place := ""
		if w == (reconcile.Window{}) && page.Rows > 0 && page.First.Since.IsZero() {
			var changed bool
			place, changed, err = c.undatedPage(ctx, at, page)
			differs = differs || changed
		}
		if differs && err == nil {
			err = c.assert(ctx, draft, page, place)
		}
		draft.Discard()
		if err != nil || page.Rows == 0 || extract.Ends(at, page, c.puller.policy.Limit) {
			return clock, err
		}
		if err := extract.Follows(at, page, request.Limit); err != nil {
			return clock, err
		}
		if !extract.GoesOn(page, c.puller.policy.Limit) || !w.To.IsZero() && !page.Last.Since.Before(w.To) {
			return clock, nil
		}
		at = page.Last
	}
}

// assert records a page as what the source holds now, whatever was seen before.
func (c *comparison) assert(ctx context.Context, draft *spool.File, page extract.Page, at string) error {
	_, err := c.puller.commit(ctx, draft, manifest.Record{
		Kind: manifest.KindAssert, Dataset: c.dataset.Name, Format: c.puller.fileFormat(), SHA256: page.SHA256, Rows: page.Rows, Bytes: page.Bytes,
		AsOf: events.AsOf{Epoch: c.epoch, SourceClock: page.Clock}, At: at,
	}, c.options)
	if err == nil {
		c.found.Asserted += page.Rows
	}
	return err
}

// undatedPage names the place of a page that begins with rows without a write_date, and says whether it has changed since it was last recorded: nothing else tells.
func (c *comparison) undatedPage(ctx context.Context, at extract.Place, page extract.Page) (place string, changed bool, err error) {
	state, err := c.puller.ledger.states.Get(ctx, c.dataset.Name)
	if err != nil {
		return "", false, &extract.PullError{Code: extract.CodeBus, Reason: "read the cursor", Cause: err}
	}
	place = "undated:" + at.String()
	return place, !state.Knows(place, page.SHA256), nil
}

// undated reads the rows without a write_date: no pull ever comes back to them. Pages that stand as they did are not recorded again.
func (c *comparison) undated(ctx context.Context, count int64) error {
	at := extract.Place{}
	for count > 0 {
		request := c.puller.request(c.dataset, at)
		request.Limit = int(min(count, int64(request.Limit)))
		draft, page, err := c.puller.fetch(ctx, request)
		if err != nil {
			return err
		}
		if page.Rows > 0 && page.First.Since.IsZero() {
			var place string
			var changed bool
			if place, changed, err = c.undatedPage(ctx, at, page); changed {
				err = c.assert(ctx, draft, page, place)
			}
		}
		draft.Discard()
		if err != nil || page.Rows == 0 || !page.Last.Since.IsZero() {
			return err
		}
		if err := extract.Follows(at, page, request.Limit); err != nil {
			return err
		}
		at, count = page.Last, count-page.Rows
	}
	return nil
}

// idsAtOnce is how many rows are asked for by id in one request.
const idsAtOnce = 500

// lookFor asks for the rows that the book has in the windows and the source had not: those that were moved to another write_date are recorded as they are, and those that are
// no more were now missed twice. A server that cannot be asked by id leaves it to its list of ids.
func (c *comparison) lookFor(ctx context.Context, book *known.Book, windows []reconcile.Window, marks known.Marks) error {
	gone := newTombstones(c.dataset, c.puller.spool)
	defer gone.discard()
	var clock time.Time
	var ids []int64
	ask := func() error {
		if len(ids) == 0 {
			return nil
		}
		there, asked, err := c.rowsByID(ctx, ids)
		if err != nil {
			return err
		}
		clock = asked
		for _, id := range ids {
			if _, has := slices.BinarySearch(there, id); !has {
				if err := gone.add(id); err != nil {
					return storageFailure("list deletions", err)
				}
			}
		}
		ids = ids[:0]
		return nil
	}
	err := book.Each(func(position int64, r known.Row) error {
		if marks.Has(position) || reconcile.Find(windows, r.At) < 0 {
			return nil
		}
		if ids = append(ids, r.ID); len(ids) < idsAtOnce {
			return nil
		}
		return ask()
	})
	if err == nil {
		err = ask()
	}
	if errors.Is(err, errNotByID) {
		c.log.WarnContext(ctx, "the server does not know ids=; rows that have moved or gone wait for its list of ids", "dataset", c.dataset.Name)
		return nil
	}
	if err != nil {
		return err
	}
	return c.bury(ctx, gone, clock)
}

var errNotByID = errors.New("the server does not give rows by id")

// rowsByID records the rows as they are now and says which there are, ascending.
func (c *comparison) rowsByID(ctx context.Context, ids []int64) (there []int64, clock time.Time, err error) {
	request := c.puller.request(c.dataset, extract.Place{})
	request.IDs = ids
	request.Visit = func() func(extract.Place) error {
		there = there[:0]
		return func(place extract.Place) error {
			if _, asked := slices.BinarySearch(ids, place.ID); !asked {
				return errNotByID
			}
			there = append(there, place.ID)
			return nil
		}
	}
	draft, page, err := c.puller.fetch(ctx, request)
	var failure *extract.PullError
	if errors.As(err, &failure) && failure.Status == 400 {
		err = errNotByID
	}
	if err != nil {
		return nil, clock, err
	}
	defer draft.Discard()
	slices.Sort(there)
	if page.Rows > 0 {
		err = c.assert(ctx, draft, page, "")
	}
	return there, page.Clock, err
}

// readAll does without a list of ids or without summaries: everything is read again, and what is in neither of two readings is no more.
func (c *comparison) readAll(ctx context.Context) error {
	book, err := c.book(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = book.Close() }() // only read
	marks := known.NewMarks(book)
	if _, err := c.reread(ctx, book, reconcile.Window{}, marks); err != nil {
		return err
	}
	missing := book.Rows() - marks.Count()
	c.found.Rows, c.found.Agrees = book.Rows(), missing == 0 && c.found.Asserted == 0
	if missing == 0 {
		return nil
	}
	clock, err := c.reread(ctx, book, reconcile.Window{}, marks)
	if err != nil {
		return err
	}
	gone := newTombstones(c.dataset, c.puller.spool)
	defer gone.discard()
	err = book.Each(func(position int64, r known.Row) error {
		if marks.Has(position) {
			return nil
		}
		return gone.add(r.ID)
	})
	if err != nil {
		return storageFailure("list deletions", err)
	}
	return c.bury(ctx, gone, clock)
}

// tombstones is the body of an absent record, spooled.
type tombstones struct {
	dir         spool.Dir
	header      string
	dataset     string
	draft       *spool.File
	sum         hash.Hash
	rows, bytes int64
}

func newTombstones(dataset models.Dataset, dir spool.Dir) *tombstones {
	return &tombstones{dir: dir, header: dataset.Key + "\n", dataset: dataset.Name, sum: sha256.New()}
}

func (t *tombstones) add(id int64) error {
	if t.draft == nil {
		draft, err := t.dir.Create()
		if err != nil {
			return err
		}
		t.draft = draft
		if err := t.write(t.header); err != nil {
			return err
		}
	}
	t.rows++
	return t.write(strconv.FormatInt(id, 10) + "\n")
}

func (t *tombstones) write(text string) error {
	t.sum.Write([]byte(text))
	t.bytes += int64(len(text))
	_, err := t.draft.Write([]byte(text))
	return err
}

func (t *tombstones) discard() {
	if t.draft != nil {
		t.draft.Discard()
	}
}

// bury records ids that are no more, as of the second look at the source.
func (c *comparison) bury(ctx context.Context, gone *tombstones, clock time.Time) error {
	if gone.rows == 0 {
		return nil
	}
	_, err := c.puller.commit(ctx, gone.draft, manifest.Record{
		Kind: manifest.KindAbsent, Dataset: c.dataset.Name, Format: "csv", SHA256: hex.EncodeToString(gone.sum.Sum(nil)), Rows: gone.rows, Bytes: gone.bytes,
		AsOf: events.AsOf{Epoch: c.epoch, SourceClock: clock},
	}, c.options)
	if err == nil {
		c.found.Absent += gone.rows
	}
	return err
}

// summaryLine is a line of a summary record's file.
type summaryLine struct {
	From         *time.Time `json:"from"`
	To           *time.Time `json:"to"`
	Count        int64      `json:"count"`
	Digest       string     `json:"digest"`
	SourceCount  int64      `json:"source_count"`
	SourceDigest string     `json:"source_digest"`
	Agrees       bool       `json:"agrees"`
	Algorithm    string     `json:"algorithm"`
}

// tell records what was compared.
func (c *comparison) tell(ctx context.Context) error {
	draft, err := c.puller.spool.Create()
	if err != nil {
		return storageFailure("spool the summary", err)
	}
	defer draft.Discard()
	sum, size := sha256.New(), int64(0)
	var clock time.Time
	for _, line := range c.compare {
		text, err := json.Marshal(line.line())
		if err != nil {
			return fmt.Errorf("write summary: %w", err)
		}
		text = append(text, '\n')
		sum.Write(text)
		size += int64(len(text))
		clock = line.source.Clock
		if _, err := draft.Write(text); err != nil {
			return storageFailure("spool the summary", err)
		}
	}
	_, err = c.puller.commit(ctx, draft, manifest.Record{
		Kind: manifest.KindSummary, Dataset: c.dataset.Name, Format: "ndjson", SHA256: hex.EncodeToString(sum.Sum(nil)), Rows: int64(len(c.compare)), Bytes: size,
		AsOf: events.AsOf{Epoch: c.epoch, SourceClock: clock},
	}, c.options)
	return err
}

func (c compared) line() summaryLine {
	l := summaryLine{
		Count: c.known.Count, Digest: c.known.Digest.String(), SourceCount: c.source.Count, SourceDigest: c.source.Digest.String(),
		Agrees: c.known.Tally == c.source.Tally, Algorithm: reconcile.Algorithm,
	}
	if c.source.CountOnly {
		l.Algorithm = "count"
	}
	if !c.window.From.IsZero() {
		l.From = &c.window.From
	}
	if !c.window.To.IsZero() {
		l.To = &c.window.To
	}
	return l
}
