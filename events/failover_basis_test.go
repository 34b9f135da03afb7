package events_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/example"
)

func TestEachDecidedFailoverEventCarriesItsBasisThere(t *testing.T) {
	basis := &events.Basis{Record: json.RawMessage(`{"term":7}`)}
	carried := 0
	for _, payload := range example.Payloads() {
		founded := events.FoundedOn(payload, basis)
		if events.BasisOf(founded) == nil {
			continue
		}
		carried++
		event, err := events.New(events.Origin{Region: events.RegionC, Service: events.ServiceArbiter}, time.Now(), founded)
		if err != nil {
			t.Fatal(err)
		}
		data, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		fits(t, string(payload.Type()), data)
		again, err := events.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := again.Payload()
		if err != nil {
			t.Fatal(err)
		}
		if found := events.BasisOf(decoded); found == nil || string(found.Record) != `{"term":7}` {
			t.Errorf("%s came with %+v", payload.Type(), found)
		}
		if event.ID != events.ID(payload) {
			t.Errorf("%s is known by %s with a basis, and by %s without", payload.Type(), event.ID, events.ID(payload))
		}
	}
	if carried != 13 {
		t.Errorf("%d types carry a basis, want the thirteen that an arbiter decides", carried)
	}
	bad := events.FoundedOn(example.Payloads()[0], basis)
	for _, payload := range example.Payloads() {
		if _, is := payload.(events.FailoverFenced); is {
			bad = events.FoundedOn(payload, &events.Basis{Record: json.RawMessage(`[]`)})
		}
	}
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "basis.record") {
		t.Errorf("a record that is no object gives %v", err)
	}
}
