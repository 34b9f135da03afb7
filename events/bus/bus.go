// Package bus carries events over NATS JetStream, or in memory: publish until acknowledged, consume durably with a literal back-off table and a place for
// what cannot be handled, replay in order. Publishing and handling are at least once; a consumer remembers in its own store what it has done.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Headers of messages. Those of parked messages tell where a message came from and why it is there.
const (
	HeaderContentType = "Content-Type"
	HeaderMsgID       = "Nats-Msg-Id"
	HeaderTrace       = "traceparent"

	HeaderParkedReason   = "Ofitec-Reason"
	HeaderParkedAttempts = "Ofitec-Attempts"
	HeaderParkedService  = "Ofitec-Service"
	HeaderParkedStream   = "Ofitec-Stream"
	HeaderParkedSequence = "Ofitec-Sequence"
	HeaderParkedSubject  = "Ofitec-Subject"
)

// Receipt is the stream's acknowledgement: the event is stored.
type Receipt struct {
	Stream    string
	Sequence  uint64
	Duplicate bool // the stream had it already
}

// Delivery is an event that came to a handler, checked and decoded.
type Delivery struct {
	Event    events.Event
	Payload  events.Payload
	Stream   string
	Sequence uint64
	Attempt  int       // from 1; counts deliveries, those to a process that died included
	Stored   time.Time // when the stream took it
}

// Handler does what an event asks for. Nil acknowledges it. An error delivers it again after the back-off table's next delay, and parks it behind the
// table's end; one that wraps ErrPark parks it at once. The error's text becomes the parked message's reason: no secret, no personal datum.
//
// A handler may run for long, its message is kept alive meanwhile. It may see an event twice. With more than one worker it runs concurrently.
type Handler func(ctx context.Context, delivery Delivery) error

// ErrPark is wrapped by a handler's error when trying again is of no use.
var ErrPark = errors.New("park")

// Park is an error that parks the event for a reason.
func Park(reason string) error { return fmt.Errorf("%w: %s", ErrPark, reason) }

// Backoff is the delay before each further attempt; in comments, the time since the first attempt. Behind its end the event is parked.
// It is longer than a Vault that is sealed for 50 minutes.
var Backoff = []time.Duration{
	1 * time.Second,  // 0:00:01
	5 * time.Second,  // 0:00:06
	15 * time.Second, // 0:00:21
	30 * time.Second, // 0:00:51
	1 * time.Minute,  // 0:01:51
	2 * time.Minute,  // 0:03:51
	5 * time.Minute,  // 0:08:51
	10 * time.Minute, // 0:18:51
	20 * time.Minute, // 0:38:51
	30 * time.Minute, // 1:08:51
}

// Consumer says who reads what. Service, Region and Stream are required; zero values of the rest have the meaning that is stated.
type Consumer struct {
	Service string
	Region  events.Region
	Stream  string

	Durable string          // the name; by default that of events.DurableOf
	Filters []string        // subjects; by default those of events.DurableOf. Used only when the durable is made here
	New     bool            // begins with what comes. Used only when the durable is made here
	Create  bool            // makes the durable when it is not there, as outside the secured stack, where services may not
	Workers int             // handlers at a time; by default 1, which keeps the order as long as nothing fails
	Backoff []time.Duration // by default Backoff
	Patient bool            // an event is not given up behind the table's end, whose last delay stays: where errors say nothing of it, as of one that waits for a leader. One on which the handler panics is
	AckWait time.Duration   // how long the stream waits for a sign of life; by default 30 s. Used only when the durable is made here
	Grace   time.Duration   // how long running handlers may take after the context's end; by default 10 s
	Log     *slog.Logger    // by default slog.Default
	Metrics *Metrics        // nil measures nothing
	OnState func(error)     // called when consuming begins to work, with nil, or to fail; for readiness
}

const (
	defaultAckWait = 30 * time.Second
	defaultGrace   = 10 * time.Second
)

// complete fills in the defaults and refuses what cannot work.
func (c Consumer) complete() (Consumer, error) {
	durable, known := events.DurableOf(c.Service, c.Region, c.Stream)
	if c.Durable == "" {
		if !known {
			return c, fmt.Errorf("consume %s: %s in region %s is no consumer of it by events.Definitions, and no durable is named", c.Stream, c.Service, c.Region)
		}
		c.Durable, c.New = durable.Name, durable.New
	}
	if len(c.Filters) == 0 {
		c.Filters = durable.Filters
	}
	if c.Workers <= 0 {
		c.Workers = 1
	}
	if c.Backoff == nil {
		c.Backoff = Backoff
	}
	if c.AckWait <= 0 {
		c.AckWait = defaultAckWait
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.OnState == nil {
		c.OnState = func(error) {}
	}
	if len(c.Filters) == 0 {
		return c, fmt.Errorf("consume %s: no subjects for durable %s", c.Stream, c.Durable)
	}
	return c, nil
}
