// Package bustest is the one suite that every bus must pass.
package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

// Bus is what the suite looks at. Store puts any message into the stream of its subject, as a stranger with a NATS client could.
type Bus interface {
	Publish(ctx context.Context, event events.Event) (bus.Receipt, error)
	Store(ctx context.Context, subject string, header map[string][]string, data []byte) (bus.Receipt, error)
	Consume(ctx context.Context, config bus.Consumer, handler bus.Handler) error
	Replay(ctx context.Context, r bus.Range, visit func(bus.Replayed) error) error
}

// Run runs the suite; open gives an empty bus for each test.
func Run(t *testing.T, open func(*testing.T) Bus) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Bus)
	}{
		{"an event is delivered once, as it was published", deliveredOnce},
		{"the same event published twice is stored once", storedOnce},
		{"an event of no known type is not published", unknownRefused},
		{"the order of one durable is the order of publishing", ordered},
		{"an event whose handler fails comes again after the back-off", comesAgain},
		{"a handler that panics fails", panics},
		{"behind the back-off table's end an event is parked with reason and attempts", parkedAtTheEnd},
		{"a patient consumer gives no event up by the count of its deliveries", neverGivenUp},
		{"a patient consumer parks an event on which its handler panics again and again, and one that cannot be read", patientParks},
		{"a handler can park at once", parkedAtOnce},
		{"a malformed event is parked and the next good one goes through", malformedParked},
		{"an event on a subject that is not its own is parked", misroutedParked},
		{"an event that waits behind a long handler is not counted as tried", waitsBehind},
		{"a consumer that comes back goes on where it was", goesOn},
		{"a stopped consumer finishes the handler that runs", finishes},
		{"a command is taken by one instance only", takenOnce},
		{"a service that is no consumer by the definitions is refused", strangerRefused},
		{"a replay reads by sequence, time, type and region, and changes nothing", replayed},
		{"a replay that follows goes on with what comes", followed},
		{"a replay stops where its visitor stops", stopped},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

const patience = 20 * time.Second

// quick is a back-off table for tests.
var quick = []time.Duration{30 * time.Millisecond, 60 * time.Millisecond}

func deployer() bus.Consumer {
	return bus.Consumer{Service: events.ServiceDeployer, Region: events.RegionA, Stream: events.StreamFacts, Create: true, Backoff: quick}
}

// rotated is a credential.rotated event of a version, published in a region.
func rotated(t *testing.T, region events.Region, version int64) events.Event {
	t.Helper()
	sample, _ := example.Of(events.TypeCredentialRotated)
	payload := sample.(events.CredentialRotated)
	payload.Version, payload.Previous = version, version-1
	event, err := events.New(events.Origin{Region: region, Service: events.ServiceRotator}, example.At, payload)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func publish(t *testing.T, b Bus, event events.Event) bus.Receipt {
	t.Helper()
	receipt, err := b.Publish(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// consumption is a consumer that runs in a test; what it saw is on seen.
type consumption struct {
	seen chan bus.Delivery
	stop func() // ends it and waits
}

func consume(t *testing.T, b Bus, config bus.Consumer, handler bus.Handler) *consumption {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &consumption{seen: make(chan bus.Delivery, 100)}
	ready, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	config.OnState = func(err error) {
		if err == nil {
			once.Do(func() { close(ready) })
		}
	}
	go func() {
		ended <- b.Consume(ctx, config, func(ctx context.Context, d bus.Delivery) error {
			err := handler(ctx, d)
			c.seen <- d
			return err
		})
	}()
	var stopping sync.Once
	c.stop = func() {
		stopping.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("consumer ended with %v", err)
				}
			case <-time.After(patience):
				t.Error("consumer did not end")
			}
		})
	}
	t.Cleanup(c.stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("consumer ended with %v", err)
	case <-time.After(patience):
		t.Fatal("consumer was never ready")
	}
	return c
}

func (c *consumption) next(t *testing.T) bus.Delivery {
	t.Helper()
	select {
	case d := <-c.seen:
		return d
	case <-time.After(patience):
		t.Fatal("nothing was delivered")
		return bus.Delivery{}
	}
}

func (c *consumption) nothing(t *testing.T, wait time.Duration) {
	t.Helper()
	select {
	case d := <-c.seen:
		t.Errorf("%s was delivered", d.Event.ID)
	case <-time.After(wait):
	}
}

func done(context.Context, bus.Delivery) error { return nil }

func stored(t *testing.T, b Bus, r bus.Range) []bus.Replayed {
	t.Helper()
	var all []bus.Replayed
	if err := b.Replay(t.Context(), r, func(m bus.Replayed) error {
		all = append(all, m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// parkedOne waits until one message is parked.
func parkedOne(t *testing.T, b Bus) bus.Replayed {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if all := stored(t, b, bus.Range{Stream: events.StreamParked}); len(all) > 0 {
			return all[0]
		}
	}
	t.Fatal("nothing was parked")
	return bus.Replayed{}
}

func header(m bus.Replayed, name string) string {
	if values := m.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func versions(all []bus.Replayed) string {
	text := ""
	for _, m := range all {
		payload, err := events.PayloadOf[events.CredentialRotated](m.Event)
		if err != nil {
			text += " ?"
			continue
		}
		text += fmt.Sprintf(" %s%d", m.Event.Region, payload.Version)
	}
	return text
}
