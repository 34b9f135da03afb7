package events_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/example"
)

func encoded(t *testing.T, payload events.Payload) (events.Event, []byte) {
	t.Helper()
	event, err := example.Event(payload)
	if err != nil {
		t.Fatalf("%s: %v", payload.Type(), err)
	}
	data, err := event.Encode()
	if err != nil {
		t.Fatalf("%s: %v", payload.Type(), err)
	}
	return event, data
}

func TestEveryEventComesBackAsItWasPublished(t *testing.T) {
	for _, payload := range example.Payloads() {
		event, data := encoded(t, payload)
		back, err := events.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", payload.Type(), err)
		}
		if !reflect.DeepEqual(back, event) {
			t.Errorf("%s came back as %+v, was %+v", payload.Type(), back, event)
		}
		again, err := back.Payload()
		if err != nil {
			t.Fatalf("%s: %v", payload.Type(), err)
		}
		if !reflect.DeepEqual(again, payload) {
			t.Errorf("%s: payload came back as %+v, was %+v", payload.Type(), again, payload)
		}
	}
}

func TestTheCloudEventsSDKReadsAndWritesTheSameEvents(t *testing.T) {
	for _, payload := range example.Payloads() {
		event, data := encoded(t, payload)
		var theirs cloudevents.Event
		if err := json.Unmarshal(data, &theirs); err != nil {
			t.Fatalf("%s: the SDK cannot read %s: %v", payload.Type(), data, err)
		}
		if err := theirs.Validate(); err != nil {
			t.Errorf("%s: the SDK finds %v", payload.Type(), err)
		}
		fromTheirs, err := events.FromCloudEvent(theirs)
		if err != nil || !reflect.DeepEqual(fromTheirs, event) {
			t.Errorf("%s: the SDK read %+v (%v), was %+v", payload.Type(), fromTheirs, err, event)
		}
		converted, err := event.CloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		written, err := json.Marshal(converted)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(written), "data_base64") {
			t.Errorf("%s: the SDK wrote base64", payload.Type())
		}
		back, err := events.Decode(written)
		if err != nil || !reflect.DeepEqual(back, event) {
			t.Errorf("%s: what the SDK wrote came back as %+v (%v), was %+v", payload.Type(), back, err, event)
		}
	}
}

func TestTextThatNeedsEscapesSurvives(t *testing.T) {
	event, err := events.New(events.Origin{Region: "a", Service: "console"}, example.At,
		events.JobRotate{Name: "odoo-db", Act: events.Act{Actor: `maria "la jefa" <m>`, Reason: "línea\nnueva \\ \u2028", Request: "r", At: example.At}},
		events.Correlated("causa \"ñ\"\n", `back\slash`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := event.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := events.Decode(data)
	if err != nil || !reflect.DeepEqual(back, event) {
		t.Fatalf("came back as %+v (%v), was %+v", back, err, event)
	}
	var theirs cloudevents.Event
	if err := json.Unmarshal(data, &theirs); err != nil || theirs.Extensions()["correlationid"] != "causa \"ñ\"\n" {
		t.Errorf("the SDK read %v, %v", theirs.Extensions(), err)
	}
}

func TestTheSameFactHasTheSameIDAndAnotherFactAnotherOne(t *testing.T) {
	first, _ := encoded(t, example.Health(1))
	again, _ := encoded(t, example.Health(1))
	next, _ := encoded(t, example.Health(2))
	if first.ID != again.ID || first.ID == next.ID {
		t.Errorf("ids are %s, %s, %s", first.ID, again.ID, next.ID)
	}
	if first.MsgID() != "/ofitec/a/health-probe#health.observed.a.c-1772443800-1" {
		t.Errorf("message id is %s", first.MsgID())
	}
	if first.Subject != "ofitec.a.health.observed.v1.a" {
		t.Errorf("subject is %s", first.Subject)
	}
}

func TestWhatFollowsFromACauseIsJoinedToIt(t *testing.T) {
	cause, _ := encoded(t, example.Payloads()[2])
	if cause.CorrelationID != cause.MsgID() || cause.CausationID != cause.MsgID() {
		t.Errorf("a first cause is joined to %s, %s", cause.CorrelationID, cause.CausationID)
	}
	payload, _ := events.PayloadOf[events.FailoverStarted](cause)
	next, err := events.New(events.Origin{Region: "b", Service: events.ServiceArbiter}, example.At, events.FailoverPromoted{
		Failover: payload.Failover, PromotedAt: example.At, Timeline: 2, LSN: 1,
	}, events.CausedBy(cause))
	if err != nil {
		t.Fatal(err)
	}
	if next.CorrelationID != cause.CorrelationID || next.CausationID != cause.MsgID() {
		t.Errorf("joined to %s, %s", next.CorrelationID, next.CausationID)
	}
	if next.TraceParent[:35] != cause.TraceParent[:35] || next.TraceParent == cause.TraceParent {
		t.Errorf("traces are %s and %s, want one trace and two spans", next.TraceParent, cause.TraceParent)
	}
	if next.Epoch.String() != "00000000000000000007" {
		t.Errorf("epoch is %s", next.Epoch)
	}
}

func TestAMalformedEventIsRefusedWithAReason(t *testing.T) {
	_, bytes := encoded(t, example.Payloads()[2])
	good := string(bytes)
	swap := func(old, replacement string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the event", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	for want, text := range map[string]string{
		"no JSON object":              `"text"`,
		"unexpected end":              good[:len(good)-3],
		"more text behind the event":  good + "{}",
		"not UTF-8":                   swap(`"id":"f`, "\"id\":\"\xff"),
		"specversion is \"0.3\"":      swap(`"specversion":"1.0"`, `"specversion":"0.3"`),
		"specversion is missing":      swap(`"specversion":"1.0",`, ``),
		"datacontenttype is missing":  swap(`"datacontenttype":"application/json",`, ``),
		"datacontenttype is \"text":   swap(`application/json`, `text/plain`),
		"data_base64 instead of data": swap(`"data":{`, `"data_base64":{`),
		"id stands twice":             swap(`"id":`, `"id":"x","id":`),
		"data stands twice":           swap(`"data":{`, `"data":{},"data":{`),
		"id: attribute is missing":    swap(`"id":"failover.started.erp.7",`, ``),
		"data: attribute is missing":  good[:strings.Index(good, `,"data":`)] + "}",
		"region is \"d\"":             swap(`"region":"a"`, `"region":"d"`),
		"source is":                   swap(`"/ofitec/a/failover-arbiter"`, `"/ofitec/b/failover-arbiter"`),
		"subject is":                  swap(`"ofitec.a.failover.started`, `"ofitec.a.failover.fenced`),
		"traceparent is":              swap(`"traceparent":"00-`, `"traceparent":"01-`),
		"time is \"yesterday\"":       swap(`"time":"2026-03-02T09:30:00.25Z"`, `"time":"yesterday"`),
		"epoch is \"7\"":              swap(`"epoch":"00000000000000000007"`, `"epoch":"7"`),
		"no string":                   swap(`"epoch":"00000000000000000007"`, `"epoch":7`),
		"no comma":                    swap(`"1.0",`, `"1.0"`),
		"wrong escape":                swap(`"id":"`, `"id":"\x`),
	} {
		_, err := events.Decode([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestDataThatIsNotTheEventsOwnIsRefused(t *testing.T) {
	event, _ := encoded(t, example.Payloads()[2])
	for want, change := range map[string]func(*events.Event){
		"id is":            func(e *events.Event) { e.ID = "failover.started.erp.8" },
		"subject is":       func(e *events.Event) { e.Subject = "ofitec.a.failover.started.v1.other" },
		"epoch is":         func(e *events.Event) { e.Epoch = 8 },
		"unknown type":     func(e *events.Event) { e.Type = "com.ofitec.failover.started.v2" },
		"decode payload":   func(e *events.Event) { e.Data = json.RawMessage(`{"epoch":"seven"}`) },
		"decided_at is no": func(e *events.Event) { e.Data = json.RawMessage(`{}`) },
	} {
		broken := event
		change(&broken)
		if _, err := broken.Payload(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := events.PayloadOf[events.FailoverFenced](event); err == nil {
		t.Error("a started was read as a fenced")
	}
}

func TestAnUnknownFieldAndAnUnknownExtensionAreReadOver(t *testing.T) {
	_, data := encoded(t, example.Health(1))
	text := strings.Replace(string(data), `"data":{`, `"novel":[1,{"a":"]}\""}],"data":{"novel":{"x":1},`, 1)
	event, err := events.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := events.PayloadOf[events.HealthObserved](event)
	if err != nil || !reflect.DeepEqual(payload, example.Health(1)) {
		t.Errorf("read %+v, %v", payload, err)
	}
}

func TestAPayloadThatDoesNotHoldTogetherIsNotPublished(t *testing.T) {
	broken := example.Health(0)
	broken.Target, broken.FailuresInRow, broken.Incarnation = "d", 4, "has a blank"
	broken.Gates = &events.Gates{Healthy: events.OutcomeOK}
	_, err := events.New(events.Origin{Region: "a", Service: events.ServiceProbe}, example.At, broken)
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v, want an InvalidError", err)
	}
	for _, want := range []string{`target is "d", want one of a, b, c`, "number is 0, want 1 or more", `incarnation is "has a blank"`, "failures_in_row is 4", "gates.healthy is "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := events.New(events.Origin{Region: "a"}, example.At, example.Health(1)); err == nil {
		t.Error("an origin without a service was accepted")
	}
	if _, err := events.New(events.Origin{Region: "a", Service: "x"}, time.Time{}, example.Health(1)); err == nil {
		t.Error("an event without a time was accepted")
	}
}

func TestEveryZeroPayloadIsRefusedAndSaysWhatWouldBeRight(t *testing.T) {
	for _, definition := range events.Definitions {
		err := definition.New().Validate()
		var invalid *events.InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%s: a zero payload gives %v", definition.Type, err)
			continue
		}
		for _, problem := range invalid.Problems {
			if problem.Field == "" || problem.Want == "" {
				t.Errorf("%s: problem %+v does not name a field and what would be right", definition.Type, problem)
			}
		}
	}
}

func TestTheContractNeedsNoTransport(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".", "./state", "./example").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range strings.Fields(string(out)) {
		if path == "net/http" || strings.Contains(path, "nats") || strings.Contains(path, "invopop") {
			t.Errorf("the contract imports %s", path)
		}
	}
}

func FuzzDecodeAgreesWithEncodingJSON(f *testing.F) {
	for _, payload := range example.Payloads() {
		event, err := example.Event(payload)
		if err != nil {
			f.Fatal(err)
		}
		data, _ := event.Encode()
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		event, err := events.Decode(data)
		if err != nil {
			return
		}
		if !json.Valid(event.Data) || !json.Valid(data) {
			return // the data is read later, and refused then
		}
		var plain struct {
			ID, Source, Type, Subject string
		}
		if err := json.Unmarshal(data, &plain); err != nil {
			t.Fatalf("encoding/json refuses what was accepted: %v", err)
		}
		again, err := event.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := events.Decode(again)
		if err != nil || back.ID != event.ID || string(back.Data) != string(event.Data) {
			t.Fatalf("came back as %+v (%v), was %+v", back, err, event)
		}
	})
}

func TestDataCannotBreakOutOfTheEnvelope(t *testing.T) {
	event, _ := encoded(t, example.Health(1))
	for _, data := range []string{`{}},{`, `{`, `1,"id":"x"`, `"`, `{}}`, `]`} {
		event.Data = json.RawMessage(data)
		if text, err := event.Encode(); err == nil {
			if back, err := events.Decode(text); err == nil && string(back.Data) != data {
				t.Errorf("%s was written and read as %s", data, back.Data)
			}
		}
	}
}
