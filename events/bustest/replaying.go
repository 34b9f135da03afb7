package bustest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

func replayed(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	publish(t, b, rotated(t, events.RegionB, 2))
	sample, _ := example.Of(events.TypeCredentialRenewed)
	renewed, err := example.Event(sample)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, renewed)
	time.Sleep(20 * time.Millisecond)
	between := time.Now()
	time.Sleep(20 * time.Millisecond)
	publish(t, b, rotated(t, events.RegionA, 4))
	for _, test := range []struct {
		name string
		r    bus.Range
		want string
	}{
		{"everything", bus.Range{}, " a1 b2 ? a4"},
		{"from a sequence", bus.Range{FromSequence: 2}, " b2 ? a4"},
		{"to a sequence", bus.Range{ToSequence: 2}, " a1 b2"},
		{"one sequence", bus.Range{FromSequence: 4, ToSequence: 4}, " a4"},
		{"behind the end", bus.Range{FromSequence: 5}, ""},
		{"from a time", bus.Range{From: between}, " a4"},
		{"to a time", bus.Range{To: between}, " a1 b2 ?"},
		{"one type", bus.Range{Types: []events.Type{events.TypeCredentialRotated}}, " a1 b2 a4"},
		{"two types", bus.Range{Types: []events.Type{events.TypeCredentialRotated, events.TypeCredentialRenewed}}, " a1 b2 ? a4"},
		{"a type that is not there", bus.Range{Types: []events.Type{events.TypeFailoverStarted}}, ""},
		{"a region", bus.Range{Region: events.RegionB}, " b2"},
		{"a type of a region from a sequence", bus.Range{Types: []events.Type{events.TypeCredentialRotated}, Region: events.RegionA, FromSequence: 2}, " a4"},
	} {
		test.r.Stream = events.StreamFacts
		if got := versions(stored(t, b, test.r)); got != test.want {
			t.Errorf("%s: read%s, want%s", test.name, got, test.want)
		}
	}
	if all := stored(t, b, bus.Range{Stream: events.StreamFacts}); len(all) != 4 || !reflect.DeepEqual(all[2].Event, renewed) || all[2].Sequence != 3 {
		t.Errorf("after all replays the stream holds %d messages", len(all))
	}
	for _, r := range []bus.Range{
		{Stream: events.StreamFacts, FromSequence: 1, From: between},
		{Stream: events.StreamFacts, Region: "d"},
		{Stream: events.StreamFacts, Types: []events.Type{"com.ofitec.x.y.v1"}},
		{Stream: "NOWHERE"},
	} {
		if err := b.Replay(t.Context(), r, func(bus.Replayed) error { return nil }); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}

func followed(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen, ended := make(chan uint64, 10), make(chan error, 1)
	go func() {
		ended <- b.Replay(ctx, bus.Range{Stream: events.StreamFacts, Follow: true}, func(m bus.Replayed) error {
			seen <- m.Sequence
			return nil
		})
	}()
	if sequence := <-seen; sequence != 1 {
		t.Fatalf("began with %d", sequence)
	}
	publish(t, b, rotated(t, events.RegionA, 2))
	select {
	case sequence := <-seen:
		if sequence != 2 {
			t.Errorf("went on with %d", sequence)
		}
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func stopped(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	publish(t, b, rotated(t, events.RegionA, 2))
	enough, seen := errors.New("enough"), 0
	err := b.Replay(t.Context(), bus.Range{Stream: events.StreamFacts}, func(bus.Replayed) error {
		seen++
		return enough
	})
	if !errors.Is(err, enough) || seen != 1 {
		t.Errorf("ended with %v after %d", err, seen)
	}
}
