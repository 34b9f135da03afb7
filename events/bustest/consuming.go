package bustest

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

func deliveredOnce(t *testing.T, b Bus) {
	event := rotated(t, events.RegionB, 1)
	receipt := publish(t, b, event)
	if receipt.Stream != events.StreamFacts || receipt.Sequence != 1 || receipt.Duplicate {
		t.Errorf("receipt is %+v", receipt)
	}
	c := consume(t, b, deployer(), done)
	d := c.next(t)
	if !reflect.DeepEqual(d.Event, event) || d.Attempt != 1 || d.Sequence != 1 || d.Stream != events.StreamFacts || d.Stored.IsZero() {
		t.Errorf("delivered %+v, want %+v", d, event)
	}
	if payload, ok := d.Payload.(events.CredentialRotated); !ok || payload.Version != 1 {
		t.Errorf("payload is %+v", d.Payload)
	}
	c.nothing(t, 200*time.Millisecond)
}

func storedOnce(t *testing.T, b Bus) {
	first, again := publish(t, b, rotated(t, events.RegionA, 1)), publish(t, b, rotated(t, events.RegionA, 1))
	if !again.Duplicate || again.Sequence != first.Sequence {
		t.Errorf("receipts are %+v and %+v", first, again)
	}
	if all := stored(t, b, bus.Range{Stream: events.StreamFacts}); len(all) != 1 {
		t.Errorf("%d messages are stored", len(all))
	}
}

func unknownRefused(t *testing.T, b Bus) {
	event := rotated(t, events.RegionA, 1)
	event.Type = "com.ofitec.credential.forgotten.v1"
	if _, err := b.Publish(t.Context(), event); !errors.Is(err, events.ErrUnknownType) {
		t.Errorf("got %v", err)
	}
}

func ordered(t *testing.T, b Bus) {
	for version := range int64(20) {
		publish(t, b, rotated(t, events.RegionA, version+1))
	}
	c := consume(t, b, deployer(), done)
	for version := range uint64(20) {
		if d := c.next(t); d.Sequence != version+1 {
			t.Fatalf("sequence %d came as number %d", d.Sequence, version+1)
		}
	}
}

func comesAgain(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	start := time.Now()
	c := consume(t, b, deployer(), func(_ context.Context, d bus.Delivery) error {
		if d.Attempt < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	for attempt := 1; attempt <= 3; attempt++ {
		if d := c.next(t); d.Attempt != attempt {
			t.Errorf("attempt %d came as number %d", d.Attempt, attempt)
		}
	}
	if took := time.Since(start); took < quick[0]+quick[1] {
		t.Errorf("three attempts took %s, the back-off alone is %s", took, quick[0]+quick[1])
	}
	c.nothing(t, 300*time.Millisecond)
	if all := stored(t, b, bus.Range{Stream: events.StreamParked}); len(all) != 0 {
		t.Errorf("%d messages are parked", len(all))
	}
}

func panics(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	attempts := make(chan int, 10)
	consume(t, b, deployer(), func(_ context.Context, d bus.Delivery) error {
		attempts <- d.Attempt
		if d.Attempt == 1 {
			panic("at the first attempt")
		}
		return nil
	})
	for want := 1; want <= 2; want++ {
		select {
		case attempt := <-attempts:
			if attempt != want {
				t.Errorf("attempt %d came as number %d", attempt, want)
			}
		case <-time.After(patience):
			t.Fatal("nothing was delivered")
		}
	}
}

func parkedAtTheEnd(t *testing.T, b Bus) {
	bad, good := rotated(t, events.RegionB, 1), rotated(t, events.RegionB, 2)
	publish(t, b, bad)
	publish(t, b, good)
	c := consume(t, b, deployer(), func(_ context.Context, d bus.Delivery) error {
		if d.Event.ID == bad.ID {
			return errors.New("vault is\nsealed")
		}
		return nil
	})
	attempts := map[string]int{}
	for range 4 {
		attempts[c.next(t).Event.ID]++
	}
	if attempts[bad.ID] != 3 || attempts[good.ID] != 1 {
		t.Errorf("attempts are %v", attempts)
	}
	m := parkedOne(t, b)
	for name, want := range map[string]string{
		bus.HeaderParkedReason: "vault is sealed", bus.HeaderParkedAttempts: "3", bus.HeaderParkedService: "deployer",
		bus.HeaderParkedStream: "FACTS", bus.HeaderParkedSequence: "1", bus.HeaderParkedSubject: bad.Subject, bus.HeaderContentType: events.ContentType,
	} {
		if got := header(m, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if m.Subject != "ofitec.a.parked.deployer.credential.rotated.v1.odoo-db" {
		t.Errorf("parked on %s", m.Subject)
	}
	if !reflect.DeepEqual(m.Event, bad) {
		t.Errorf("parked %+v (%v), want the event as it was", m.Event, m.Err)
	}
	c.nothing(t, 200*time.Millisecond)
}

// neverGivenUp hands an event back far more often than the table is long; what the handler parks is parked all the same.
func neverGivenUp(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	config, tries := deployer(), 3*len(deployer().Backoff)+2
	config.Patient = true
	c := consume(t, b, config, func(_ context.Context, d bus.Delivery) error {
		if d.Attempt < tries {
			return errors.New("this instance leads no more")
		}
		return bus.Park("no such colour")
	})
	for range tries {
		c.next(t)
	}
	if m := parkedOne(t, b); header(m, bus.HeaderParkedAttempts) != strconv.Itoa(tries) || !strings.Contains(header(m, bus.HeaderParkedReason), "no such colour") {
		t.Errorf("parked with %v", m.Header)
	}
}

// patientParks has an event on which the handler always panics, and one that is none.
func patientParks(t *testing.T, b Bus) {
	bad, good := rotated(t, events.RegionA, 1), rotated(t, events.RegionA, 2)
	publish(t, b, bad)
	if _, err := b.Store(t.Context(), good.Subject, map[string][]string{"Nats-Msg-Id": {"none"}}, []byte("not even JSON")); err != nil {
		t.Fatal(err)
	}
	publish(t, b, good)
	config := deployer()
	config.Patient = true
	var attempts atomic.Int64
	c := consume(t, b, config, func(_ context.Context, d bus.Delivery) error {
		if d.Event.ID == bad.ID {
			attempts.Add(1)
			panic("no such colour")
		}
		return nil
	})
	if d := c.next(t); d.Event.ID != good.ID {
		t.Errorf("delivered %s", d.Event.ID)
	}
	reasons := map[string]bool{}
	for deadline := time.Now().Add(patience); len(reasons) < 2 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, m := range stored(t, b, bus.Range{Stream: events.StreamParked}) {
			reasons[header(m, bus.HeaderParkedReason)] = true
		}
	}
	if tries := attempts.Load(); !reasons["handler panicked: no such colour"] || len(reasons) != 2 || tries != int64(len(config.Backoff)+1) {
		t.Errorf("after %d attempts parked: %v", tries, reasons)
	}
	c.nothing(t, 200*time.Millisecond)
}

func parkedAtOnce(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	c := consume(t, b, deployer(), func(context.Context, bus.Delivery) error { return bus.Park("no such colour") })
	c.next(t)
	m := parkedOne(t, b)
	if header(m, bus.HeaderParkedAttempts) != "1" || !strings.Contains(header(m, bus.HeaderParkedReason), "no such colour") {
		t.Errorf("parked with %v", m.Header)
	}
	c.nothing(t, 200*time.Millisecond)
}

func malformedParked(t *testing.T, b Bus) {
	good := rotated(t, events.RegionA, 1)
	broken := good
	broken.ID, broken.Data = "credential.rotated.odoo-db.9", []byte(`{"name":""}`)
	data, err := broken.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n, text := range []string{"not even JSON", string(data), ""} {
		if _, err := b.Store(t.Context(), good.Subject, map[string][]string{"Nats-Msg-Id": {strconv.Itoa(n)}}, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, good)
	c := consume(t, b, deployer(), done)
	if d := c.next(t); d.Event.ID != good.ID {
		t.Errorf("delivered %s", d.Event.ID)
	}
	parkedOne(t, b)
	all := stored(t, b, bus.Range{Stream: events.StreamParked})
	if len(all) != 3 {
		t.Fatalf("%d messages are parked", len(all))
	}
	for n, want := range []string{"no JSON object", "name is", "no JSON object"} {
		if reason := header(all[n], bus.HeaderParkedReason); !strings.HasPrefix(reason, "malformed: ") || !strings.Contains(reason, want) {
			t.Errorf("reason is %q, want one with %q", reason, want)
		}
	}
	if string(all[0].Raw) != "not even JSON" {
		t.Errorf("parked %q", all[0].Raw)
	}
}

func misroutedParked(t *testing.T, b Bus) {
	event := rotated(t, events.RegionA, 1)
	data, err := event.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store(t.Context(), "ofitec.b.credential.rotated.v1.odoo-db", nil, data); err != nil {
		t.Fatal(err)
	}
	c := consume(t, b, deployer(), done)
	if reason := header(parkedOne(t, b), bus.HeaderParkedReason); !strings.Contains(reason, "but it came on") {
		t.Errorf("reason is %q", reason)
	}
	c.nothing(t, 100*time.Millisecond)
}

func waitsBehind(t *testing.T, b Bus) {
	for version := range int64(3) {
		publish(t, b, rotated(t, events.RegionA, version+1))
	}
	config := deployer()
	config.AckWait = 300 * time.Millisecond
	c := consume(t, b, config, func(_ context.Context, d bus.Delivery) error {
		if d.Sequence == 1 {
			time.Sleep(5 * config.AckWait)
		}
		return nil
	})
	for sequence := range uint64(3) {
		if d := c.next(t); d.Sequence != sequence+1 || d.Attempt != 1 {
			t.Errorf("number %d is sequence %d at attempt %d", sequence+1, d.Sequence, d.Attempt)
		}
	}
}

func goesOn(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	first := consume(t, b, deployer(), done)
	first.next(t)
	time.Sleep(50 * time.Millisecond) // the acknowledgement travels by itself
	first.stop()
	publish(t, b, rotated(t, events.RegionA, 2))
	second := consume(t, b, deployer(), done)
	if d := second.next(t); d.Sequence != 2 {
		t.Errorf("went on at %d, want 2", d.Sequence)
	}
	second.nothing(t, 100*time.Millisecond)
}

func finishes(t *testing.T, b Bus) {
	publish(t, b, rotated(t, events.RegionA, 1))
	began := make(chan struct{})
	var finished atomic.Bool
	c := consume(t, b, deployer(), func(ctx context.Context, _ bus.Delivery) error {
		close(began)
		select {
		case <-time.After(300 * time.Millisecond):
			finished.Store(true)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	<-began
	c.stop()
	if !finished.Load() {
		t.Error("the handler was cut off")
	}
	again := consume(t, b, deployer(), done)
	again.nothing(t, 200*time.Millisecond)
}

func takenOnce(t *testing.T, b Bus) {
	rotator := func(region events.Region) bus.Consumer {
		return bus.Consumer{Service: events.ServiceRotator, Region: region, Stream: events.StreamJobs, Create: true, Backoff: quick}
	}
	one, other := consume(t, b, rotator(events.RegionA), done), consume(t, b, rotator(events.RegionB), done)
	sample, _ := example.Of(events.TypeJobRotate)
	const jobs = 20
	for n := range jobs {
		job := sample.(events.JobRotate)
		job.Act.Request = "req-" + strconv.Itoa(n)
		event, err := events.New(events.Origin{Region: events.RegionC, Service: events.ServiceConsole}, example.At, job)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, event)
	}
	taken := map[string]int{}
	for range jobs {
		select {
		case d := <-one.seen:
			taken[d.Event.ID]++
		case d := <-other.seen:
			taken[d.Event.ID]++
		case <-time.After(patience):
			t.Fatalf("only %d commands were taken", len(taken))
		}
	}
	if len(taken) != jobs {
		t.Errorf("commands were taken %v", taken)
	}
	one.stop()
	other.stop()
	consume(t, b, rotator(events.RegionA), done).nothing(t, 100*time.Millisecond)
	if err := b.Replay(t.Context(), bus.Range{Stream: events.StreamJobs}, func(bus.Replayed) error { return nil }); err == nil {
		t.Error("a work queue has no past, but it was replayed")
	}
}

func strangerRefused(t *testing.T, b Bus) {
	err := b.Consume(t.Context(), bus.Consumer{Service: events.ServiceProbe, Region: events.RegionA, Stream: events.StreamFacts}, done)
	if err == nil || !strings.Contains(err.Error(), "health-probe") {
		t.Errorf("got %v", err)
	}
}
