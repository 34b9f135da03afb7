package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events"
)

// Range is a part of a stream's past. Zero values mean no limit.
type Range struct {
	Stream       string
	FromSequence uint64        // inclusive
	ToSequence   uint64        // inclusive
	From         time.Time     // when the stream took it, inclusive; not together with FromSequence
	To           time.Time     // exclusive
	Types        []events.Type // any of them
	Region       events.Region // of the publisher
	Follow       bool          // goes on with what comes, until the context ends
}

// Replayed is one stored message. Err says why it is no event; Raw is what is stored either way.
type Replayed struct {
	Event    events.Event
	Err      error
	Raw      []byte
	Header   map[string][]string
	Subject  string
	Stream   string
	Sequence uint64
	Stored   time.Time
}

func (r Range) check() error {
	stream, known := events.LookupStream(r.Stream)
	if !known {
		return fmt.Errorf("replay %s: no such stream", r.Stream)
	}
	if stream.Retention == events.RetainWorkQueue {
		return fmt.Errorf("replay %s: a work queue forgets what is done, it has no past", r.Stream)
	}
	if r.FromSequence > 0 && !r.From.IsZero() {
		return fmt.Errorf("replay %s: from a sequence and from a time, want one of them", r.Stream)
	}
	if r.Region != "" && !r.Region.Valid() {
		return fmt.Errorf("replay %s: region is %q, want one of a, b, c", r.Stream, string(r.Region))
	}
	for _, t := range r.Types {
		if _, known := events.Lookup(t); !known {
			return fmt.Errorf("replay %s: %w: %q", r.Stream, events.ErrUnknownType, string(t))
		}
	}
	return nil
}

// filters are the subjects of the range.
func (r Range) filters() []string {
	var filters []string
	for _, t := range r.Types {
		filters = append(filters, events.Filter(r.Region, t))
	}
	if len(filters) == 0 && r.Region != "" {
		filters = []string{"ofitec." + string(r.Region) + ".>"}
	}
	return filters
}

// over says that nothing of the range comes at or behind this place.
func (r Range) over(sequence uint64, stored time.Time) bool {
	return r.ToSequence > 0 && sequence > r.ToSequence || !r.To.IsZero() && !stored.Before(r.To)
}

// Replay reads a part of a stream in order and hands each message to visit; it stops at the first error of visit and returns it. It writes nothing: no
// message is published again and no durable is moved. Without Follow it ends at what was the stream's last message when it began.
func (b *JetStream) Replay(ctx context.Context, r Range, visit func(Replayed) error) error {
	if err := r.check(); err != nil {
		return err
	}
	stream, err := b.js.Stream(ctx, r.Stream)
	if err != nil {
		return fmt.Errorf("replay %s: %w", r.Stream, err)
	}
	last := stream.CachedInfo().State.LastSeq
	config := jetstream.OrderedConsumerConfig{FilterSubjects: r.filters(), DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case r.FromSequence > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.FromSequence
	case !r.From.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.From
	}
	if !r.Follow && last < max(r.FromSequence, 1) {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, config)
	if err != nil {
		return fmt.Errorf("replay %s: %w", r.Stream, err)
	}
	if !r.Follow && consumer.CachedInfo() != nil && consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(replayAhead))
	if err != nil {
		return fmt.Errorf("replay %s: %w", r.Stream, err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	return r.each(ctx, messages, last, visit)
}

const replayAhead = 1000

// each reads ahead of the visitor, so that fetching and decoding the next messages overlaps with what is done with this one.
func (r Range) each(ctx context.Context, messages jetstream.MessagesContext, last uint64, visit func(Replayed) error) error {
	read := make(chan Replayed, replayAhead/4) // closed when the range is over or reading failed
	quit := make(chan struct{})                // closed when the visitor has had enough
	defer close(quit)
	var failure error // written before read is closed
	go func() {
		defer close(read)
		failure = r.read(messages, last, read, quit)
	}()
	for replayed := range read {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := visit(replayed); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return failure
}

func (r Range) read(messages jetstream.MessagesContext, last uint64, read chan<- Replayed, quit <-chan struct{}) error {
	for {
		msg, err := messages.Next()
		if err != nil {
			return fmt.Errorf("replay %s: %w", r.Stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("replay %s: %w", r.Stream, err)
		}
		sequence := meta.Sequence.Stream
		if r.over(sequence, meta.Timestamp) || !r.Follow && sequence > last {
			return nil
		}
		replayed := Replayed{Raw: msg.Data(), Header: msg.Headers(), Subject: msg.Subject(), Stream: r.Stream, Sequence: sequence, Stored: meta.Timestamp}
		replayed.Event, replayed.Err = events.Decode(replayed.Raw)
		select {
		case read <- replayed:
		case <-quit:
			return nil
		}
		if !r.Follow && (sequence >= last || meta.NumPending == 0) {
			return nil
		}
	}
}
