// Package observe listens to what the observers of all regions publish, live. Freshness is all that counts here: what was missed is not asked for again
// (design.md, Streams).
package observe

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// Ear is told what is heard, by one goroutine a type of event. Both functions must return soon: what waits behind them grows old.
type Ear struct {
	Hear   func(failover.Observation)
	Ignore func(observer events.Region, err error) // a message that is no observation
}

// Listen subscribes until the connection ends, over all its reconnections.
func Listen(conn *nats.Conn, ear Ear) error {
	for _, t := range []events.Type{events.TypeHealthObserved, events.TypeReplicationObserved} {
		subject := events.Filter("", t)
		if _, err := conn.Subscribe(subject, func(m *nats.Msg) { ear.take(m) }); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return nil
}

func (e Ear) take(m *nats.Msg) {
	observation, observer, err := read(m.Subject, m.Data)
	if err != nil {
		e.Ignore(observer, err)
		return
	}
	e.Hear(observation)
}

// read takes a message for what it says it is only when its subject, on which the bus lets nobody else publish, says so too.
func read(subject string, data []byte) (failover.Observation, events.Region, error) {
	region, _, _, err := events.ParseSubject(subject)
	if err != nil {
		return nil, "", err
	}
	event, err := events.Decode(data)
	if err != nil {
		return nil, region, err
	}
	if event.Subject != subject || event.Source != events.Source(region, events.ServiceProbe) {
		return nil, region, fmt.Errorf("an event of %s for %s came on %s", event.Source, event.Subject, subject)
	}
	payload, err := event.Payload()
	if err != nil {
		return nil, region, err
	}
	switch p := payload.(type) {
	case events.HealthObserved:
		if p.Observer == region {
			return failover.Heard{Report: p}, region, nil
		}
	case events.ReplicationObserved:
		if p.Observer == region {
			return failover.Positioned{Report: p}, region, nil
		}
	}
	return nil, region, fmt.Errorf("an observation of another observer, or none at all, came on %s", subject)
}
