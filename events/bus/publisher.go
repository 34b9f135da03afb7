package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events"
)

// JetStream is the bus on NATS. It keeps no state of its own and may be used from many goroutines.
type JetStream struct {
	js      jetstream.JetStream
	metrics *Metrics
}

// NewJetStream makes a bus of a JetStream context; metrics may be nil.
func NewJetStream(js jetstream.JetStream, metrics *Metrics) *JetStream {
	return &JetStream{js: js, metrics: metrics}
}

// Publish stores an event and waits until the stream has acknowledged it, or the context ends. A context without an end is given ten seconds.
// An error leaves open whether the event was stored: publish it again, its message id makes that harmless.
func (b *JetStream) Publish(ctx context.Context, event events.Event) (Receipt, error) {
	definition, known := events.Lookup(event.Type)
	if !known {
		return Receipt{}, fmt.Errorf("publish event: %w: %q", events.ErrUnknownType, string(event.Type))
	}
	ctx, span, traceparent := publishing(ctx, event)
	msg, err := encode(event, traceparent)
	if err != nil {
		finish(span, err)
		return Receipt{}, err
	}
	start := time.Now()
	ack, err := b.js.PublishMsg(ctx, msg)
	receipt := Receipt{}
	switch {
	case err != nil:
		err = fmt.Errorf("publish event %s: %w", event.MsgID(), err)
	case ack.Stream != definition.Stream:
		err = fmt.Errorf("publish event %s: stored by stream %s, want %s", event.MsgID(), ack.Stream, definition.Stream)
	default:
		receipt = Receipt{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}
	}
	b.metrics.publishedOne(event.Type, receipt, err, time.Since(start))
	finish(span, err)
	return receipt, err
}

// PublishAsync hands an event to the connection and returns at once; wait is called for the acknowledgement. It is for observations at a high rate:
// whoever must not lose an event uses Publish or an Outbox.
func (b *JetStream) PublishAsync(event events.Event) (wait func(context.Context) (Receipt, error), err error) {
	msg, err := encode(event, event.TraceParent)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	future, err := b.js.PublishMsgAsync(msg)
	if err != nil {
		return nil, fmt.Errorf("publish event %s: %w", event.MsgID(), err)
	}
	return func(ctx context.Context) (Receipt, error) {
		receipt, err := await(ctx, future)
		if err != nil {
			err = fmt.Errorf("publish event %s: %w", event.MsgID(), err)
		}
		b.metrics.publishedOne(event.Type, receipt, err, time.Since(start))
		return receipt, err
	}, nil
}

func await(ctx context.Context, future jetstream.PubAckFuture) (Receipt, error) {
	select {
	case ack := <-future.Ok():
		return Receipt{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
	case err := <-future.Err():
		return Receipt{}, err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

func encode(event events.Event, traceparent string) (*nats.Msg, error) {
	data, err := event.Encode()
	if err != nil {
		return nil, fmt.Errorf("publish event: %w", err)
	}
	return &nats.Msg{Subject: event.Subject, Data: data, Header: nats.Header{
		HeaderContentType: {events.ContentType},
		HeaderMsgID:       {event.MsgID()},
		HeaderTrace:       {traceparent},
	}}, nil
}

// park stores a message that a consumer gave up on and waits until that is acknowledged.
func (b *JetStream) park(ctx context.Context, c Consumer, m message, reason string) error {
	msg := &nats.Msg{Subject: events.ParkedSubject(c.Region, c.Service, m.subject), Data: m.data, Header: c.parkedHeader(m, reason)}
	if _, err := b.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("park message %d of %s: %w", m.sequence, m.stream, err)
	}
	return nil
}
