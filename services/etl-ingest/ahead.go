package main

import (
	"context"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// fetching is a page on its way, while the one before it is being made to last. Nothing is decided about it before that has gone well. A walk has one at most, and so asks the server for one page
// at a time.
type fetching struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the rest is set
	draft  *spool.File
	page   extract.Page
	err    error
}

func (p *puller) begin(ctx context.Context, request odoo.Request) *fetching {
	ctx, cancel := context.WithCancel(ctx)
	f := &fetching{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.draft, f.page, f.err = p.fetch(ctx, request)
	}()
	return f
}

// await gives the page, which is the caller's then.
func (f *fetching) await() (*spool.File, extract.Page, error) {
	<-f.done
	f.cancel()
	return f.draft, f.page, f.err
}

// drop ends it when nobody wants the page any more.
func (f *fetching) drop() {
	if f == nil {
		return
	}
	f.cancel()
	if <-f.done; f.err == nil {
		f.draft.Discard()
	}
}
