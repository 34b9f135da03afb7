package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// source reads a page into sink. An *extract.Failure says what went wrong; odoo.ErrNotOffered that there is no such dataset.
type source interface {
	Page(ctx context.Context, r odoo.Request, sink io.Writer) (extract.Page, error)
}

// store keeps raw files and the manifest's records.
type store interface {
	manifest.Shelf
	Put(ctx context.Context, name, from string) error
	URL() string
	SpoolDir() string
	Check(ctx context.Context) error
}

var (
	_ source = (*odoo.Client)(nil)
	_ error  = (*extract.Failure)(nil)
)

// mandate says whether this region may read now, and under which epoch.
type mandate func(ctx context.Context) (events.Epoch, error)

// puller reads datasets. It is safe for concurrent use, but each dataset by one goroutine at a time.
type puller struct {
	source   source
	store    store
	ledger   *ledger
	mandate  mandate
	policy   extract.Policy
	format   string // csv or json, as asked for
	attempts int
	region   events.Region
	metrics  *metrics
	progress func(dataset string, sofar tally) // after each page
}

// tally is what a pull has read so far.
type tally struct {
	Rows, Bytes         int64
	Pages, Stored, Seen int
	StoredRows          int64
	Took                time.Duration
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
		return t, &extract.Failure{Code: extract.CodeBus, Reason: "read the cursor", Cause: err}
	}
	walk, err := extract.Begin(state, p.policy, epoch)
	if err != nil {
		return t, err
	}
	for {
		var goOn bool
		walk, state, goOn, err = p.page(ctx, dataset, walk, state, &t, options)
		t.Took = time.Since(begun)
		if err != nil || !goOn {
			return t, err
		}
		p.progress(dataset.Name, t)
	}
}

// page fetches one page and does what is decided about it.
func (p *puller) page(ctx context.Context, dataset models.Dataset, walk extract.Walk, state extract.State, t *tally, options []events.Option) (extract.Walk, extract.State, bool, error) {
	draft, page, err := p.fetch(ctx, dataset, walk)
	if err != nil {
		return walk, state, false, err
	}
	defer draft.Discard()
	t.Pages++
	t.Rows += page.Rows
	t.Bytes += page.Bytes
	p.metrics.rows.WithLabelValues(dataset.Name).Add(float64(page.Rows))
	p.metrics.bytes.WithLabelValues(dataset.Name).Add(float64(page.Bytes))
	walk, actions := extract.Decide(state, walk, page, p.policy)
	for _, action := range actions {
		switch a := action.(type) {
		case extract.Refuse:
			return walk, state, false, a.Failure
		case extract.Skip:
			t.Seen++
			p.metrics.pages.WithLabelValues(dataset.Name, "seen").Inc()
		case extract.Store:
			if state, err = p.keep(ctx, dataset, walk, draft, page, a, options); err != nil {
				return walk, state, false, err
			}
			t.Stored++
			t.StoredRows += page.Rows
			p.metrics.pages.WithLabelValues(dataset.Name, "stored").Inc()
		case extract.Record:
			if state, err = p.record(ctx, dataset, walk, a, options); err != nil {
				return walk, state, false, err
			}
		case extract.Done:
			return walk, state, false, nil
		}
	}
	return walk, state, true, nil
}

// fetch reads the walk's next page into a spooled file, several times if that helps. The file is complete but has no lasting name.
func (p *puller) fetch(ctx context.Context, dataset models.Dataset, walk extract.Walk) (*spool.File, extract.Page, error) {
	request := odoo.Request{Dataset: dataset.Name, Columns: odoo.Columns{Key: dataset.Key, Cursor: dataset.Cursor}, Format: p.format, At: walk.At, Limit: p.policy.Limit}
	for failures := 1; ; failures++ {
		draft, err := spool.Create(p.store.SpoolDir())
		if err != nil {
			return nil, extract.Page{}, storageFailure("spool the page", err)
		}
		page, err := p.source.Page(ctx, request, draft)
		if err == nil {
			return draft, page, nil
		}
		draft.Discard()
		var failure *extract.Failure
		if !errors.As(err, &failure) {
			return nil, page, err
		}
		wait, again := extract.Retry(failure, failures, p.attempts)
		if !again {
			return nil, page, err
		}
		select {
		case <-ctx.Done():
			return nil, page, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// keep makes a page last: raw file, then record, then event, then cursor. The mandate is asked for again right before, since reading a page may take long.
func (p *puller) keep(ctx context.Context, dataset models.Dataset, walk extract.Walk, draft *spool.File, page extract.Page, a extract.Store, options []events.Option) (extract.State, error) {
	path, err := draft.Finish()
	if err != nil {
		return extract.State{}, storageFailure("spool the page", err)
	}
	if err := p.stillAllowed(ctx, walk); err != nil {
		return extract.State{}, err
	}
	raw := rawPath(dataset.Name, page, p.fileFormat())
	if err := p.store.Put(ctx, raw, path); err != nil {
		return extract.State{}, storageFailure("store the raw file", err)
	}
	state, _, err := p.ledger.commit(ctx, manifest.Record{
		Kind: manifest.KindRows, Dataset: dataset.Name, Region: p.region, Path: raw, Format: p.fileFormat(), SHA256: page.SHA256, Rows: page.Rows, Bytes: page.Bytes,
		AsOf: events.AsOf{Epoch: walk.Epoch, SourceClock: page.Clock}, At: page.At.String(), From: a.From, To: a.To,
	}, options...)
	return state, err
}

var nothing = sha256.Sum256(nil)

// record writes down that there was nothing new, and how fresh the source was. There is no raw file.
func (p *puller) record(ctx context.Context, dataset models.Dataset, walk extract.Walk, a extract.Record, options []events.Option) (extract.State, error) {
	if err := p.stillAllowed(ctx, walk); err != nil {
		return extract.State{}, err
	}
	state, _, err := p.ledger.commit(ctx, manifest.Record{
		Kind: manifest.KindRows, Dataset: dataset.Name, Region: p.region, Format: p.fileFormat(), SHA256: hex.EncodeToString(nothing[:]),
		AsOf: events.AsOf{Epoch: walk.Epoch, SourceClock: a.Clock}, From: walk.At.Cursor(),
	}, options...)
	return state, err
}

// stillAllowed is nil while the epoch is the walk's.
func (p *puller) stillAllowed(ctx context.Context, walk extract.Walk) error {
	epoch, err := p.mandate(ctx)
	if err != nil {
		return err
	}
	if epoch != walk.Epoch {
		return &extract.Failure{Code: extract.CodeFenced, Reason: fmt.Sprintf("the walk began in epoch %d, this is epoch %d", walk.Epoch, epoch)}
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

// rawPath names a raw file by its content. The date is the source's, UTC.
func rawPath(dataset string, page extract.Page, format string) string {
	return dataset + "/dt=" + page.Clock.UTC().Format(time.DateOnly) + "/" + page.SHA256 + "." + format + ".zst"
}
