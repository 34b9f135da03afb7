package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

func TestAReadingIsGreenOnlyWhenEverythingIsKnownAndGood(t *testing.T) {
	good := func() Sight {
		up, rate, quick := true, 0.0, 0.2
		f := Figures{Up: &up, ErrorRate: &rate, P95: &quick}
		probes := Probes{Sent: 6, Slowest: time.Millisecond}
		return Sight{Role: Active, Canary: f, Control: f, Probed: probes, ControlSeen: probes}
	}
	value := func(v float64) *float64 { return &v }
	no := false
	for _, c := range []struct {
		name   string
		change func(s *Sight)
		want   Verdict
		reason string
	}{
		{"all is well", func(*Sight) {}, Green, ""},
		{"in the standby region", func(s *Sight) { s.Role = Standby }, Green, ""},
		{"the colour with traffic alone does badly", func(s *Sight) { s.Control.P95 = value(9); s.ControlSeen.Failed = 6 }, Green, ""},
		{"nothing is known of the control", func(s *Sight) { s.Control = Figures{} }, Green, ""},
		{"errors", func(s *Sight) { s.Canary.ErrorRate = value(0.01) }, Red, "error rate is 0.0100, want less than 0.0100"},
		{"slow", func(s *Sight) { s.Canary.P95 = value(1.2) }, Red, "p95 is 1.200 s"},
		{"not reached by Prometheus", func(s *Sight) { s.Canary.Up = &no }, Red, "cannot reach"},
		{"a request fails", func(s *Sight) { s.Probed.Failed, s.Probed.Problem = 1, "GET / answers 500" }, Red, "1 of 6 requests failed: GET / answers 500"},
		{"a request is slow", func(s *Sight) { s.Probed.Slowest = 2 * time.Second }, Red, "took 2s"},
		{"bad, and nothing else is known", func(s *Sight) { s.Canary = Figures{}; s.Probed.Failed = 6 }, Red, "requests failed"},
		{"both are slow", func(s *Sight) { s.Canary.P95, s.Control.P95 = value(3), value(4) }, Unknown, "as well: p95 is 4.000 s"},
		{"requests fail on both", func(s *Sight) { s.Probed.Failed, s.ControlSeen.Failed = 6, 6 }, Unknown, "as well"},
		{"no data", func(s *Sight) { s.Canary.ErrorRate, s.Canary.Problem = nil, "error rate: no data" }, Unknown, "error rate: no data"},
		{"no request was sent", func(s *Sight) { s.Probed = Probes{} }, Unknown, "no request"},
		{"no role", func(s *Sight) { s.Role, s.RoleProblem = Between, "/mandate answers 503" }, Unknown, "neither active nor standby: /mandate answers 503"},
	} {
		s := good()
		c.change(&s)
		r := Judge(s, policy().Limits)
		if r.Verdict != c.want || !strings.Contains(r.Reason, c.reason) || r.Standby != (s.Role == Standby) || (r.Gates == nil) != (r.Verdict == Green) {
			t.Errorf("%s: %+v", c.name, r)
		}
		if r.Gates != nil {
			payload := events.CredentialRolledBack{
				Rollout: events.Rollout{Credential: events.Credential{Name: "odoo-app", Kind: "database", Version: 2, Path: "p", Fingerprint: strings.Repeat("ab", 32)},
					Region: "a", Colour: "green", Started: noon, Ended: noon}, Step: "gate", Reason: "r", Gates: r.Gates,
			}
			if err := payload.Validate(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}
