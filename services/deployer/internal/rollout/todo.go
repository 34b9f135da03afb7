package rollout

import (
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// todo is what the phase asks for. Nothing is touched while the proxy does not say where the traffic goes.
func (d *decision) todo() []Action {
	s := d.state
	known := d.seen.Hot != ""
	switch s.Phase {
	case state.DeploymentPlanned:
		if known && d.seen.Share > 0 {
			return []Action{Drain{s.Number, s.Hot, s.Colour}}
		}
		if known {
			return []Action{Render{s.Number, s.Colour, s.Path}}
		}
	case state.DeploymentRendered:
		if known && d.busy() {
			return []Action{Drain{s.Number, s.Hot, s.Colour}}
		}
		if known {
			return []Action{Start{s.Number, s.Colour}}
		}
	case state.DeploymentStarted:
		return []Action{Try{s.Number, s.Colour}}
	case state.DeploymentWatching:
		return d.watch()
	case state.DeploymentSwitched:
		if d.drained() {
			return []Action{d.settle()}
		}
		return []Action{Drain{s.Number, s.Hot, Other(s.Hot)}}
	case state.DeploymentDone, state.DeploymentRolledBack:
		if !s.Settled && d.seen.Hot == s.Hot && d.seen.Share > 0 {
			return []Action{Drain{s.Number, s.Hot, Other(s.Hot)}}
		}
		if !s.Settled && d.seen.Hot == s.Hot {
			return []Action{d.settle()}
		}
	}
	return nil
}

// settle gives the colour without traffic what the other one runs on: the version, or the one that was kept.
func (d *decision) settle() Settle {
	s := d.state
	version := s.Number
	if s.Phase == state.DeploymentRolledBack {
		version = s.Previous
	}
	return Settle{s.Number, s.Hot, Other(s.Hot), version, s.Path}
}

// watch gives the canary its next share after the last green reading of a whole window, and reads until then. What has been given up goes back.
func (d *decision) watch() []Action {
	s, p := d.state, d.policy
	if s.Step != "" {
		return []Action{Drain{s.Number, Other(s.Colour), s.Colour}}
	}
	if o, ok := d.seen.Outcome.(Failed); ok {
		if a, ok := o.Action.(Switch); ok && a.Number == s.Number {
			return []Action{a}
		}
	}
	if d.seen.Hot != "" && d.seen.Of(s.Colour) < s.Weight {
		return []Action{Switch{s.Number, s.Colour, s.Weight}}
	}
	if s.Weight < 100 && d.passed() {
		return []Action{Switch{s.Number, s.Colour, p.next(s.Weight)}}
	}
	begun := s.Since
	due := begun.Add(p.Delay)
	if again := d.seen.Looked.Add(p.Interval); again.After(due) {
		due = again
	}
	if d.now.Before(due) {
		return nil
	}
	return []Action{Look{s.Number, s.Colour, min(d.now.Sub(begun), p.window(s.Weight))}}
}

// drained says that the old colour has no request left, or has had its time.
func (d *decision) drained() bool {
	switch o := d.seen.Outcome.(type) {
	case Drained:
		return o.Number == d.state.Number && (o.Open == 0 || !d.now.Before(d.state.Since.Add(d.policy.DrainWithin)))
	case Failed:
		a, ok := o.Action.(Settle)
		return ok && a.Number == d.state.Number
	}
	return false
}

// Patient says how long the next look may wait when nothing calls: a rollout under way is looked after, one that has ended is not.
func Patient(s state.Deployment) time.Duration {
	if s.Number > 0 && (!Ended(s) || !s.Settled) {
		return 200 * time.Millisecond
	}
	return time.Second
}
