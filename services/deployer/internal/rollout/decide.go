package rollout

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// decision is one run of Decide.
type decision struct {
	state  state.Deployment
	policy Policy
	seen   Observation
	now    time.Time
	say    []Action // announcements and the wish's end, stored with the state
}

// Decide gives the state to be stored, what is to be stored with it (Announce, Heard), and what may then be done. The state's Number is 0 before the first version.
// The given state is not changed.
func Decide(s state.Deployment, o Observation, p Policy, now time.Time) (next state.Deployment, with, then []Action) {
	d := &decision{state: s, policy: p, seen: o, now: now.UTC()}
	if s.Number > 0 {
		d.see()
		d.learn()
		d.returned()
		d.levelled()
	}
	d.hear()
	if d.state.Number > 0 {
		then = d.todo()
	}
	return d.state, d.say, then
}

// see takes in what the proxy says. A canary that has the traffic is switched already, by a process that died before it could say so or by hand; and no colour with
// traffic is ever rendered or started.
func (d *decision) see() {
	s := &d.state
	switch {
	case d.seen.Hot == "":
	case Ended(*s):
		if s.Settled {
			s.Hot = d.seen.Hot
		}
		if s.Phase == state.DeploymentDone && d.seen.Forgotten {
			d.again()
		}
	case s.Phase == state.DeploymentSwitched:
	case s.Phase == state.DeploymentWatching:
		d.share()
	case d.seen.Hot != s.Colour:
		s.Hot = d.seen.Hot
	default:
		s.Hot, s.Colour = d.seen.Hot, Other(d.seen.Hot)
		d.enter(state.DeploymentPlanned)
	}
}

// again rolls the version in use out once more, into a region whose colours have what a first start gives them. It was announced already.
func (d *decision) again() {
	s, at := &d.state, d.now
	s.Hot, s.Colour, s.Started, s.Ended, s.Settled, s.Standby = d.seen.Hot, Other(d.seen.Hot), &at, nil, false, false
	s.Readings, s.Inconclusive, s.Gates, s.WatchUntil, s.Step, s.Reason = nil, 0, nil, nil, "", "the region's folders are new"
	s.Weight, s.GreenBefore, s.WatchFrom, s.SwitchedAt, s.Samples = 0, 0, nil, nil, nil
	d.enter(state.DeploymentPlanned)
}

func (d *decision) enter(phase state.DeploymentPhase) { d.state.Phase, d.state.Since = phase, d.now }

// learn takes an outcome in. One that does not fit number and phase is of an action that something has overtaken, and changes nothing.
func (d *decision) learn() {
	s := &d.state
	is := func(number int64, phase state.DeploymentPhase) bool { return s.Number == number && s.Phase == phase }
	switch o := d.seen.Outcome.(type) {
	case Rendered:
		if is(o.Number, state.DeploymentPlanned) {
			d.enter(state.DeploymentRendered)
		}
	case Refused:
		if is(o.Number, state.DeploymentPlanned) {
			d.rollBack(o.Step, o.Reason)
			s.Settled = true
		}
	case Started:
		if is(o.Number, state.DeploymentRendered) {
			d.enter(state.DeploymentStarted)
		}
	case Answered:
		if is(o.Number, state.DeploymentStarted) {
			d.answered(o)
		}
	case Read:
		if is(o.Number, state.DeploymentWatching) {
			d.read(o.Reading)
		}
	case Switched:
		if is(o.Number, state.DeploymentWatching) && s.Step == "" {
			d.stepped(o.Percent)
		}
	case Settled:
		if s.Number == o.Number {
			d.settled("")
		}
	case Failed:
		d.failed(o)
	}
}

// failed gives up where trying again has not helped. A file that cannot be written now and a Vault that is away are waited for; so is a proxy that does not say
// where the traffic goes.
func (d *decision) failed(f Failed) {
	s := &d.state
	if f.Count < d.policy.Tries {
		return
	}
	switch a := f.Action.(type) {
	case Start:
		if s.Number == a.Number && s.Phase == state.DeploymentRendered {
			d.rollBack("start", f.Reason)
		}
	case Switch:
		if s.Number == a.Number && s.Phase == state.DeploymentWatching && s.Step == "" && d.seen.Hot == s.Hot {
			d.giveUp("switch", f.Reason)
		}
	case Settle:
		if s.Number == a.Number && s.Phase == state.DeploymentSwitched {
			d.settled(f.Reason)
		}
	}
}

// settled ends what was to be done for the colour without traffic; a problem is kept in mind and tried again.
func (d *decision) settled(problem string) {
	s := &d.state
	if Ended(*s) {
		s.Settled = true
		if s.Phase == state.DeploymentDone {
			s.Reason = ""
		}
		return
	}
	if s.Phase != state.DeploymentSwitched {
		return
	}
	s.Settled, s.Reason = problem == "", ""
	if problem != "" {
		s.Reason = clip("the colour without traffic is not on this version yet: " + problem)
	}
	d.end(state.DeploymentDone)
}

// levelled takes in that another credential's rollout has brought the colour without traffic over: it gives it all that the other one runs on.
func (d *decision) levelled() {
	if s := d.state; Ended(s) && !s.Settled && s.Ended != nil && d.seen.Levelled.After(*s.Ended) {
		d.settled("")
	}
}

func (d *decision) rollBack(step, reason string) {
	d.state.Step, d.state.Reason = step, clip(reason)
	d.end(state.DeploymentRolledBack)
}

func (d *decision) end(phase state.DeploymentPhase) {
	at := d.now
	d.enter(phase)
	d.state.Ended = &at
	if d.state.Announced != "" {
		return
	}
	d.state.Announced = events.ID(result(d.state))
	d.announce()
}

// announce says the result, and says it again in the same words.
func (d *decision) announce() {
	d.say = append(d.say, Announce{Payload: result(d.state), At: *d.state.Ended, Correlation: d.state.Correlation, Causation: d.state.Cause})
}

// result is what a state that has ended says.
func result(s state.Deployment) events.Payload {
	rollout := events.Rollout{
		Credential: events.Credential{Name: s.Name, Kind: s.Method, Version: s.Number, Path: s.Path, Fingerprint: s.Fingerprint},
		Region:     s.Region, Colour: string(s.Colour), Standby: s.Standby, Started: s.Since, Ended: s.Since,
	}
	if s.Started != nil {
		rollout.Started = *s.Started
	}
	if s.Ended != nil {
		rollout.Ended = *s.Ended
	}
	if s.Readings != nil {
		rollout.Readings = *s.Readings
	}
	if s.Phase == state.DeploymentDone {
		return events.CredentialDeployed{Rollout: rollout, Previous: s.Previous}
	}
	return events.CredentialRolledBack{Rollout: rollout, Kept: s.Previous, Step: s.Step, Reason: s.Reason, Gates: s.Gates}
}

// hear takes a wish in. The same version again is answered with its result; an older one was answered when it was replaced; a newer one replaces what has not got
// the traffic yet, and waits for what has, and for another credential that is rolled out.
func (d *decision) hear() {
	wish, s := d.seen.Wish, &d.state
	if wish == nil {
		return
	}
	switch {
	case d.seen.Taken && (s.Number == 0 || Ended(*s) && wish.Credential.Version > s.Number):
		return
	case s.Number == 0:
		d.plan(*wish, wish.Previous)
	case wish.Credential.Version < s.Number:
	case wish.Credential.Version == s.Number:
		if Ended(*s) && len(d.say) == 0 {
			d.announce()
		}
	case s.Phase == state.DeploymentSwitched, s.Phase == state.DeploymentWatching && s.Weight > 0:
		return
	case s.Phase == state.DeploymentDone:
		d.plan(*wish, s.Number)
	default:
		if !Ended(*s) {
			d.rollBack(stepOf(s.Phase), fmt.Sprintf("version %d replaces it", wish.Credential.Version))
		}
		if d.policy.OneFile && s.Previous == 0 && !s.Settled { // what the file held before is not to be taken for what this version has written
			return
		}
		d.plan(*wish, s.Previous)
	}
	d.say = append(d.say, Heard{})
}

func stepOf(phase state.DeploymentPhase) string {
	switch phase {
	case state.DeploymentPlanned:
		return "render"
	case state.DeploymentWatching:
		return "gate"
	}
	return "start"
}

// plan begins with a version. Where the traffic goes is looked at again before anything is touched.
func (d *decision) plan(w Wish, previous int64) {
	hot := d.seen.Hot
	if hot == "" {
		hot = d.state.Hot
	}
	if hot == "" {
		hot = state.Blue
	}
	at := d.now
	d.state = state.Deployment{
		Region: d.policy.Region, Name: w.Credential.Name, Number: w.Credential.Version, Previous: min(previous, w.Credential.Version-1), Hot: hot, Colour: Other(hot),
		Phase: state.DeploymentPlanned, Since: at, Started: &at, Cause: w.Cause, Correlation: w.Correlation,
		Method: w.Credential.Kind, Path: w.Credential.Path, Fingerprint: w.Credential.Fingerprint,
	}
}

// clip keeps a reason within what an event takes.
func clip(reason string) string {
	if reason == "" {
		return "no reason was given"
	}
	if len(reason) > 900 {
		return reason[:900]
	}
	return reason
}
