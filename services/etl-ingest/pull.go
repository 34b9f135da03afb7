package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// source reads a page into sink. An *extract.PullError says what went wrong; odoo.ErrNotOffered that there is no such dataset.
type source interface {
	Page(ctx context.Context, r odoo.Request, sink io.Writer) (extract.Page, error)
}

// store keeps raw files and the manifest's records.
type store interface {
	manifest.Shelf
	Put(ctx context.Context, name, from string) error
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	URL() string
	SpoolDir() string
	Check(ctx context.Context) error
}

var (
	_ source = (*odoo.Client)(nil)
	_ error  = (*extract.PullError)(nil)
)

// mandate says whether this region may read now, and under which epoch.
type mandate func(ctx context.Context) (events.Epoch, error)

// puller reads datasets. It is safe for concurrent use, but each dataset by one goroutine at a time.
type puller struct {
	source   source
	store    store
	spool    spool.Dir
	ledger   *ledger
	mandate  mandate
	policy   extract.Policy
	format   string // csv or json, as asked for
	attempts int

	sums        comparer      // what tells how a dataset is spread; nil: large ones are not read in windows
	connections int           // windows that are read at the same time
	requests    chan struct{} // never closed; a token for each request under way. nil: as many as there are

	region   events.Region
	metrics  *metrics
	log      *slog.Logger
	progress func(dataset string, sofar tally) // after each page
}

// tally is what a pull has read so far.
type tally struct {
	Rows, Bytes         int64
	Pages, Stored, Seen int
	StoredRows          int64
	Took                time.Duration
	begun               time.Time
	FromStart           bool // the whole dataset was read
}

// pull walks through one dataset. What it has stored and announced before an error stays, and the next pull goes on behind it.
func (p *puller) pull(ctx context.Context, dataset models.Dataset, options ...events.Option) (tally, error) {
	var t tally
	begun := time.Now()
	epoch, err := p.mandate(ctx)
	if err != nil {
		return t, err
	}
	state, err := p.ledger.states.Get(ctx, dataset.Name)
	if err != nil {
		return t, &extract.PullError{Code: extract.CodeBus, Reason: "read the cursor", Cause: err}
	}
	walk, err := extract.Begin(state, p.policy, epoch)
	if err != nil {
		return t, err
	}
	t.FromStart, t.begun = walk.At == extract.Place{}, begun
	last := newTail()
	defer last.discard()
	if t.FromStart && p.sums != nil && p.connections > 1 {
		var done bool
		if walk, state, done, err = p.backfill(ctx, dataset, walk, state, &t, last, options); err != nil || done {
			t.Took = time.Since(begun)
			return t, err
		}
	}
	next := p.begin(ctx, p.request(dataset, walk.At))
	defer func() { next.drop() }()
	for {
		walk, state, next, err = p.page(ctx, dataset, walk, state, next, &t, last, options)
		t.Took = time.Since(begun)
		if err != nil {
			return t, err
		}
		if next == nil {
			if err := p.foresee(ctx, dataset, walk, state, last); err != nil {
				p.log.WarnContext(ctx, "the look-back will be stored again", "dataset", dataset.Name, "error", err)
			}
			return t, nil
		}
		p.progress(dataset.Name, t)
	}
}

// page takes one page and does what is decided about it. The next one is on its way then; nil when that was the last.
func (p *puller) page(ctx context.Context, dataset models.Dataset, walk extract.Walk, state extract.State, f *fetching, t *tally, last *tail, options []events.Option) (extract.Walk, extract.State, *fetching, error) {
	draft, page, err := f.await()
	if err != nil {
		return walk, state, nil, err
	}
	last.keep(draft, page.First)
	p.count(ctx, dataset, state, page, t)
	walk, actions := extract.Decide(state, walk, page, p.policy)
	var next *fetching
	if ask, goesOn := actions[len(actions)-1].(extract.Ask); goesOn {
		next = p.begin(ctx, p.request(dataset, ask.At))
	}
	state, err = p.act(ctx, dataset, walk, state, actions, draft, page, t, options)
	return walk, state, next, err
}

// count takes a page into account.
func (p *puller) count(ctx context.Context, dataset models.Dataset, state extract.State, page extract.Page, t *tally) {
	t.Pages++
	t.Rows += page.Rows
	t.Bytes += page.Bytes
	p.metrics.rows.WithLabelValues(dataset.Name).Add(float64(page.Rows))
	p.metrics.bytes.WithLabelValues(dataset.Name).Add(float64(page.Bytes))
	p.tellOdd(ctx, dataset, state, page)
}

// act does what is decided about a page.
func (p *puller) act(ctx context.Context, dataset models.Dataset, walk extract.Walk, state extract.State, actions []extract.Action, draft *spool.File, page extract.Page, t *tally, options []events.Option) (_ extract.State, err error) {
	for _, action := range actions {
		switch a := action.(type) {
		case extract.Refuse:
			return state, a.Why
		case extract.Skip:
			t.Seen++
			p.metrics.pages.WithLabelValues(dataset.Name, "seen").Inc()
		case extract.Store:
			if state, err = p.keep(ctx, dataset, walk, draft, page, a, options); err != nil {
				return state, err
			}
			t.Stored++
			t.StoredRows += page.Rows
			p.metrics.pages.WithLabelValues(dataset.Name, "stored").Inc()
		case extract.Record:
			if state, err = p.record(ctx, dataset, walk, a, options); err != nil {
				return state, err
			}
		case extract.Ask, extract.Done: // is on its way, or the end
		}
	}
	return state, nil
}

// fetch reads a page into a spooled file, several times if that helps. The file is complete but has no lasting name.
func (p *puller) fetch(ctx context.Context, request odoo.Request) (draft *spool.File, page extract.Page, err error) {
	err = p.again(ctx, func() error {
		defer p.slot()()
		if draft, err = p.spool.Create(); err != nil {
			return storageFailure("spool the page", err)
		}
		if page, err = p.source.Page(ctx, request, draft); err != nil {
			draft.Discard()
		}
		return err
	})
	return draft, page, err
}

// slot waits until there may be one more request, and gives the place back when what it returns is called.
func (p *puller) slot() (back func()) {
	if p.requests == nil {
		return func() {}
	}
	p.requests <- struct{}{}
	return func() { <-p.requests }
}

// request is for a page of a dataset.
func (p *puller) request(dataset models.Dataset, at extract.Place) odoo.Request {
	r := odoo.Request{Dataset: dataset.Name, Columns: odoo.Columns{Key: dataset.Key, Cursor: dataset.Cursor}, Format: p.format, At: at, Limit: p.policy.Limit}
	if dataset.Drift == models.Freeze {
		r.Frozen = dataset.Names()
	}
	return r
}

// tellOdd says what is odd about a page that is taken all the same: columns that have come or gone since the last one, and rows that only whoever loads them can reject.
func (p *puller) tellOdd(ctx context.Context, dataset models.Dataset, state extract.State, page extract.Page) {
	if page.Misplaced > 0 {
		p.metrics.misplaced.WithLabelValues(dataset.Name).Add(float64(page.Misplaced))
		p.log.WarnContext(ctx, "rows without a readable key or write_date are kept, and will be rejected when they are loaded", "dataset", dataset.Name, "rows", page.Misplaced)
	}
	if page.Rows == 0 {
		return
	}
	columns := p.columns(dataset, page)
	drift := extract.Compare(dataset.Names(), columns)
	p.metrics.unknown.WithLabelValues(dataset.Name).Set(float64(len(drift.New)))
	if schema := extract.Fingerprint(columns); schema == state.Schema || state.Schema == "" && len(drift.New) == 0 {
		return
	}
	p.metrics.drifts.WithLabelValues(dataset.Name).Inc()
	p.log.WarnContext(ctx, "the export's columns have changed", "dataset", dataset.Name, "against_the_models", drift.String(), "policy", dataset.Drift)
}

// columns are a page's. JSON may leave out what has no value, so that there only columns that the models do not name count.
func (p *puller) columns(dataset models.Dataset, page extract.Page) []string {
	if p.format != "json" || len(page.Columns) == 0 {
		return page.Columns
	}
	return append(extract.Compare(dataset.Names(), page.Columns).New, dataset.Names()...)
}

// again asks the source several times, if that helps.
func (p *puller) again(ctx context.Context, ask func() error) error {
	for failures := 1; ; failures++ {
		err := ask()
		var failure *extract.PullError
		if err == nil || !errors.As(err, &failure) {
			return err
		}
		wait, again := extract.Retry(failure, failures, p.attempts)
		if !again {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// keep makes a page last.
func (p *puller) keep(ctx context.Context, dataset models.Dataset, walk extract.Walk, draft *spool.File, page extract.Page, a extract.Store, options []events.Option) (extract.State, error) {
	return p.commit(ctx, draft, manifest.Record{
		Kind: manifest.KindRows, Dataset: dataset.Name, Format: p.fileFormat(), SHA256: page.SHA256, Rows: page.Rows, Bytes: page.Bytes, Schema: extract.Fingerprint(p.columns(dataset, page)),
		AsOf: events.AsOf{Epoch: walk.Epoch, SourceClock: page.Clock}, At: page.At.String(), From: a.From, To: a.To,
	}, options)
}

var nothing = sha256.Sum256(nil)

// record writes down that there was nothing new, and how fresh the source was. There is no raw file.
func (p *puller) record(ctx context.Context, dataset models.Dataset, walk extract.Walk, a extract.Record, options []events.Option) (extract.State, error) {
	return p.commit(ctx, nil, manifest.Record{
		Kind: manifest.KindRows, Dataset: dataset.Name, Format: p.fileFormat(), SHA256: hex.EncodeToString(nothing[:]),
		AsOf: events.AsOf{Epoch: walk.Epoch, SourceClock: a.Clock}, From: walk.At.Cursor(),
	}, options)
}

// commit makes a file last: raw file, then record, then event, then cursor. The mandate is asked for again right before, since reading a page may take long.
// Without a draft there is no raw file.
func (p *puller) commit(ctx context.Context, draft *spool.File, r manifest.Record, options []events.Option) (extract.State, error) {
	r.Region = p.region
	var path string
	if draft != nil {
		var err error
		if path, err = draft.Finish(); err != nil {
			return extract.State{}, storageFailure("spool the page", err)
		}
		r.Path = rawPath(r) + p.spool.Suffix()
	}
	if err := p.stillAllowed(ctx, r.AsOf.Epoch); err != nil {
		return extract.State{}, err
	}
	if draft != nil {
		if err := p.store.Put(ctx, r.Path, path); err != nil {
			return extract.State{}, storageFailure("store the raw file", err)
		}
	}
	state, _, err := p.ledger.commit(ctx, r, options...)
	return state, err
}

// stillAllowed is nil while the epoch is that in which reading began.
func (p *puller) stillAllowed(ctx context.Context, begun events.Epoch) error {
	epoch, err := p.mandate(ctx)
	if err != nil {
		return err
	}
	if epoch != begun {
		return &extract.PullError{Code: extract.CodeFenced, Reason: fmt.Sprintf("reading began in epoch %d, this is epoch %d", begun, epoch)}
	}
	return nil
}

// fileFormat is what the files are called: JSON comes as one object a line.
func (p *puller) fileFormat() string {
	if p.format == "json" {
		return "ndjson"
	}
	return p.format
}

// rawPath names a raw file by its content, without what tells how it is kept. The date is the source's, UTC.
func rawPath(r manifest.Record) string {
	return r.Dataset + "/dt=" + r.AsOf.SourceClock.UTC().Format(time.DateOnly) + "/" + r.SHA256 + "." + r.Format
}
