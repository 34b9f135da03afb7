package events_test

import (
	"encoding/json"
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/example"
)

func BenchmarkNew(b *testing.B) {
	payload := example.Health(1)
	for b.Loop() {
		if _, err := example.Event(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	event, _ := example.Event(example.Health(1))
	for b.Loop() {
		if _, err := event.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeWithTheSDK(b *testing.B) {
	event, _ := example.Event(example.Health(1))
	for b.Loop() {
		ce, _ := event.CloudEvent()
		if _, err := json.Marshal(ce); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	event, _ := example.Event(example.Health(1))
	data, _ := event.Encode()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := events.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPayload(b *testing.B) {
	event, _ := example.Event(example.Health(1))
	for b.Loop() {
		if _, err := event.Payload(); err != nil {
			b.Fatal(err)
		}
	}
}
