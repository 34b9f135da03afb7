package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/chassis/health"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/console/internal/board"
	documents "github.com/ofitec/ofitec/services/console/internal/etcd"
	"github.com/ofitec/ofitec/services/console/internal/page"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
	"github.com/ofitec/ofitec/services/console/internal/region"
)

// How often things are looked at.
const (
	documentsEvery = 500 * time.Millisecond
	documentsIn    = 2 * time.Second
	regionsEvery   = time.Second
	warehouseEvery = 5 * time.Second
	viewEvery      = time.Second            // what only time changes: silent observers, an ended mandate
	settle         = 150 * time.Millisecond // changes that come together are shown together
	again          = 2 * time.Second
)

// desk brings what the console hears and reads to the board, and the board's view to the page.
type desk struct {
	config    *Config
	log       *slog.Logger
	metrics   *metrics
	bus       *bus.JetStream
	connected health.Check
	documents *documents.Reader
	regions   *region.Asker
	stream    *page.Stream

	mu     sync.Mutex
	board  board.Board
	active events.Region
	dirty  chan struct{} // capacity 1; a token when the view may have changed
}

func (d *desk) apply(inputs ...board.Input) {
	now := time.Now()
	d.mu.Lock()
	for _, input := range inputs {
		d.board.Apply(input, now)
	}
	d.mu.Unlock()
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// answers notes whether a source of knowledge answers.
func (d *desk) answers(name, reason string) {
	d.metrics.source(name, reason)
	d.apply(board.Answers{Name: name, Reason: reason})
}

// Detail implements page.Historian.
func (d *desk) Detail(sequence uint64) (events.Event, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.board.Detail(sequence)
}

// Command implements page.Commander.
func (d *desk) Command(ctx context.Context, payload events.Payload) error {
	event, err := events.New(origin(d.writer()), time.Now(), payload)
	if err != nil {
		return err
	}
	_, err = d.bus.Publish(ctx, event)
	return err
}

func (d *desk) writer() events.Region {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.active
}

// every does something at once and then again and again until ctx ends.
func every(ctx context.Context, interval time.Duration, do func(ctx context.Context)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		do(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// publish gives the page a new view when something has changed, and now and then because time has passed.
func (d *desk) publish(ctx context.Context) error {
	defer d.stream.Close()
	ticker := time.NewTicker(viewEvery)
	defer ticker.Stop()
	for {
		d.mu.Lock()
		view := board.Decide(&d.board, time.Now())
		d.active = view.Writer.Region
		d.metrics.facts.Set(float64(d.board.Last()))
		d.mu.Unlock()
		if err := d.stream.Publish(view); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-d.dirty:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(settle):
			}
		}
	}
}

func (d *desk) watchDocuments(ctx context.Context) error {
	return every(ctx, documentsEvery, func(ctx context.Context) {
		within, cancel := context.WithTimeout(ctx, documentsIn)
		defer cancel()
		read, err := d.documents.Read(within)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			d.answers("etcd", short(err))
		default:
			d.apply(read)
			d.answers("etcd", strings.Join(read.Unread, "; "))
		}
	})
}

// short is an error's first line, and not more of it than a page has room for.
func short(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if runes := []rune(line); len(runes) > 240 {
		line = string(runes[:240]) + "…"
	}
	return line
}

// replayFacts reads the failovers of all times, then everything of late, then what comes.
func (d *desk) replayFacts(ctx context.Context) error {
	horizon := time.Now().Add(-d.config.History)
	old := bus.Range{Stream: events.StreamFacts, To: horizon, Types: failovers()}
	for ctx.Err() == nil {
		err := d.bus.Replay(ctx, old, d.heard)
		if err == nil {
			break
		}
		d.wait(ctx, "bus", err)
	}
	for ctx.Err() == nil {
		wanted := bus.Range{Stream: events.StreamFacts, From: horizon, Follow: true}
		d.mu.Lock()
		last := d.board.Last()
		d.mu.Unlock()
		if last > 0 {
			wanted.From, wanted.FromSequence = time.Time{}, last+1
		}
		works := time.AfterFunc(again, func() { d.answers("bus", "") })
		err := d.bus.Replay(ctx, wanted, d.heard)
		works.Stop()
		d.wait(ctx, "bus", err)
	}
	return nil
}

func failovers() []events.Type {
	var types []events.Type
	for _, definition := range events.Definitions {
		if definition.Type.Domain() == "failover" {
			types = append(types, definition.Type)
		}
	}
	return types
}

// heard takes a stored message to the board. One that is no event, or whose payload does not hold together, is shown by its envelope, or not at all.
func (d *desk) heard(r bus.Replayed) error {
	if r.Err != nil {
		d.log.Warn("stored message is no event", "stream", r.Stream, "sequence", r.Sequence, "error", r.Err.Error())
		return nil //nolint:nilerr // one bad message does not end the replay
	}
	payload, err := r.Event.Payload()
	if err != nil && !errors.Is(err, events.ErrUnknownType) {
		d.log.Warn("stored event cannot be read", "sequence", r.Sequence, "type", string(r.Event.Type), "error", err.Error())
	}
	d.apply(board.Fact{Sequence: r.Sequence, Event: r.Event, Payload: payload})
	return nil
}

// replayHealth follows the observations; the past of them is of no use here.
func (d *desk) replayHealth(ctx context.Context) error {
	for ctx.Err() == nil {
		wanted := bus.Range{Stream: events.StreamHealth, From: time.Now().Add(-regionsEvery), Types: []events.Type{events.TypeHealthObserved}, Follow: true}
		err := d.bus.Replay(ctx, wanted, func(r bus.Replayed) error {
			if health, err := events.PayloadOf[events.HealthObserved](r.Event); r.Err == nil && err == nil {
				d.apply(board.Seen{Health: health})
			}
			return nil
		})
		d.wait(ctx, "observations", err)
	}
	return nil
}

// wait tells why a replay has ended, and pauses before the next.
func (d *desk) wait(ctx context.Context, source string, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil && source == "bus" {
		if lost := d.connected(ctx); lost != nil {
			err = lost
		}
		d.answers(source, short(err))
	}
	select {
	case <-ctx.Done():
	case <-time.After(again):
	}
}

// askRegions asks all arbiters at once.
func (d *desk) askRegions(ctx context.Context) error {
	return every(ctx, regionsEvery, func(ctx context.Context) {
		var asked sync.WaitGroup
		for _, entry := range d.config.Arbiters {
			asked.Go(func() {
				r, addr := place(entry)
				if answer := d.regions.Arbiter(ctx, r, addr); ctx.Err() == nil {
					d.apply(answer)
				}
			})
		}
		asked.Wait()
	})
}

// askWarehouse asks etl-transform of the region that takes writes, and reads what readers see there.
func (d *desk) askWarehouse(ctx context.Context) error {
	return every(ctx, warehouseEvery, func(ctx context.Context) {
		active := d.writer()
		d.askTransform(ctx, active)
		d.readMonths(ctx, active)
	})
}

func (d *desk) askTransform(ctx context.Context, active events.Region) {
	addr, configured := at(d.config.Transforms, active)
	if !configured {
		return
	}
	status, err := d.regions.Transform(ctx, active, addr)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.answers("warehouse", short(err))
	default:
		d.apply(status)
		d.answers("warehouse", "")
	}
}

// readMonths keeps the months that are shown while nobody answers: the source says that they are old. Of the two regions the one that takes writes is asked first.
func (d *desk) readMonths(ctx context.Context, active events.Region) {
	if len(d.config.Analytics) == 0 {
		d.apply(board.Months{Money: board.Money{State: "unconfigured"}})
		return
	}
	var problems []error
	unpublished := events.Region("")
	for _, r := range []events.Region{active, active.Peer()} {
		file, configured := at(d.config.Analytics, r)
		if !configured {
			continue
		}
		months, err := postgres.Months(ctx, file)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && len(months) > 0:
			d.apply(board.Months{Money: board.Money{State: "ok", From: r, Months: months}})
			d.answers("analytics", "")
			return
		case err == nil || errors.Is(err, postgres.ErrUnpublished):
			unpublished = r
		default:
			problems = append(problems, err)
		}
	}
	if unpublished != "" {
		d.apply(board.Months{Money: board.Money{State: "unpublished", From: unpublished}})
		d.answers("analytics", "")
	} else if len(problems) > 0 {
		d.answers("analytics", short(problems[0]))
	}
}

// at finds a region in a list such as a=127.0.0.11:8706,b=127.0.0.12:8706.
func at(list []string, wanted events.Region) (string, bool) {
	for _, entry := range list {
		if r, where := place(entry); r == wanted {
			return where, true
		}
	}
	return "", false
}
