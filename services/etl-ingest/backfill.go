package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/reconcile"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// A dataset that was never read is read in windows of write_date, several at a time, when it is large and the server says what is in a window. Pages are made to last in the order of the windows all
// the same: cursor, manifest and what a crash leaves are as if they had been read one after the other.
const (
	backfillPages   = 4  // from so many pages on it is worth the questions
	windowsEach     = 4  // windows for each connection
	windowPagesWait = 16 // pages of a window that wait on disk for those before them
)

// window is a part of a dataset on its way.
type window struct {
	from  extract.Place
	to    time.Time        // zero: to the end
	pages chan fetchedPage // closed at the window's end
}

type fetchedPage struct {
	draft *spool.File
	page  extract.Page
	err   error // the last one
}

// cutWindows asks the server how rows are spread and gives windows that have about as many rows each, and the source's clock before that; none when it is not worth it.
func (p *puller) cutWindows(ctx context.Context, dataset models.Dataset) ([]*window, time.Time, error) {
	sum := func(w reconcile.Window) (reconcile.Summary, error) {
		defer p.slot()()
		return p.sums.Summary(ctx, dataset.Name, w)
	}
	all, err := sum(reconcile.Window{})
	if err != nil || all.Count < backfillPages*int64(p.policy.Limit) {
		return nil, time.Time{}, err
	}
	first, err := p.firstMoment(ctx, dataset)
	if err != nil || first.IsZero() || !first.Before(all.Clock) {
		return nil, time.Time{}, err
	}
	most := max(all.Count/int64(windowsEach*p.connections), int64(p.policy.Limit))
	bounds, err := extract.Spread(first, all.Clock, most, func(from, to time.Time) (int64, error) {
		s, err := sum(reconcile.Window{From: from, To: to})
		return s.Count, err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	windows := []*window{{}}
	for _, at := range bounds {
		windows[len(windows)-1].to = at
		windows = append(windows, &window{from: extract.Place{Since: at}})
	}
	for _, w := range windows {
		w.pages = make(chan fetchedPage, windowPagesWait)
	}
	return windows, all.Clock, nil
}

// firstMoment is the earliest write_date; zero when there is none.
func (p *puller) firstMoment(ctx context.Context, dataset models.Dataset) (time.Time, error) {
	request := p.request(dataset, extract.Place{Since: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)})
	request.Limit = 1
	draft, page, err := p.fetch(ctx, request)
	if err != nil {
		return time.Time{}, err
	}
	draft.Discard()
	if page.Rows > 1 { // it knows no limit, and would send everything for each window
		return time.Time{}, nil
	}
	return page.First.Since, nil
}

// backfill reads a dataset that was never read in windows. It gives the walk as it stands at the end; done is false when the dataset is to be read as usual.
func (p *puller) backfill(ctx context.Context, dataset models.Dataset, walk extract.Walk, state extract.State, t *tally, last *tail, options []events.Option) (_ extract.Walk, _ extract.State, done bool, err error) {
	windows, clock, err := p.cutWindows(ctx, dataset)
	if err != nil && !errors.Is(err, odoo.ErrNotOffered) && ctx.Err() == nil {
		p.log.WarnContext(ctx, "read page by page: the server does not say what is in a window", "dataset", dataset.Name, "error", err)
	}
	if err != nil || len(windows) < 2 {
		return walk, state, false, ctx.Err()
	}
	p.log.InfoContext(ctx, "reading in windows", "dataset", dataset.Name, "windows", len(windows), "connections", p.connections)
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer func() {
		cancel()
		for _, w := range windows {
			for f := range w.pages {
				if f.err == nil {
					f.draft.Discard()
				}
			}
		}
		working.Wait()
	}()
	var next atomic.Int64
	for range p.connections {
		working.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(windows) {
					return
				}
				p.readWindow(ctx, dataset, windows[n])
			}
		})
	}
	for _, w := range windows {
		for f := range w.pages {
			if f.err != nil {
				return walk, state, true, f.err
			}
			// What is said of a page is as fresh as the whole: those of later windows were read before it.
			f.page.Clock = clock
			walk.At = f.page.At
			if walk, state, err = p.settle(ctx, dataset, walk, state, f, t, last, options); err != nil {
				return walk, state, true, err
			}
			t.Took = time.Since(t.begun)
			p.progress(dataset.Name, *t)
		}
	}
	return walk, state, true, ctx.Err()
}

// readWindow reads a window page by page, to its end or that of ctx.
func (p *puller) readWindow(ctx context.Context, dataset models.Dataset, w *window) {
	defer close(w.pages)
	at := w.from
	for {
		draft, page, err := p.fetch(ctx, p.request(dataset, at))
		if err == nil && !extract.Ends(at, page, p.policy.Limit) {
			if err = extract.Follows(at, page, p.policy.Limit); err != nil {
				draft.Discard()
			}
		}
		select {
		case w.pages <- fetchedPage{draft, page, err}:
		case <-ctx.Done():
			if err == nil {
				draft.Discard()
			}
			return
		}
		if err != nil || extract.Ends(at, page, p.policy.Limit) || !extract.GoesOn(page, p.policy.Limit) || !w.to.IsZero() && !page.Last.Since.Before(w.to) {
			return
		}
		at = page.Last
	}
}

// settle does what is decided about a page of a window. Where the next one is, the window knows.
func (p *puller) settle(ctx context.Context, dataset models.Dataset, walk extract.Walk, state extract.State, f fetchedPage, t *tally, last *tail, options []events.Option) (extract.Walk, extract.State, error) {
	walk, actions := extract.Decide(state, walk, f.page, p.policy)
	p.count(ctx, dataset, state, f.page, t)
	last.keep(f.draft, f.page.First)
	state, err := p.act(ctx, dataset, walk, state, actions, f.draft, f.page, t, options)
	return walk, state, err
}
