package events

import "time"

// Payload is the data of an event: a plain struct of this package. Payloads are values; a consumer switches on their type.
type Payload interface {
	// Type is the event's type. It is a constant of the struct.
	Type() Type
	// Entity is what the event is about, one token of the subject.
	Entity() string
	// Key tells this fact of the entity from all others: epoch, version, batch or running number. With type and entity it makes the event's id,
	// so that a fact that is said twice has one id.
	Key() string
	// Validate returns an *InvalidError with every problem, or nil.
	Validate() error
}

// ofEpoch is implemented by payloads that a fencing number belongs to.
type ofEpoch interface{ fencing() Epoch }

// ID is the id of a payload's event: "<domain>.<fact>.<entity>.<key>".
func ID(p Payload) string {
	t := p.Type()
	return t.Domain() + "." + t.Fact() + "." + p.Entity() + "." + p.Key()
}

// invalid also asks that entity and key can stand in a subject and in an id.
func invalid(p Payload, problems []Problem) error {
	c := Check{problems: problems}
	if len(problems) == 0 {
		c.Token("entity", p.Entity())
		c.Token("key", p.Key())
	}
	return c.Err(string(p.Type()))
}

// Act is who did something by hand, and why. Every manual act carries one.
type Act struct {
	Actor   string    `json:"actor" jsonschema:"description=authenticated identity of who acted"`
	Reason  string    `json:"reason"`
	Request string    `json:"request" jsonschema:"description=id of the request; unique"`
	At      time.Time `json:"at" jsonschema:"description=when it was asked for"`
}

// Problems says what is wrong with the act.
func (a Act) Problems() []Problem {
	var c Check
	c.Text("actor", a.Actor, 200)
	c.Text("reason", a.Reason, 1000)
	c.Token("request", a.Request)
	c.Time("at", a.At)
	return c.Problems()
}
