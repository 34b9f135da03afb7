package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

// kept is an event as a stream gives it back.
func kept(t *testing.T, payload events.Payload, sequence uint64) bus.Replayed {
	t.Helper()
	event, err := example.Event(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := event.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := events.Decode(raw)
	return bus.Replayed{Event: decoded, Err: err, Raw: raw, Header: map[string][]string{bus.HeaderMsgID: {event.MsgID()}}, Subject: event.Subject, Sequence: sequence, Stored: time.Unix(1, 0)}
}

// again decodes a message whose text was changed.
func again(r bus.Replayed, old, changed string) bus.Replayed {
	r.Raw = []byte(strings.Replace(string(r.Raw), old, changed, 1))
	r.Event, r.Err = events.Decode(r.Raw)
	return r
}

func TestEveryEventThatIsPublishedKeepsItsContract(t *testing.T) {
	v := newVerification(events.StreamFacts)
	for n, payload := range example.Payloads() {
		if err := v.add(kept(t, payload, uint64(n)+5)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(example.Payloads()); v.Faults != 0 || v.Unknown != 0 || v.Messages != n || len(v.Types) != len(events.Definitions) || v.First != 5 || v.Last != uint64(n)+4 {
		t.Errorf("found %+v", v)
	}
}

// A first export begins nowhere, and one that found nothing ends nowhere: its cursors are null.
func TestAnExportWithoutCursorsKeepsItsContract(t *testing.T) {
	payload, ok := example.Of("com.ofitec.export.ready.v1")
	if !ok {
		t.Fatal("there is no example")
	}
	ready, ok := payload.(events.ExportReady)
	if !ok {
		t.Fatalf("the example is a %T", payload)
	}
	ready.From, ready.To = nil, nil
	v := newVerification(events.StreamFacts)
	if err := v.add(kept(t, ready, 1)); err != nil {
		t.Fatal(err)
	}
	if v.Faults != 0 || v.Messages != 1 {
		t.Errorf("found %+v", v)
	}
}

func TestAMessageThatDoesNotKeepItsContractIsNamed(t *testing.T) {
	payload, ok := example.Of("com.ofitec.failover.fenced.v1")
	if !ok {
		t.Fatal("there is no example")
	}
	good := kept(t, payload, 7)
	elsewhere, nameless, parked := good, good, good
	elsewhere.Subject = "ofitec.b.failover.fenced.v1.b"
	nameless.Header = nil
	parked.Subject, parked.Header = "ofitec.b.parked.console.x", map[string][]string{bus.HeaderMsgID: {"parked/x#1"}}
	data := string(good.Event.Data)
	for _, c := range []struct {
		name, stream, says string
		message            bus.Replayed
	}{
		{"whole", "FACTS", "", good},
		{"no event", "FACTS", "not an event", again(good, `"id":`, `"it":`)},
		{"at another's subject", "FACTS", "where it stands", elsewhere},
		{"without a message id", "FACTS", bus.HeaderMsgID, nameless},
		{"parked", "PARKED", "", parked},
		{"a number for a text", "FACTS", "do not keep urn:", again(good, data, strings.Replace(data, `"region":"`, `"region":1,"was":"`, 1))},
		{"a field left out", "FACTS", "do not keep urn:", again(good, data, "{}")},
	} {
		v := newVerification(c.stream)
		if err := v.add(c.message); err != nil {
			t.Fatal(err)
		}
		said := ""
		if len(v.Told) > 0 {
			said = v.Told[0].Why
		}
		if (c.says == "") != (v.Faults == 0) || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d faults, said is %q, want %q; data %s", c.name, v.Faults, said, c.says, data)
		}
	}
}

func TestATypeOfANewerProgramIsCountedAndNoFault(t *testing.T) {
	payload, _ := example.Of("com.ofitec.failover.fenced.v1")
	r := kept(t, payload, 7)
	r.Event.Type = "com.ofitec.failover.dreamt.v1"
	v := newVerification(events.StreamFacts)
	if err := v.add(r); err != nil {
		t.Fatal(err)
	}
	if v.Faults != 0 || v.Unknown != 1 || v.Types["failover.dreamt.v1"].Messages != 1 {
		t.Errorf("found %+v", v)
	}
}

func TestFaultsAreCountedAndTheFirstOnesTold(t *testing.T) {
	payload, _ := example.Of("com.ofitec.failover.fenced.v1")
	v := newVerification(events.StreamFacts)
	for n := range 25 {
		r := kept(t, payload, uint64(n)+1)
		r.Header = nil
		if err := v.add(r); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := v.print(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "FACTS: 25 messages from 1 to 25, 25 do not keep their contract\n") || strings.Count(out.String(), bus.HeaderMsgID) != firstFaults {
		t.Errorf("printed is %s", out.String())
	}
	if text, err := json.Marshal(v); err != nil || !strings.Contains(string(text), `"faults":25`) {
		t.Errorf("in JSON it is %s, %v", text, err)
	}
}
