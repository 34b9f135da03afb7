package timing

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestBothProfilesKeepAllRules(t *testing.T) {
	for _, name := range []string{"local", "wan"} {
		p, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Named("lunar"); err == nil || !strings.Contains(err.Error(), "lunar") {
		t.Errorf("an unknown profile gives %v", err)
	}
}

func TestARenewalThatASilentMemberCostsEndsNoMandate(t *testing.T) {
	for _, p := range []Profile{Local(), WAN()} {
		if worst := 2*p.Renew + p.RenewDeadline + p.Fence; worst > p.Mandate {
			t.Errorf("%s: 2r + q + F = %s, but M = %s", p.Name, worst, p.Mandate)
		}
		if p.Patience() > p.Renew/5 || p.RenewDeadline-p.Patience() < 2*p.RoundTrip {
			t.Errorf("%s: a silent member is waited for %s of r = %s and q = %s", p.Name, p.Patience(), p.Renew, p.RenewDeadline)
		}
	}
}

func TestTheWorstOutagesAreThoseOfTheProtocol(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s*1000) * time.Millisecond }
	local, wan := WorstOutage(Local()), WorstOutage(WAN())
	for _, c := range []struct {
		what      string
		got, want time.Duration
	}{
		{"local, region dead", local.DeadByDNS, seconds(9.3)},
		{"local, still renewing", local.RenewingByDNS, seconds(11.3)},
		{"wan, region dead, by proxy", wan.DeadByProxy, seconds(17.7)},
		{"wan, region dead, by DNS", wan.DeadByDNS, seconds(47.7)},
		{"wan, still renewing, by proxy", wan.RenewingByProxy, seconds(25)},
		{"wan, still renewing, by DNS", wan.RenewingByDNS, seconds(55)},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestEachBrokenRuleIsNamedWithBothSides(t *testing.T) {
	for _, c := range []struct {
		rule, left, right string
		change            func(*Profile)
	}{
		{"R1", "M = 4.5s", "r + q + E + F = 4.9s", func(p *Profile) { p.Mandate = 4500 * time.Millisecond; p.Delta = time.Second }},
		{"R2", "F = 1.4s", "D + C + K = 1.5s", func(p *Profile) { p.Fence = 1400 * time.Millisecond }},
		{"R3", "delta = 400ms", "drift M + P = 455ms", func(p *Profile) { p.Delta = 400 * time.Millisecond }},
		{"R4", "s = 1s", "1.5 ET = 1.5s", func(p *Profile) { p.LeaderTTL = time.Second }},
		{"R4", "M + delta = 5.5s", "E + s + 0.5 = 6s", func(p *Profile) { p.LeaderTTL = 3 * time.Second }},
		{"R5", "t = 500ms", "p = 500ms", func(p *Profile) { p.ProbeTimeout = p.ProbeEvery; p.ProbeWindow = 2 * time.Second }},
		{"R5", "W = 1s", "2p + t + bus = 1.5s", func(p *Profile) { p.ProbeWindow = time.Second }},
		{"R6", "M + delta = 5.5s", "Td = 5.5", func(p *Profile) {
			p.ProbeFailures = 10
			p.Bus = 110 * time.Millisecond
			p.ProbeWindow = 2 * time.Second
			p.Cooldown = time.Hour
		}},
		{"R7", "ET = 1s", "10 max(RTT, heartbeat) = 1.5s", func(p *Profile) { p.RoundTrip = 150 * time.Millisecond }},
		{"R8", "E = 2s", "2.5 ET = 2.5s", func(p *Profile) { p.EtcdGap = 2 * time.Second }},
		{"R9", "X = 0s", "0 to 1 hour", func(p *Profile) { p.Promote = 0 }},
		{"R9", "cooldown = 1m0s", "10 x the worst outage = 1m53s", func(p *Profile) { p.Cooldown = time.Minute }},
	} {
		t.Run(c.rule+" "+c.left, func(t *testing.T) {
			p := Local()
			c.change(&p)
			err := Check(p)
			var broken *BrokenError
			if !errors.As(err, &broken) {
				t.Fatalf("got %v, want a broken rule", err)
			}
			if broken.Rule != c.rule || broken.Left != c.left || !strings.HasPrefix(broken.Right, c.right) || broken.Remedy == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAllBrokenRulesAreReportedAtOnce(t *testing.T) {
	p := Local()
	p.Fence, p.Delta, p.EtcdGap = time.Second, 0, time.Second
	err := Check(p)
	for _, rule := range []string{"R2", "R3", "R8", "R9"} {
		if err == nil || !strings.Contains(err.Error(), "rule "+rule+" ") {
			t.Errorf("no %s in %v", rule, err)
		}
	}
}

func TestRegionsThatDisagreeOnTheMandateAreRefused(t *testing.T) {
	if err := CheckShared(Local(), Local().Shared()); err != nil {
		t.Error(err)
	}
	err := CheckShared(Local(), WAN().Shared())
	if err == nil || !strings.Contains(err.Error(), "R10") || !strings.Contains(err.Error(), "M 9s") {
		t.Errorf("got %v", err)
	}
}
