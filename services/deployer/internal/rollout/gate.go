package rollout

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Verdict is what a reading says.
type Verdict string

// The verdicts. No data is unknown, never green.
const (
	Green   Verdict = "green"
	Red     Verdict = "red"
	Unknown Verdict = "inconclusive"
)

// Limits are the bars of the gates.
type Limits struct {
	ErrorRate float64       // share of answers with 5xx, below
	P95       time.Duration // below
}

// Figures are what Prometheus says of one colour; nil where it says nothing or no number.
type Figures struct {
	Up             *bool
	ErrorRate, P95 *float64
	Problem        string // why a figure is missing
}

// Probes are the deployer's own requests to one colour.
type Probes struct {
	Sent, Failed int
	Slowest      time.Duration
	Problem      string // of the first that failed
}

// Role is what the region's arbiter says of it.
type Role string

// The roles. Between them a region is on its way from one to the other.
const (
	Active  Role = "active"
	Standby Role = "standby"
	Between Role = ""
)

// Reading is the judgement of one look.
type Reading struct {
	Verdict Verdict
	Standby bool // writes were not tested
	Reason  string
	Gates   *events.Gates
	Canary  state.Figures
	Control state.Figures
}

// Sight is everything that one look saw: the canary, and the colour with traffic as a control.
type Sight struct {
	Role                Role
	RoleProblem         string
	Canary, Control     Figures
	Probed, ControlSeen Probes
}

// Judge reads a sight. What the canary does badly while the control does well is red; what both do badly says nothing of the credential.
func Judge(s Sight, l Limits) Reading {
	r := Reading{Standby: s.Role == Standby, Verdict: Unknown}
	bad, missing := s.Canary.against(l)
	if problem := s.Probed.against(l); problem != "" {
		bad = "the canary: " + problem
	}
	switch control := s.control(l); {
	case bad != "" && control != "":
		r.Reason = bad + "; the colour with traffic as well: " + control
	case bad != "":
		r.Verdict, r.Reason = Red, bad
	case s.Role == Between:
		r.Reason = "the region is neither active nor standby: " + s.RoleProblem
	case s.Probed.Sent == 0:
		r.Reason = "no request was sent to the canary"
	case missing != "":
		r.Reason = missing
	default:
		r.Verdict = Green
	}
	r.Gates = s.Canary.gates(r)
	r.Canary, r.Control = s.Canary.kept(s.Probed), s.Control.kept(s.ControlSeen)
	return r
}

// kept are a colour's figures as the state keeps them.
func (f Figures) kept(p Probes) state.Figures {
	return state.Figures{Up: f.Up, ErrorRate: f.ErrorRate, P95: f.P95, Sent: p.Sent, Failed: p.Failed, Slowest: p.Slowest.Seconds()}
}

// control is what the colour with traffic does badly; empty when it does well or nobody knows.
func (s Sight) control(l Limits) string {
	if problem := s.ControlSeen.against(l); problem != "" {
		return problem
	}
	bad, _ := s.Control.against(l)
	return bad
}

func (p Probes) against(l Limits) string {
	switch {
	case p.Failed > 0:
		return fmt.Sprintf("%d of %d requests failed: %s", p.Failed, p.Sent, p.Problem)
	case p.Slowest >= l.P95:
		return fmt.Sprintf("a request took %s, want less than %s", p.Slowest.Round(time.Millisecond), l.P95)
	}
	return ""
}

func (f Figures) against(l Limits) (bad, missing string) {
	switch {
	case f.Up != nil && !*f.Up:
		bad = "Prometheus cannot reach it"
	case f.ErrorRate != nil && *f.ErrorRate >= l.ErrorRate:
		bad = fmt.Sprintf("error rate is %.4f, want less than %.4f", *f.ErrorRate, l.ErrorRate)
	case f.P95 != nil && *f.P95 >= l.P95.Seconds():
		bad = fmt.Sprintf("p95 is %.3f s, want less than %.3f s", *f.P95, l.P95.Seconds())
	}
	if f.Up == nil || f.ErrorRate == nil || f.P95 == nil {
		missing = "Prometheus says nothing of the canary"
		if f.Problem != "" {
			missing += ": " + f.Problem
		}
	}
	return bad, missing
}

// gates is the reading as events carry it. The canary has no replication of its own, so a green one is not told in these words.
func (f Figures) gates(r Reading) *events.Gates {
	if r.Verdict == Green {
		return nil
	}
	g := &events.Gates{Healthy: events.OutcomeFailed, Reason: clip(r.Reason), P95Seconds: f.P95, ErrorRate: f.ErrorRate, OdooUp: f.Up}
	if r.Verdict == Unknown {
		g.Healthy = events.OutcomeUnknown
	}
	return g
}
