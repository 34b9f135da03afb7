package bus_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

// shelf is a store in memory.
type shelf struct {
	mu      sync.Mutex
	entries []bus.Entry
}

func (s *shelf) Pending(context.Context) ([]bus.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries), nil
}

func (s *shelf) Done(_ context.Context, entry bus.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = slices.DeleteFunc(s.entries, func(e bus.Entry) bool { return e.Key == entry.Key })
	return nil
}

func (s *shelf) put(t *testing.T, numbers ...int64) {
	t.Helper()
	for _, number := range numbers {
		event, err := example.Event(example.Health(number))
		if err != nil {
			t.Fatal(err)
		}
		data, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.entries = append(s.entries, bus.Entry{Key: strconv.FormatInt(number, 10), Data: data})
		s.mu.Unlock()
	}
}

// flaky loses the acknowledgement of its first publications, after they were stored.
type flaky struct {
	*bus.Memory
	mu       sync.Mutex
	failures int
}

func (f *flaky) Publish(ctx context.Context, event events.Event) (bus.Receipt, error) {
	receipt, err := f.Memory.Publish(ctx, event)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failures > 0 {
		f.failures--
		return bus.Receipt{}, errors.New("no acknowledgement")
	}
	return receipt, err
}

func sequenceOf(t *testing.T, b *bus.Memory) []int64 {
	t.Helper()
	var numbers []int64
	if err := b.Replay(t.Context(), bus.Range{Stream: events.StreamHealth}, func(m bus.Replayed) error {
		payload, err := events.PayloadOf[events.HealthObserved](m.Event)
		numbers = append(numbers, payload.Number)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return numbers
}

func TestAnOutboxPublishesInOrderUntilAcknowledgedAndStoresOnce(t *testing.T) {
	store, sender := &shelf{}, &flaky{Memory: bus.NewMemory(), failures: 2}
	store.put(t, 1, 2, 3)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	outbox := bus.NewOutbox(store, sender, nil, nil)
	go func() { ended <- outbox.Run(ctx) }()
	empty := func() bool {
		entries, _ := store.Pending(ctx)
		return len(entries) == 0
	}
	for deadline := time.Now().Add(10 * time.Second); !empty(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("events still wait")
		}
	}
	store.put(t, 4)
	outbox.Wake()
	start := time.Now()
	for !empty() && time.Since(start) < 5*time.Second {
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("a woken outbox took %s", took)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if numbers := sequenceOf(t, sender.Memory); !slices.Equal(numbers, []int64{1, 2, 3, 4}) {
		t.Errorf("stored %v", numbers)
	}
}

func TestABrokenEntryIsReportedAndHoldsUpNobody(t *testing.T) {
	store, memory := &shelf{}, bus.NewMemory()
	store.entries = []bus.Entry{{Key: "broken", Data: []byte("?")}}
	store.put(t, 1, 2)
	done, err := bus.NewOutbox(store, memory, nil, nil).Drain(t.Context())
	if done != 2 || err == nil {
		t.Errorf("published %d, %v", done, err)
	}
	if numbers := sequenceOf(t, memory); !slices.Equal(numbers, []int64{1, 2}) {
		t.Errorf("stored %v", numbers)
	}
}
