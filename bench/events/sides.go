package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

var origin = events.Origin{Region: events.RegionA, Service: events.ServiceProbe}

// event is the n-th observation; base keeps the sides' message ids apart.
func event(base string, n int) (events.Event, error) {
	payload := example.Health(int64(n + 1))
	payload.Incarnation = base
	return events.New(origin, example.At, payload)
}

// message is what a plain client would publish: the same bytes, made beforehand.
func message(base string, n int, header bool) (*nats.Msg, error) {
	e, err := event(base, n)
	if err != nil {
		return nil, err
	}
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	msg := &nats.Msg{Subject: e.Subject, Data: data}
	if header {
		msg.Header = headerOf(e)
	}
	return msg, nil
}

func headerOf(e events.Event) nats.Header {
	return nats.Header{bus.HeaderContentType: {events.ContentType}, bus.HeaderMsgID: {e.MsgID()}, bus.HeaderTrace: {e.TraceParent}}
}

// pushed publishes count messages asynchronously and waits for all acknowledgements.
func pushed(ctx context.Context, g *ground, count int, publish func(n int) error) (time.Duration, error) {
	start := time.Now()
	for n := range count {
		if err := publish(n); err != nil {
			return 0, err
		}
	}
	select {
	case <-g.js.PublishAsyncComplete():
		return time.Since(start), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func publishPlain(ctx context.Context, g *ground, count int, base string, header bool) (time.Duration, error) {
	messages := make([]*nats.Msg, count)
	for n := range messages {
		msg, err := message(base, n, header)
		if err != nil {
			return 0, err
		}
		messages[n] = msg
	}
	return pushed(ctx, g, count, func(n int) error {
		_, err := g.js.PublishMsgAsync(messages[n])
		return err
	})
}

func publishRaw(ctx context.Context, g *ground, count int) (time.Duration, error) {
	return publishPlain(ctx, g, count, "raw", true)
}

func publishBare(ctx context.Context, g *ground, count int) (time.Duration, error) {
	return publishPlain(ctx, g, count, "bare", false)
}

func publishEvents(ctx context.Context, g *ground, count int) (time.Duration, error) {
	b := bus.NewJetStream(g.js, nil)
	return pushed(ctx, g, count, func(n int) error {
		e, err := event("events", n)
		if err != nil {
			return err
		}
		_, err = b.PublishAsync(e)
		return err
	})
}

func made(base string, count int) ([]events.Event, error) {
	all := make([]events.Event, count)
	for n := range all {
		e, err := event(base, n)
		if err != nil {
			return nil, err
		}
		all[n] = e
	}
	return all, nil
}

func publishMade(ctx context.Context, g *ground, count int) (time.Duration, error) {
	b := bus.NewJetStream(g.js, nil)
	all, err := made("made", count)
	if err != nil {
		return 0, err
	}
	return pushed(ctx, g, count, func(n int) error {
		_, err := b.PublishAsync(all[n])
		return err
	})
}

func publishSDK(ctx context.Context, g *ground, count int) (time.Duration, error) {
	all, err := made("sdk", count)
	if err != nil {
		return 0, err
	}
	return pushed(ctx, g, count, func(n int) error {
		ce, err := all[n].CloudEvent()
		if err != nil {
			return err
		}
		data, err := json.Marshal(ce)
		if err != nil {
			return err
		}
		_, err = g.js.PublishMsgAsync(&nats.Msg{Subject: all[n].Subject, Data: data, Header: headerOf(all[n])})
		return err
	})
}

func consumeRaw(ctx context.Context, g *ground, count int) (time.Duration, error) {
	return consumePlain(ctx, g, count, 500)
}

func consumeSingly(ctx context.Context, g *ground, count int) (time.Duration, error) {
	return consumePlain(ctx, g, count, 1)
}

func consumePlain(ctx context.Context, g *ground, count, ahead int) (time.Duration, error) {
	start := time.Now()
	consumer, err := g.js.CreateConsumer(ctx, events.StreamHealth, jetstream.ConsumerConfig{
		Durable: "raw", AckPolicy: jetstream.AckExplicitPolicy, FilterSubjects: []string{events.Filter("", events.TypeHealthObserved)}, MaxAckPending: 256,
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = g.js.DeleteConsumer(ctx, events.StreamHealth, "raw") }()
	messages, err := consumer.Messages(jetstream.PullMaxMessages(ahead))
	if err != nil {
		return 0, err
	}
	defer messages.Stop()
	for range count {
		msg, err := messages.Next()
		for errors.Is(err, jetstream.ErrNoHeartbeat) { // a busy machine; the client has asked again
			msg, err = messages.Next()
		}
		if err != nil {
			return 0, err
		}
		if err := msg.Ack(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// workers is how many handlers run at a time. The consumer takes nothing ahead, the raw side takes what a plain client would.
const workers = 8

func consumeEvents(ctx context.Context, g *ground, count int) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := make(chan struct{}, count)
	start, took := time.Now(), time.Duration(0)
	go func() {
		for range count {
			<-seen
		}
		took = time.Since(start)
		cancel()
	}()
	config := bus.Consumer{
		Service: "bench", Region: events.RegionA, Stream: events.StreamHealth, Durable: "bench", Filters: []string{events.Filter("", events.TypeHealthObserved)}, Create: true, Workers: workers,
	}
	err := bus.NewJetStream(g.js, nil).Consume(ctx, config, func(context.Context, bus.Delivery) error {
		seen <- struct{}{}
		return nil
	})
	_ = g.js.DeleteConsumer(context.WithoutCancel(ctx), events.StreamHealth, "bench")
	if err == nil && took == 0 {
		err = context.DeadlineExceeded
	}
	return took, err
}

func replayRaw(ctx context.Context, g *ground, count int) (time.Duration, error) {
	start := time.Now()
	consumer, err := g.js.OrderedConsumer(ctx, events.StreamHealth, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return 0, err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return 0, err
	}
	defer messages.Stop()
	for range count {
		_, err := messages.Next()
		for errors.Is(err, jetstream.ErrNoHeartbeat) {
			_, err = messages.Next()
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func replayed(ctx context.Context, g *ground, count int, visit func(bus.Replayed) error) (time.Duration, error) {
	start, seen := time.Now(), 0
	err := bus.NewJetStream(g.js, nil).Replay(ctx, bus.Range{Stream: events.StreamHealth}, func(m bus.Replayed) error {
		seen++
		if m.Err != nil {
			return m.Err
		}
		return visit(m)
	})
	if err == nil && seen != count {
		err = fmt.Errorf("read %d events, want %d", seen, count)
	}
	return time.Since(start), err
}

func replayEnvelope(ctx context.Context, g *ground, count int) (time.Duration, error) {
	return replayed(ctx, g, count, func(bus.Replayed) error { return nil })
}

func replayPayload(ctx context.Context, g *ground, count int) (time.Duration, error) {
	return replayed(ctx, g, count, func(m bus.Replayed) error {
		_, err := m.Event.Payload()
		return err
	})
}
