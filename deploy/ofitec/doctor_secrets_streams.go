package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/deploy/ofitec/leak"
	"github.com/ofitec/ofitec/events"
)

// searchStreams looks at every message of every stream, its subject and its headers too: those of the events, and whatever else the bus keeps, such as buckets of keys
// and stores of objects, which are streams. What is published meanwhile is left to the next search.
func searchStreams(ctx context.Context, js jetstream.JetStream, search *leak.Search) {
	var names []string
	for _, stream := range events.Streams {
		names = append(names, stream.Name)
	}
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if err := list.Err(); err != nil {
		search.Miss("list of streams", err)
	}
	for _, name := range names {
		if err := searchStream(ctx, js, name, search); err != nil {
			search.Miss("stream "+name, err)
		}
	}
}

func searchStream(ctx context.Context, js jetstream.JetStream, name string, search *leak.Search) error {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	if info.State.Msgs == 0 {
		return nil
	}
	// A store cuts an object into messages; what lies over a cut is looked at with the piece that follows.
	var piece struct {
		subject string
		end     []byte
	}
	look := func(sequence uint64, subject string, header, data []byte) {
		whole := data
		if strings.HasPrefix(name, "OBJ_") && piece.subject == subject {
			whole = slices.Concat(piece.end, data)
		}
		piece.subject, piece.end = subject, slices.Clone(whole[max(0, len(whole)-overACut):])
		search.Look(leak.Message, fmt.Sprintf("%s %d, %s", name, sequence, subject), slices.Concat(whole, []byte("\n"+subject+"\n"), header))
	}
	if info.Config.Retention == jetstream.WorkQueuePolicy {
		return eachWaiting(ctx, stream, look)
	}
	return eachKept(ctx, js, stream, look)
}

// overACut is more than any form of a secret has bytes.
const overACut = 16 << 10

// eachKept reads a stream by a consumer of its own.
func eachKept(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, look func(sequence uint64, subject string, header, data []byte)) error {
	name, last := stream.CachedInfo().Config.Name, stream.CachedInfo().State.LastSeq
	consumer, err := js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(500)) // Fetch would make another consumer each time, which may not answer yet
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		message, err := messages.Next(jetstream.NextMaxWait(5 * time.Second))
		if err != nil {
			if _, gone := stream.GetMsg(ctx, last); errors.Is(gone, jetstream.ErrMsgNotFound) {
				return nil // the rest has expired, or was taken, since
			}
			return err
		}
		metadata, err := message.Metadata()
		if err != nil {
			return err
		}
		look(metadata.Sequence.Stream, message.Subject(), fmt.Append(nil, message.Headers()), message.Data())
		if metadata.Sequence.Stream >= last {
			return nil
		}
	}
}

// eachWaiting reads a work queue, which allows no consumer beside those that work: message by message.
func eachWaiting(ctx context.Context, stream jetstream.Stream, look func(sequence uint64, subject string, header, data []byte)) error {
	for at, last := stream.CachedInfo().State.FirstSeq, stream.CachedInfo().State.LastSeq; at <= last; {
		message, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // the rest is done
		}
		if err != nil {
			return err
		}
		look(message.Sequence, message.Subject, fmt.Append(nil, message.Header), message.Data)
		at = message.Sequence + 1
	}
	return nil
}
