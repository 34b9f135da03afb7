package events

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ContentType is the Content-Type header of every message.
const ContentType = "application/cloudevents+json"

// Event is a CloudEvent 1.0: a payload and what is said about it. Data is the payload's JSON as it was published; Payload reads it when it is asked for.
type Event struct {
	ID            string
	Source        string
	Type          Type
	Subject       string // the NATS subject
	Time          time.Time
	DataSchema    string
	Region        Region
	TraceParent   string // W3C trace context
	CorrelationID string // the same for all that follows from one cause
	CausationID   string // message id of the event that caused this one; its own for a first cause
	Epoch         Epoch  // the fencing number; 0 on events without one
	Data          json.RawMessage
}

// Origin is who publishes: a service in a region.
type Origin struct {
	Region  Region
	Service string
}

// Source is the CloudEvents source of the origin.
func (o Origin) Source() string { return Source(o.Region, o.Service) }

// Option says more about a new event.
type Option func(*Event)

// CausedBy joins the event to the one that caused it.
func CausedBy(cause Event) Option {
	return func(e *Event) {
		e.CorrelationID, e.CausationID = cause.CorrelationID, cause.MsgID()
	}
}

// Correlated joins the event to a cause of which only the correlation id and the message id are known, as they stand in a state.
func Correlated(correlationID, causationID string) Option {
	return func(e *Event) { e.CorrelationID, e.CausationID = correlationID, causationID }
}

// WithTrace joins the event to a span by its W3C traceparent; the empty text does nothing.
func WithTrace(traceparent string) Option {
	return func(e *Event) {
		if traceparent != "" {
			e.TraceParent = traceparent
		}
	}
}

// New makes an event of a payload. Everything but at and the options follows from origin and payload, so that the same fact is the same event.
// It returns an *InvalidError when the payload does not hold together.
func New(origin Origin, at time.Time, payload Payload, options ...Option) (Event, error) {
	if err := payload.Validate(); err != nil {
		return Event{}, fmt.Errorf("make event: %w", err)
	}
	var c Check
	c.Region("region", origin.Region)
	c.Token("service", origin.Service)
	c.Time("time", at)
	if err := c.Err(string(payload.Type())); err != nil {
		return Event{}, fmt.Errorf("make event: %w", err)
	}
	data, err := marshal(payload)
	if err != nil {
		return Event{}, fmt.Errorf("make event: %s: %w", payload.Type(), err)
	}
	t := payload.Type()
	e := Event{
		ID: ID(payload), Source: origin.Source(), Type: t, Subject: Subject(origin.Region, t, payload.Entity()),
		Time: at.UTC(), DataSchema: t.DataSchema(), Region: origin.Region, Data: data,
	}
	if fenced, ok := payload.(ofEpoch); ok {
		e.Epoch = fenced.fencing()
	}
	own := e.MsgID()
	e.CorrelationID, e.CausationID = own, own
	for _, option := range options {
		option(&e)
	}
	if e.TraceParent == "" {
		e.TraceParent = unsampledTrace(e.CorrelationID, own)
	}
	return e, e.check()
}

// MsgID is the Nats-Msg-Id: source and id, which together are unique.
func (e Event) MsgID() string { return e.Source + "#" + e.ID }

// Payload reads the data, checks it, and checks that id and subject are the ones that it makes. Every call decodes anew.
// The error wraps ErrUnknownType or is an *InvalidError where that is what is wrong.
func (e Event) Payload() (Payload, error) {
	definition, found := Lookup(e.Type)
	if !found {
		return nil, fmt.Errorf("decode payload: %w: %q", ErrUnknownType, string(e.Type))
	}
	payload, err := definition.decode(e.Data)
	if err != nil {
		return nil, err
	}
	if err := payload.Validate(); err != nil {
		return nil, fmt.Errorf("decode payload: %w", err)
	}
	var c Check
	if id := ID(payload); e.ID != id {
		c.That(false, "id", e.ID, "the payload's own: "+id)
	}
	if subject := Subject(e.Region, e.Type, payload.Entity()); e.Subject != subject {
		c.That(false, "subject", e.Subject, "the payload's own: "+subject)
	}
	if fenced, ok := payload.(ofEpoch); ok && e.Epoch != fenced.fencing() {
		c.That(false, "epoch", uint64(e.Epoch), "the payload's own: "+fenced.fencing().String())
	}
	if err := c.Err(string(e.Type)); err != nil {
		return nil, fmt.Errorf("decode payload: %w", err)
	}
	return payload, nil
}

// PayloadOf reads the data as one certain payload.
func PayloadOf[P Payload](e Event) (P, error) {
	var none P
	payload, err := e.Payload()
	if err != nil {
		return none, err
	}
	wanted, ok := payload.(P)
	if !ok {
		return none, fmt.Errorf("decode payload: %s is not %s", e.Type, none.Type())
	}
	return wanted, nil
}

var errMissing = errors.New("attribute is missing")

// check looks at the envelope only; it is cheap enough for every message.
func (e Event) check() error {
	for _, attribute := range [...]struct{ name, value string }{
		{"id", e.ID}, {"source", e.Source}, {"type", string(e.Type)}, {"subject", e.Subject}, {"dataschema", e.DataSchema}, {"region", string(e.Region)},
		{"traceparent", e.TraceParent}, {"correlationid", e.CorrelationID}, {"causationid", e.CausationID},
	} {
		if attribute.value == "" {
			return fmt.Errorf("check event: %s: %w", attribute.name, errMissing)
		}
	}
	if e.Time.IsZero() {
		return fmt.Errorf("check event: time: %w", errMissing)
	}
	if len(e.Data) == 0 {
		return fmt.Errorf("check event: data: %w", errMissing)
	}
	if !strings.HasPrefix(string(e.Type), typePrefix) {
		return fmt.Errorf("check event: type is %q, want one that begins with %s", string(e.Type), typePrefix)
	}
	if !e.Region.Valid() {
		return fmt.Errorf("check event: region is %q, want one of a, b, c", string(e.Region))
	}
	name := e.Type.Name()
	if !hasParts(e.Source, "/ofitec/", string(e.Region), "/") {
		return fmt.Errorf("check event: source is %q, want /ofitec/%s/<service>", e.Source, e.Region)
	}
	if !hasParts(e.Subject, "ofitec.", string(e.Region), ".", name, ".") {
		return fmt.Errorf("check event: subject is %q, want ofitec.%s.%s.<entity>", e.Subject, e.Region, name)
	}
	if !validTrace(e.TraceParent) {
		return fmt.Errorf("check event: traceparent is %q, want 00-<32 hex>-<16 hex>-<2 hex>", e.TraceParent)
	}
	return nil
}

// hasParts says whether the text begins with the parts and has more behind them.
func hasParts(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.HasPrefix(text, part) {
			return false
		}
		text = text[len(part):]
	}
	return text != ""
}

func validTrace(text string) bool {
	if len(text) != 55 || text[:3] != "00-" || text[35] != '-' || text[52] != '-' {
		return false
	}
	for n := 3; n < len(text); n++ {
		b := text[n]
		if n != 35 && n != 52 && (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return false
		}
	}
	return true
}

// unsampledTrace stands in where nobody traces: all that follows from one cause has one trace id, and nothing is left to chance.
func unsampledTrace(correlationID, msgID string) string {
	trace := sha256.Sum256([]byte(correlationID))
	span := trace
	if msgID != correlationID {
		span = sha256.Sum256([]byte(msgID))
	}
	text := append(make([]byte, 0, 55), "00-"...)
	text = hex.AppendEncode(text, trace[:16])
	text = append(text, '-')
	text = hex.AppendEncode(text, span[16:24])
	return string(append(text, "-00"...))
}
