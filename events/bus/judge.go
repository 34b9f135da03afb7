package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
)

// message is what a bus delivers, before anybody has looked into it.
type message struct {
	subject   string
	data      []byte
	header    map[string][]string
	stream    string
	sequence  uint64
	delivered int
	stored    time.Time
}

type outcome string

const (
	acknowledged outcome = "acknowledged"
	retried      outcome = "retried"
	parked       outcome = "parked"
)

// verdict is what shall become of a message.
type verdict struct {
	outcome outcome
	delay   time.Duration // of a retry
	reason  string        // of a retry or a parking
}

// judge decodes a message, runs the handler and says what follows. It never panics.
func (c Consumer) judge(ctx context.Context, m message, handler Handler) verdict {
	start := time.Now()
	event, v := c.attempt(ctx, m, handler)
	c.Metrics.handled(event.Type, v.outcome, time.Since(start))
	switch v.outcome {
	case retried:
		c.Log.WarnContext(ctx, "event is tried again", "id", event.ID, "stream", m.stream, "sequence", m.sequence, "attempt", m.delivered, "delay", v.delay.String(), "reason", v.reason)
	case parked:
		c.Log.ErrorContext(ctx, "event is parked", "subject", m.subject, "stream", m.stream, "sequence", m.sequence, "attempt", m.delivered, "reason", v.reason)
	}
	return v
}

func (c Consumer) attempt(ctx context.Context, m message, handler Handler) (events.Event, verdict) {
	event, payload, err := decode(m)
	if err != nil {
		return event, verdict{outcome: parked, reason: "malformed: " + err.Error()}
	}
	// A process that dies while it handles a message never gives a verdict: the count of deliveries does.
	if m.delivered > len(c.Backoff)+1 && !c.Patient {
		return event, verdict{outcome: parked, reason: fmt.Sprintf("delivered %d times and never answered", m.delivered-1)}
	}
	err = run(ctx, handler, Delivery{Event: event, Payload: payload, Stream: m.stream, Sequence: m.sequence, Attempt: m.delivered, Stored: m.stored}, m.header)
	switch {
	case err == nil:
		return event, verdict{outcome: acknowledged}
	case errors.Is(err, ErrPark):
		return event, verdict{outcome: parked, reason: err.Error()}
	case ctx.Err() != nil:
		return event, verdict{outcome: retried, delay: c.delay(1), reason: "stopped: " + err.Error()}
	case m.delivered > len(c.Backoff) && (!c.Patient || errors.Is(err, errPanicked)):
		return event, verdict{outcome: parked, reason: err.Error()}
	}
	return event, verdict{outcome: retried, delay: c.delay(m.delivered), reason: err.Error()}
}

// delay is the one before the attempt that follows the given one.
func (c Consumer) delay(attempt int) time.Duration {
	if len(c.Backoff) == 0 {
		return 0
	}
	return c.Backoff[min(max(attempt, 1), len(c.Backoff))-1]
}

func decode(m message) (events.Event, events.Payload, error) {
	event, err := events.Decode(m.data)
	if err != nil {
		return event, nil, err
	}
	if event.Subject != m.subject {
		return event, nil, fmt.Errorf("subject is %q but it came on %q", event.Subject, m.subject)
	}
	payload, err := event.Payload()
	return event, payload, err
}

// errPanicked is the event's own fault, or the handler's with this event: more attempts than the table has change nothing, also for a patient consumer.
var errPanicked = errors.New("handler panicked")

func run(ctx context.Context, handler Handler, delivery Delivery, header map[string][]string) (err error) {
	ctx, span := consuming(ctx, delivery, header)
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("%w: %v", errPanicked, recovered)
		}
		finish(span, err)
	}()
	return handler(ctx, delivery)
}

const reasonLimit = 1000

// parkedHeader tells where a message came from and why it is parked. Its message id makes parking twice the same as parking once.
func (c Consumer) parkedHeader(m message, reason string) map[string][]string {
	if len(reason) > reasonLimit {
		reason = reason[:reasonLimit]
	}
	header := map[string][]string{
		HeaderMsgID:          {"parked/" + c.Durable + "/" + m.stream + "#" + strconv.FormatUint(m.sequence, 10)},
		HeaderParkedReason:   {oneLine(reason)},
		HeaderParkedAttempts: {strconv.Itoa(m.delivered)},
		HeaderParkedService:  {c.Service},
		HeaderParkedStream:   {m.stream},
		HeaderParkedSequence: {strconv.FormatUint(m.sequence, 10)},
		HeaderParkedSubject:  {m.subject},
	}
	for _, name := range []string{HeaderContentType, HeaderTrace} {
		if values := m.header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	return header
}

// oneLine makes any text fit for a header.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text)
}
