package events

import "time"

// ManualFailover is what all acts of an operator on the failover share. Its key is the request's id.
type ManualFailover struct {
	Epoch  Epoch  `json:"epoch" jsonschema:"description=of the mandate in force"`
	Active Region `json:"active"`
	Act    Act    `json:"act"`
}

// Entity implements Payload.
func (ManualFailover) Entity() string { return FailoverEntity }

// Key implements Payload.
func (m ManualFailover) Key() string { return m.Act.Request }

func (m ManualFailover) fencing() Epoch { return m.Epoch }

// Problems says what is wrong with the act.
func (m ManualFailover) Problems() []Problem {
	var c Check
	c.Epoch("epoch", m.Epoch)
	c.DataRegion("active", m.Active)
	c.Part("act", m.Act.Problems())
	return c.Problems()
}

// FailoverPaused: the arbiters decide nothing until resumed; a failover under way is finished.
type FailoverPaused struct {
	ManualFailover
	Until *time.Time `json:"until,omitempty" jsonschema:"description=absent: until resumed"`
	Founded
}

// Type implements Payload.
func (FailoverPaused) Type() Type { return TypeFailoverPaused }

// Validate implements Payload.
func (p FailoverPaused) Validate() error {
	c := Check{problems: p.Problems()}
	if p.Until != nil {
		c.Order("until", *p.Until, "act.at", p.Act.At)
	}
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverResumed: the arbiters decide again.
type FailoverResumed struct {
	ManualFailover
	Founded
}

// Type implements Payload.
func (FailoverResumed) Type() Type { return TypeFailoverResumed }

// Validate implements Payload.
func (p FailoverResumed) Validate() error {
	c := Check{problems: p.Problems()}
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverOverridden: an operator took a decision that a rule held back, knowing what it may lose.
type FailoverOverridden struct {
	ManualFailover
	To   Region    `json:"to"`
	Rule string    `json:"rule" jsonschema:"description=code of the rule that was overridden"`
	Loss LossBound `json:"loss" jsonschema:"description=the bound that the operator was shown"`

	Attested string `json:"attested,omitempty" jsonschema:"description=what the operator has made sure of; only where the target is no standby"`
	Founded
}

// Type implements Payload.
func (FailoverOverridden) Type() Type { return TypeFailoverOverridden }

// Validate implements Payload.
func (p FailoverOverridden) Validate() error {
	c := Check{problems: p.Problems()}
	c.DataRegion("to", p.To)
	c.Token("rule", p.Rule)
	c.Part("loss", p.Loss.Problems())
	if p.Attested != "" {
		c.Text("attested", p.Attested, 1000)
	}
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverAcknowledged: an operator has seen the last failover; the cooldown ends.
type FailoverAcknowledged struct {
	ManualFailover
	Failover Epoch `json:"failover" jsonschema:"description=epoch of the failover that is acknowledged"`
	Founded
}

// Type implements Payload.
func (FailoverAcknowledged) Type() Type { return TypeFailoverAcknowledged }

// Validate implements Payload.
func (p FailoverAcknowledged) Validate() error {
	c := Check{problems: p.Problems()}
	c.Epoch("failover", p.Failover)
	c.That(p.Failover <= p.Epoch, "failover", uint64(p.Failover), "at most the epoch in force")
	p.basis(&c)
	return invalid(p, c.problems)
}
