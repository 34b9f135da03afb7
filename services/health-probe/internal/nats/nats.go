// Package nats publishes observations without ever holding up the observer: what cannot go out now is dropped and counted, the oldest first, for an
// observation that comes late would look fresh.
package nats

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// Reasons for which an event is dropped.
const (
	Away = "away" // no server of the bus is connected
	Late = "late" // it waited too long behind others
	Full = "full" // newer ones came before it could go
)

// Publisher sends on the subject itself: arbiters listen there, and the stream of observations stores the same message. There is no acknowledgement to
// wait for, because nothing depends on one.
type Publisher struct {
	conn   *nats.Conn
	maxAge time.Duration
	tally  func(t events.Type, result string)
	queue  chan queued // never closed
}

type queued struct {
	event events.Event
	since time.Time
}

const queueLength = 16

// New makes a publisher of a connection. tally is called for each event with "published" or the reason why it was dropped.
func New(conn *nats.Conn, maxAge time.Duration, tally func(t events.Type, result string)) *Publisher {
	return &Publisher{conn, maxAge, tally, make(chan queued, queueLength)}
}

// Offer takes an event and returns at once. It is called by one goroutine at a time.
func (p *Publisher) Offer(event events.Event) {
	item := queued{event, time.Now()}
	for {
		select {
		case p.queue <- item:
			return
		default:
		}
		select {
		case oldest := <-p.queue:
			p.tally(oldest.event.Type, Full)
		default:
		}
	}
}

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case item := <-p.queue:
			p.tally(item.event.Type, p.send(item))
		}
	}
}

func (p *Publisher) send(item queued) string {
	if time.Since(item.since) > p.maxAge {
		return Late
	}
	if !p.conn.IsConnected() { // the client would keep it and send it when it is old
		return Away
	}
	data, err := item.event.Encode()
	if err != nil {
		return "invalid"
	}
	err = p.conn.PublishMsg(&nats.Msg{Subject: item.event.Subject, Data: data, Header: nats.Header{
		bus.HeaderContentType: {events.ContentType},
		bus.HeaderMsgID:       {item.event.MsgID()},
		bus.HeaderTrace:       {item.event.TraceParent},
	}})
	if err != nil {
		return Away
	}
	return "published"
}
