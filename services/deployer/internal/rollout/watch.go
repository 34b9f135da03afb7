package rollout

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func (d *decision) answered(o Answered) {
	s, l := &d.state, d.policy.Limits
	if o.Ready {
		from, until := d.now, d.now.Add(d.policy.Window)
		s.WatchFrom, s.WatchUntil, s.Standby, s.Readings, s.Inconclusive, s.Gates = &from, &until, o.Standby, &events.Readings{}, 0, nil
		s.Weight, s.GreenBefore, s.Samples, s.Limits = 0, 0, nil, &state.Limits{ErrorRate: l.ErrorRate, P95: l.P95.Seconds()}
		d.enter(state.DeploymentWatching)
		return
	}
	if d.now.Before(s.Since.Add(d.policy.StartWithin)) {
		return
	}
	step := "start"
	if o.Alive {
		step = "login"
	}
	d.rollBack(step, fmt.Sprintf("not ready %s after its start: %s", d.policy.StartWithin, o.Reason))
}

// share takes in how much of the traffic the canary has while it is watched. More than was planned was given by a process that died before it could say so, or by hand;
// a colour that had everything and has it no more was switched back by hand. A share that a restart of the proxy has taken is given again.
func (d *decision) share() {
	s := &d.state
	has := d.seen.Of(s.Colour)
	switch {
	case s.Step != "":
	case has > s.Weight:
		d.stepped(has)
	case s.Weight == 100 && d.seen.Hot != s.Colour:
		d.giveUp("switch", "the traffic was given back to "+string(d.seen.Hot)+" by hand")
	}
	if s.Weight < 100 {
		s.Hot = Other(s.Colour)
	}
}

// stepped begins to watch the canary under the share that it now has; with all of it, and no more than that one step, it is switched.
func (d *decision) stepped(percent int) {
	s, p := &d.state, d.policy
	if percent == s.Weight {
		return
	}
	s.Weight = percent
	if percent == 100 {
		at := d.now
		s.SwitchedAt, s.Hot = &at, s.Colour
		if len(p.Steps) < 2 {
			d.enter(state.DeploymentSwitched)
			return
		}
	}
	if s.Readings != nil {
		s.GreenBefore = s.Readings.Green
	}
	until := d.now.Add(p.StepWindow)
	s.WatchUntil = &until
	d.enter(state.DeploymentWatching)
}

func (d *decision) read(r Reading) {
	s := &d.state
	if s.Step != "" {
		return
	}
	counts := events.Readings{}
	if s.Readings != nil {
		counts = *s.Readings
	}
	s.Gates, s.Reason = r.Gates, r.Reason
	s.Standby = s.Standby && r.Standby
	switch r.Verdict {
	case Green:
		counts.Green++
	case Red:
		counts.Red++
	default:
		counts.Inconclusive++
	}
	s.Readings, s.Inconclusive = &counts, counts.Inconclusive
	d.keep(r)
	switch {
	case r.Verdict == Red && counts.Red >= d.policy.Failures:
		d.giveUp("gate", fmt.Sprintf("%d red readings: %s", counts.Red, r.Reason))
	case r.Verdict == Unknown && counts.Inconclusive >= d.policy.Inconclusive:
		d.giveUp("gate", fmt.Sprintf("%d readings without an answer: %s", counts.Inconclusive, r.Reason))
	case s.Weight == 100 && d.passed():
		d.enter(state.DeploymentSwitched)
	}
}

// keep appends the reading to the samples. The list is made anew: the one before belongs to the given state.
func (d *decision) keep(r Reading) {
	old := d.state.Samples
	if over := len(old) + 1 - state.MaxSamples; over > 0 {
		old = old[over:]
	}
	sample := state.Sample{At: d.now, Verdict: string(r.Verdict), Weight: d.state.Weight, Reason: r.Reason, Canary: r.Canary, Control: r.Control}
	d.state.Samples = append(append(make([]state.Sample, 0, len(old)+1), old...), sample)
}

// passed says that the present window is over and was a good one, by the reading that has just come.
func (d *decision) passed() bool {
	s := d.state
	o, ok := d.seen.Outcome.(Read)
	if !ok || o.Number != s.Number || o.Verdict != Green || s.Readings == nil {
		return false
	}
	window := d.policy.window(s.Weight)
	return s.Readings.Green-s.GreenBefore >= enough(window, d.policy) && !d.now.Before(s.Since.Add(window))
}

// giveUp rolls back: at once while the canary has no traffic, else as soon as the other colour has all of it again.
func (d *decision) giveUp(step, reason string) {
	s := &d.state
	if s.Weight == 0 {
		d.rollBack(step, reason)
		return
	}
	s.Step, s.Reason = step, clip(reason)
	d.enter(state.DeploymentWatching)
}

// returned ends a rollout that was given up while the canary had traffic: it has none any more, and works on none. What is announced is then true.
func (d *decision) returned() {
	s := &d.state
	if s.Phase != state.DeploymentWatching || s.Step == "" || d.seen.Hot != Other(s.Colour) || d.busy() {
		return
	}
	if d.seen.Open < 0 && d.now.Before(s.Since.Add(d.policy.DrainWithin)) { // nobody counts them
		return
	}
	s.Hot, s.Weight, s.SwitchedAt = d.seen.Hot, 0, nil
	d.rollBack(s.Step, s.Reason)
}

// busy says that the colour without traffic has some after all, or still works on requests within their time.
func (d *decision) busy() bool {
	return d.seen.Share > 0 || d.seen.Open > 0 && d.now.Before(d.state.Since.Add(d.policy.DrainWithin))
}

func (p Policy) window(weight int) time.Duration {
	if weight > 0 {
		return p.StepWindow
	}
	return p.Window
}

// next is the share that follows on one; there is always one below 100.
func (p Policy) next(weight int) int {
	for _, step := range p.Steps {
		if step > weight {
			return step
		}
	}
	return 100
}

// enough is the number of green readings that a window must have: more than half of those that fit. A window that was slept through is no window.
func enough(window time.Duration, p Policy) int {
	return int(max(window-p.Delay, 0)/p.Interval)/2 + 1
}
