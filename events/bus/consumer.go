package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	bindRetry   = 2 * time.Second
	parkRetry   = 5 * time.Second
	pullExpires = 30 * time.Second
	pullPulse   = 1 * time.Second
)

// Consume hands the events of a durable to the handler until the context ends, and then returns nil: nothing new is taken, what runs is finished within
// the grace. Lost connections and elections are waited out and told to OnState. It returns an error only where waiting cannot help: a consumer that is
// configured in a way that loses events, or one that is not there and must not be made (ErrNoDurable).
func (b *JetStream) Consume(ctx context.Context, config Consumer, handler Handler) error {
	c, err := config.complete()
	if err != nil {
		return err
	}
	if c.Metrics == nil {
		c.Metrics = b.metrics
	}
	waits, tell := &lasting{log: c.Log, what: "consumer waits"}, c.OnState
	c.OnState = func(err error) {
		if err == nil {
			waits.note(ctx, nil, "stream", c.Stream, "durable", c.Durable)
		}
		tell(err)
	}
	for ctx.Err() == nil {
		durable, err := b.bind(ctx, c)
		if err == nil {
			err = b.pull(ctx, c, durable, handler)
		}
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrNoDurable) || errors.Is(err, ErrUnsafeDurable) {
			return err
		}
		c.OnState(err)
		waits.note(ctx, err, "stream", c.Stream, "durable", c.Durable)
		select {
		case <-ctx.Done():
		case <-time.After(bindRetry):
		}
	}
	return nil //nolint:nilerr // ctx has ended, whatever the last pull made of it
}

// Errors of Consume.
var (
	ErrNoDurable     = errors.New("no such durable")
	ErrUnsafeDurable = errors.New("durable may lose events")
)

// bind finds the durable, or makes it when the configuration says so.
func (b *JetStream) bind(ctx context.Context, c Consumer) (jetstream.Consumer, error) {
	durable, err := b.js.Consumer(ctx, c.Stream, c.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && c.Create:
		durable, err = b.js.CreateConsumer(ctx, c.Stream, durableConfig(c.Durable, c.Filters, c.New, c.AckWait))
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, fmt.Errorf("bind %s of %s: %w: it is made by the operator (ofitec up)", c.Durable, c.Stream, ErrNoDurable)
	}
	if err != nil {
		return nil, fmt.Errorf("bind %s of %s: %w", c.Durable, c.Stream, err)
	}
	// With a limit of its own the stream would stop delivering before we park: on a work queue the message then stays for ever,
	// elsewhere it is skipped, and only the MAX_DELIVERIES advisory tells. Such a durable is refused, so that there is no advisory to miss.
	have := durable.CachedInfo().Config
	if have.MaxDeliver > 0 {
		return nil, fmt.Errorf("bind %s of %s: %w: max_deliver is %d, want -1", c.Durable, c.Stream, ErrUnsafeDurable, have.MaxDeliver)
	}
	if have.AckPolicy != jetstream.AckExplicitPolicy {
		return nil, fmt.Errorf("bind %s of %s: %w: ack_policy is %s, want explicit", c.Durable, c.Stream, ErrUnsafeDurable, have.AckPolicy)
	}
	return durable, nil
}

// pull takes messages until the context ends or the connection fails.
func (b *JetStream) pull(ctx context.Context, c Consumer, durable jetstream.Consumer, handler Handler) error {
	// Nothing is taken ahead: a message that waits here behind a long handler would come again and again, and count as tried each time.
	messages, err := durable.Messages(jetstream.PullMaxMessages(1), jetstream.PullExpiry(pullExpires), jetstream.PullHeartbeat(pullPulse))
	if err != nil {
		return fmt.Errorf("pull from %s: %w", c.Durable, err)
	}
	defer messages.Stop()
	unhook := context.AfterFunc(ctx, messages.Stop)
	defer unhook()
	c.OnState(nil)

	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(c.Grace, cancel) })()
	slots := make(chan struct{}, c.Workers) // never closed; a token for each running handler
	var running sync.WaitGroup
	defer running.Wait()
	silent := false // the stream has missed its heartbeats
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		var patience []jetstream.NextOpt
		if silent { // no message need come for a long time: that heartbeats are not missed for a while is what tells that the stream is back
			patience = append(patience, jetstream.NextMaxWait(3*pullPulse))
		}
		msg, err := messages.Next(patience...)
		if silent && errors.Is(err, nats.ErrTimeout) && ctx.Err() == nil {
			<-slots
			if b.js.Conn().IsConnected() {
				silent = false
				c.OnState(nil)
			}
			continue
		}
		if errors.Is(err, jetstream.ErrNoHeartbeat) && ctx.Err() == nil {
			<-slots
			silent = true
			c.OnState(fmt.Errorf("pull from %s: %w", c.Durable, err))
			continue // the next call asks again
		}
		if err != nil {
			return fmt.Errorf("pull from %s: %w", c.Durable, err)
		}
		if silent {
			silent = false
			c.OnState(nil)
		}
		running.Go(func() {
			defer func() { <-slots }()
			b.handle(work, c, durable.CachedInfo().Config.AckWait, msg, handler)
		})
	}
}

// handle answers one message. An answer that is lost only means that the message comes again.
func (b *JetStream) handle(ctx context.Context, c Consumer, ackWait time.Duration, msg jetstream.Msg, handler Handler) {
	meta, err := msg.Metadata()
	if err != nil {
		c.Log.ErrorContext(ctx, "message without metadata", "subject", msg.Subject(), "error", err.Error())
		return
	}
	m := message{
		subject: msg.Subject(), data: msg.Data(), header: msg.Headers(), stream: meta.Stream,
		sequence: meta.Sequence.Stream, delivered: int(meta.NumDelivered), stored: meta.Timestamp,
	}
	stop := keepAlive(msg, ackWait)
	v := c.judge(ctx, m, handler)
	if v.outcome == parked {
		if err := b.park(ctx, c, m, v.reason); err != nil {
			c.Log.ErrorContext(ctx, "parking failed", "error", err.Error())
			v = verdict{outcome: retried, delay: parkRetry}
		}
	}
	stop()
	switch v.outcome {
	case acknowledged:
		err = msg.Ack()
	case retried:
		err = msg.NakWithDelay(v.delay)
	case parked:
		err = msg.TermWithReason("parked")
	}
	if err != nil {
		c.Log.WarnContext(ctx, "answer was not sent", "stream", m.stream, "sequence", m.sequence, "error", err.Error())
	}
}

// keepAlive tells the stream that the message is being worked on until stop is called.
func keepAlive(msg jetstream.Msg, ackWait time.Duration) (stop func()) {
	if ackWait <= 0 {
		ackWait = defaultAckWait
	}
	ticker := time.NewTicker(ackWait / 3)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				_ = msg.InProgress() // a lost one is followed by another
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(quit)
		<-ended
	}
}
