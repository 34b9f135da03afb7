package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/known"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/reconcile"
)

// comparer answers what the source has, without its rows. odoo.ErrNotOffered means that a server does not.
type comparer interface {
	IDs(ctx context.Context, dataset string, columns odoo.Columns, visit func(id int64) error) (odoo.Listing, error)
	Summary(ctx context.Context, dataset string, w reconcile.Window) (reconcile.Summary, error)
}

var _ comparer = (*odoo.Client)(nil)

// reconciler compares what was received with what the source has, and records what differs: ids that are no more, and rows that were missed or have gone back. Pulls
// cannot see those: a deletion has no write_date, and a row that comes back from a backup, or is lost in a failover, has an older one.
type reconciler struct {
	puller  *puller
	books   *books
	source  comparer
	metrics *metrics
	log     *slog.Logger
	every   time.Duration // at least, between two times that a dataset is read as a whole

	mu     sync.Mutex
	read   map[string]time.Time    // when a dataset was last read as a whole
	epochs map[string]events.Epoch // in which a dataset was last reconciled
}

// found is what a reconciliation of a dataset has found.
type found struct {
	Absent, Asserted int64
	Reread           bool // the server has no list of ids or no summary, so that all was read again
	Agrees           bool // in the end
	Rows             int64
}

// comparison is one reconciliation of a dataset, under way.
type comparison struct {
	*reconciler
	dataset models.Dataset
	epoch   events.Epoch
	options []events.Option
	found   found
	compare []compared
}

// compared is a line of a summary record.
type compared struct {
	window        reconcile.Window
	known, source reconcile.Summary
}

// dataset reconciles one. justRead says that the pull before has read the whole dataset.
func (r *reconciler) dataset(ctx context.Context, dataset models.Dataset, deep depth, justRead bool, options ...events.Option) (found, error) {
	epoch, err := r.puller.mandate(ctx)
	if err != nil {
		return found{}, err
	}
	c := &comparison{reconciler: r, dataset: dataset, epoch: epoch, options: options}
	if err = c.run(ctx, deep, justRead); err == nil {
		r.doneIn(dataset.Name, epoch)
	}
	r.metrics.absent.WithLabelValues(dataset.Name).Add(float64(c.found.Absent))
	r.metrics.asserted.WithLabelValues(dataset.Name).Add(float64(c.found.Asserted))
	label := "differs"
	switch {
	case err != nil:
		label = "failed"
	case c.found.Agrees:
		label = "agrees"
	}
	r.metrics.reconciled.WithLabelValues(dataset.Name, label).Inc()
	return c.found, err
}

func (c *comparison) run(ctx context.Context, deep depth, justRead bool) error {
	state, err := c.puller.ledger.states.Get(ctx, c.dataset.Name)
	if err != nil {
		return &extract.PullError{Code: extract.CodeBus, Reason: "read the cursor", Cause: err}
	}
	begin, err := extract.Begin(state, c.puller.policy, c.epoch)
	if err != nil {
		return err
	}
	err = c.deletions(ctx)
	if err == nil {
		err = c.windows(ctx, reconcile.Window{To: begin.At.Since}, c.firstInEpoch() || deep == reconcileAll)
	}
	if !errors.Is(err, odoo.ErrNotOffered) {
		return err
	}
	c.found.Reread = true
	switch {
	case justRead:
		c.found.Agrees = true
	case !c.mayReadAll(deep):
		return nil
	default:
		if err := c.readAll(ctx); err != nil {
			return err
		}
	}
	c.readNow(c.dataset.Name)
	return nil
}

// firstInEpoch says that this process has not brought a reconciliation of the dataset to its end in this epoch yet. After a failover, rows within the look-back may have gone back to an older version, too.
func (c *comparison) firstInEpoch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epochs[c.dataset.Name] != c.epoch
}

func (r *reconciler) doneIn(dataset string, epoch events.Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epochs == nil {
		r.epochs = map[string]events.Epoch{}
	}
	r.epochs[dataset] = epoch
}

func (r *reconciler) readNow(dataset string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read == nil {
		r.read = map[string]time.Time{}
	}
	r.read[dataset] = time.Now()
}

// mayReadAll says whether it is time to read a dataset as a whole.
func (c *comparison) mayReadAll(deep depth) bool {
	c.mu.Lock()
	last, has := c.read[c.dataset.Name]
	c.mu.Unlock()
	return deep == reconcileAll || !has || time.Since(last) >= c.every
}

// book is the dataset's, with all that is recorded.
func (c *comparison) book(ctx context.Context) (*known.Book, error) {
	if err := c.books.follow(ctx); err != nil {
		return nil, storageFailure("keep the books", err)
	}
	book, err := c.books.open(c.dataset.Name)
	if err != nil {
		return nil, storageFailure("keep the books", err)
	}
	return book, nil
}

// suspicious is how many ids may be missing from a list that does not say how long it is; with more, they must be the smaller part.
const suspicious = 100

// deletions finds ids that are no more: known before the first of two listings, and in neither of them.
func (c *comparison) deletions(ctx context.Context) error {
	var book *known.Book
	// To open the book takes a reading of all that is new, which is of no use for a server without a list.
	opened := func() (*known.Book, error) {
		if book != nil {
			return book, nil
		}
		var err error
		book, err = c.book(ctx)
		return book, err
	}
	defer func() {
		if book != nil {
			_ = book.Close() // only read
		}
	}()
	first, _, err := c.listing(ctx, opened)
	if err != nil || first.missing == 0 {
		return err
	}
	second, listing, err := c.listing(ctx, opened)
	if err != nil {
		return err
	}
	gone := newTombstones(c.dataset, c.puller.spool)
	defer gone.discard()
	err = book.Each(func(position int64, r known.Row) error {
		if first.marks.Has(position) || second.marks.Has(position) {
			return nil
		}
		return gone.add(r.ID)
	})
	if err != nil {
		return storageFailure("list deletions", err)
	}
	return c.bury(ctx, gone, listing.Clock)
}

// listed says which rows of a book are in a listing.
type listed struct {
	marks   known.Marks
	missing int64
}

// errListed ends the reading of a list when it is known that there is one.
var errListed = errors.New("there is a list")

// listing compares the list of ids with a book, which is opened once it is known that the server has a list.
func (c *comparison) listing(ctx context.Context, opened func() (*known.Book, error)) (l listed, listing odoo.Listing, err error) {
	var book *known.Book
	ask := func() (err error) {
		if book != nil {
			l = listed{marks: known.NewMarks(book), missing: book.Rows()}
		}
		listing, err = c.source.IDs(ctx, c.dataset.Name, odoo.Columns{Key: c.dataset.Key}, func(id int64) error {
			if book == nil {
				return errListed
			}
			return l.mark(book, id)
		})
		return err
	}
	if err = c.puller.again(ctx, ask); err != nil && !errors.Is(err, errListed) {
		return l, listing, err
	}
	if book, err = opened(); err != nil {
		return l, listing, err
	}
	err = c.puller.again(ctx, ask)
	if err == nil && !listing.Sure && l.missing > suspicious && l.missing > book.Rows()/2 {
		err = &extract.PullError{Code: extract.CodeContract, Status: 200, Reason: fmt.Sprintf("the list of ids lacks %d of %d that are known and does not say how long it is: this is not taken for deletions", l.missing, book.Rows())}
	}
	return l, listing, err
}

func (l *listed) mark(book *known.Book, id int64) error {
	position, _, has, err := book.Find(id)
	if err == nil && has && !l.marks.Has(position) {
		l.marks.Set(position)
		l.missing--
	}
	return err
}

// windows compares what the look-back does not read again at each pull, and with open also what it does, and reads again what differs. What is within the look-back changes under
// our eyes: it differs often, and that is not held against the source.
func (c *comparison) windows(ctx context.Context, closed reconcile.Window, open bool) error {
	book, err := c.book(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = book.Close() }() // only read
	tops := []reconcile.Window{closed}
	if open && !closed.To.IsZero() {
		tops = append(tops, reconcile.Window{From: closed.To})
	}
	var answers []reconcile.Summary
	agrees := true
	for _, w := range tops {
		source, err := c.compareWindow(ctx, book, w)
		if err != nil {
			return err
		}
		answers, agrees = append(answers, source), agrees && c.found.Agrees
	}
	before := c.found
	if answers[0].WithoutDate > 0 {
		if err := c.undated(ctx, answers[0].WithoutDate); err != nil {
			return err
		}
	}
	if !agrees {
		if err := c.fetchWhatDiffers(ctx, book, tops, answers); err != nil {
			return err
		}
	}
	if !agrees || c.found.Absent != before.Absent || c.found.Asserted != before.Asserted {
		_ = book.Close()
		if book, err = c.book(ctx); err != nil {
			return err
		}
		if _, err = c.compareWindow(ctx, book, closed); err != nil {
			return err
		}
	}
	return c.tell(ctx)
}

func (c *comparison) compareWindow(ctx context.Context, book *known.Book, w reconcile.Window) (reconcile.Summary, error) {
	ours, err := tallies(book, []reconcile.Window{w})
	if err != nil {
		return reconcile.Summary{}, storageFailure("read the books", err)
	}
	source, err := c.summary(ctx, w)
	if err != nil {
		return source, err
	}
	ours[0].CountOnly(source)
	c.compare = append(c.compare, compared{w, reconcile.Summary{Tally: ours[0].Tally}, source})
	c.found.Agrees, c.found.Rows = ours[0].Tally == source.Tally, source.Count
	return source, nil
}

func (c *comparison) summary(ctx context.Context, w reconcile.Window) (s reconcile.Summary, err error) {
	err = c.puller.again(ctx, func() error {
		s, err = c.source.Summary(ctx, c.dataset.Name, w)
		return err
	})
	return s, err
}

// fetchWhatDiffers narrows down where the difference is and reads those windows again.
func (c *comparison) fetchWhatDiffers(ctx context.Context, book *known.Book, level []reconcile.Window, answers []reconcile.Summary) error {
	var fetch []reconcile.Window
	for len(level) > 0 {
		ours, err := tallies(book, level)
		if err != nil {
			return storageFailure("read the books", err)
		}
		var next []reconcile.Window
		for n, w := range level {
			ours[n].CountOnly(answers[n])
			switch a := reconcile.Decide(w, ours[n].Tally, answers[n].Tally, ours[n].First, int64(c.puller.policy.Limit)).(type) {
			case reconcile.Fetch:
				fetch = append(fetch, w)
			case reconcile.Split:
				next = append(next, a.Parts...)
			}
		}
		answers = nil
		for _, w := range next {
			s, err := c.summary(ctx, w)
			if err != nil {
				return err
			}
			answers = append(answers, s)
		}
		level = next
	}
	fetch = reconcile.Join(fetch)
	marks := known.NewMarks(book)
	for _, w := range fetch {
		if _, err := c.reread(ctx, book, w, marks); err != nil {
			return err
		}
	}
	return c.lookFor(ctx, book, fetch, marks)
}
