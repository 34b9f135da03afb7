package events

import "encoding/json"

// Basis is what the decision behind a failover's event was given, so that it can be explained and taken once more when everything else has expired.
type Basis struct {
	// Observations are those that were fresh then. Events that have an evidence of their own leave them there.
	Observations []Evidence `json:"observations,omitempty"`
	// Record is the arbiter's own document: state, mandate, reports, thresholds and since when what was seen. Nobody else reads it; failover-arbiter explain does.
	Record json.RawMessage `json:"record" jsonschema:"type=object,description=the arbiter's own document; failover-arbiter explain reads it"`
}

// Problems says what is wrong with the basis.
func (b Basis) Problems() []Problem {
	var c Check
	evidence(&c, b.Observations)
	c.That(len(b.Record) > 0 && b.Record[0] == '{', "record", len(b.Record), "a JSON object")
	return c.Problems()
}

// Founded is what the events of a decided failover share.
type Founded struct {
	Basis *Basis `json:"basis,omitempty" jsonschema:"description=what the decision was given; absent in events of arbiters before it"`
}

func (f Founded) basis(c *Check) {
	if f.Basis != nil {
		c.Part("basis", f.Basis.Problems())
	}
}

// FoundedOn gives a failover's event its basis; other events stay as they are.
func FoundedOn(p Payload, b *Basis) Payload {
	without := &Basis{Record: b.Record} // the observations stand in the event already
	switch e := p.(type) {
	case FailoverStarted:
		e.Basis = without
		return e
	case FailoverHeld:
		e.Basis = without
		return e
	case FailoverFenced:
		e.Basis = b
		return e
	case FailoverPromoted:
		e.Basis = b
		return e
	case FailoverSwitched:
		e.Basis = b
		return e
	case FailoverCompleted:
		e.Basis = b
		return e
	case FailoverAborted:
		e.Basis = b
		return e
	case FailoverRejoined:
		e.Basis = b
		return e
	case FailoverPaused:
		e.Basis = b
		return e
	case FailoverResumed:
		e.Basis = b
		return e
	case FailoverOverridden:
		e.Basis = b
		return e
	case FailoverAcknowledged:
		e.Basis = b
		return e
	case FailoverSynchronized:
		e.Basis = b
		return e
	}
	return p
}

// BasisOf is what a failover's event was decided on; nil where nothing is recorded.
func BasisOf(p Payload) *Basis {
	with := func(b *Basis, observations []Evidence) *Basis {
		if b == nil {
			return nil
		}
		return &Basis{Observations: observations, Record: b.Record}
	}
	switch e := p.(type) {
	case FailoverStarted:
		return with(e.Basis, e.Evidence)
	case FailoverHeld:
		return with(e.Basis, e.Evidence)
	case FailoverFenced:
		return e.Basis
	case FailoverPromoted:
		return e.Basis
	case FailoverSwitched:
		return e.Basis
	case FailoverCompleted:
		return e.Basis
	case FailoverAborted:
		return e.Basis
	case FailoverRejoined:
		return e.Basis
	case FailoverPaused:
		return e.Basis
	case FailoverResumed:
		return e.Basis
	case FailoverOverridden:
		return e.Basis
	case FailoverAcknowledged:
		return e.Basis
	case FailoverSynchronized:
		return e.Basis
	}
	return nil
}
