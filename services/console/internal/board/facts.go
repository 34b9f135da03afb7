package board

import (
	"time"

	"github.com/ofitec/ofitec/events"
)

// hear takes a fact in. One that was heard before changes nothing, so that a replay may begin anywhere.
func (b *Board) hear(in Fact) {
	if in.Sequence <= b.last {
		return
	}
	b.last = in.Sequence
	b.keep(in)
	switch e := in.Payload.(type) {
	case events.FailoverStarted:
		b.started(e)
	case events.FailoverFenced, events.FailoverPromoted, events.FailoverSwitched, events.FailoverCompleted, events.FailoverAborted:
		b.advance(in.Payload)
	case events.ExportReady, events.ExportFailed:
		b.exported(in.Payload)
	case events.WarehousePublished:
		b.warehouse.Published, b.warehouse.Load = &e.Published, e.Load.Load
		if b.warehouse.Rejected != nil && !e.Published.Before(b.warehouse.Rejected.At) {
			b.warehouse.Rejected = nil
		}
	case events.WarehouseRejected:
		b.warehouse.Rejected = &Rejection{Mart: e.Mart, Check: e.Check, Reason: e.Reason, At: e.Rejected}
	case events.WarehouseChecked:
		b.warehouse.Marts = nil
		for _, m := range e.Marts {
			b.warehouse.Marts = append(b.warehouse.Marts, Mart{m.Mart, m.Passed, m.Failed, m.Warned, m.Quarantined})
		}
	}
}

// started opens a time line. The first mandate of all moves nothing, so it has none.
func (b *Board) started(e events.FailoverStarted) {
	if e.Cause == events.CauseBoot {
		return
	}
	f := &Failover{
		Epoch: uint64(e.Epoch), From: e.From, To: e.To, Cause: string(e.Cause), Rule: e.Rule, State: "running", DecidedAt: e.DecidedAt,
		Loss: Loss{e.Loss.Seconds, e.Loss.Bytes}, Segments: []Segment{{Name: "fence", Since: &e.DecidedAt}},
	}
	if e.Act != nil {
		f.Act = &Act{e.Act.Actor, e.Act.Reason, e.Act.At}
	}
	b.failover = f
}

// advance takes the next step of the failover that is shown; a step of another one says only who was granted what.
func (b *Board) advance(payload events.Payload) {
	switch e := payload.(type) {
	case events.FailoverFenced:
		if f := b.of(e.Failover); f != nil {
			f.step("promote", e.FencedAt)
			f.Manner, f.Loss = e.Manner, Loss{e.Loss.Seconds, e.Loss.Bytes}
		}
	case events.FailoverPromoted:
		put(&b.mandates, uint64(e.Epoch), e.PromotedAt)
		if f := b.of(e.Failover); f != nil {
			f.step("switch", e.PromotedAt)
		}
	case events.FailoverSwitched:
		if f := b.of(e.Failover); f != nil {
			f.step("", e.SwitchedAt)
			f.Address = e.Address
		}
	case events.FailoverCompleted:
		if f := b.of(e.Failover); f != nil {
			f.complete(e)
		}
	case events.FailoverAborted:
		if f := b.of(e.Failover); f != nil {
			f.step("", e.AbortedAt)
			f.State, f.EndedAt, f.Reason = "aborted", &e.AbortedAt, e.Reason
		}
	}
}

func (b *Board) of(e events.Failover) *Failover {
	if b.failover == nil || b.failover.Epoch != uint64(e.Epoch) {
		return nil
	}
	next := *b.failover // views that were given out keep theirs
	b.failover = &next
	return b.failover
}

// step ends the open segment at a time and opens the next; "" opens none. Steps that come again change nothing.
func (f *Failover) step(next string, at time.Time) {
	n := len(f.Segments) - 1
	if n < 0 || f.Segments[n].Seconds != nil {
		return
	}
	segments := append([]Segment(nil), f.Segments...)
	seconds := max(at.Sub(*segments[n].Since).Seconds(), 0)
	segments[n].Seconds, segments[n].Since = &seconds, nil
	if next != "" {
		segments = append(segments, Segment{Name: next, Start: segments[n].Start + seconds, Since: &at})
	}
	f.Segments = segments
}

// complete replaces the steps by the times as the arbiter measured them.
func (f *Failover) complete(e events.FailoverCompleted) {
	f.State, f.EndedAt, f.Total = "completed", &e.CompletedAt, &e.Times.Total
	f.Loss = Loss{e.Loss.Seconds, e.Loss.Bytes}
	f.Segments = nil
	start := 0.0
	add := func(name string, seconds float64) {
		f.Segments = append(f.Segments, Segment{Name: name, Start: start, Seconds: &seconds})
		start += seconds
	}
	add("detect", e.Times.Detect)
	add("decide", e.Times.Decide)
	add("fence", e.Times.Fence)
	add("promote", e.Times.Promote)
	add("switch", e.Times.Switch)
	if e.Times.LastStaleClient != nil {
		add("stale", *e.Times.LastStaleClient)
	}
}

func (b *Board) exported(payload events.Payload) {
	switch e := payload.(type) {
	case events.ExportReady:
		d, ok := b.dataset(e.Dataset)
		if !ok {
			return
		}
		d.AsOf, d.Pulled, d.Last, d.Failure, d.From = &e.AsOf.SourceClock, &e.AsOf.SourceClock, &e.Rows, nil, e.Region
		b.datasets[e.Dataset] = d
	case events.ExportFailed:
		d, ok := b.dataset(e.Dataset)
		if !ok {
			return
		}
		d.Failure = &Failure{e.FailedAt, e.Code, e.Reason, e.Attempts, e.RetryTime}
		b.datasets[e.Dataset] = d
	}
}

// dataset is a dataset by its name; false when there are more than anybody would look at.
func (b *Board) dataset(name string) (Dataset, bool) {
	if b.datasets == nil {
		b.datasets = map[string]Dataset{}
	}
	d, known := b.datasets[name]
	if !known && len(b.datasets) >= keepDatasets {
		return d, false
	}
	d.Name = name
	return d, true
}
