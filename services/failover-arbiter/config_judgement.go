package main

import (
	"strconv"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// judgementProblems are those of deciding.
func (c *Config) judgementProblems() []error {
	var problems []error
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if profile, err := timing.Named(c.Timing); err == nil && c.Cooldown != 0 {
		if least := 10 * timing.WorstOutage(profile).Longest(); c.Cooldown < least {
			bad("OFITEC_COOLDOWN", c.Cooldown.String(), "0, or at least "+least.String()+", ten times the worst outage (rule R9)")
		}
	}
	if c.GatesRed < time.Second || c.GatesRed > time.Hour {
		bad("OFITEC_GATES_RED_FOR", c.GatesRed.String(), "1s to 1h")
	}
	if profile, err := timing.Named(c.Timing); err == nil && c.MaxLoss > 0 && c.MaxLoss < profile.Mandate+profile.Delta {
		bad("OFITEC_MAX_LOSS", c.MaxLoss.String(), "at least "+(profile.Mandate+profile.Delta).String()+", M + delta: a holder that is cut off may commit for as long after its last renewal")
	}
	if c.MaxLoss <= 0 || c.MaxLoss > 24*time.Hour {
		bad("OFITEC_MAX_LOSS", c.MaxLoss.String(), "more than 0 and at most 24h")
	}
	for variable, priority := range map[string]int{"OFITEC_REGION_A_PRIORITY": c.PriorityA, "OFITEC_REGION_B_PRIORITY": c.PriorityB} {
		if priority < 0 || priority > 100 {
			bad(variable, strconv.Itoa(priority), "0 to 100")
		}
	}
	return problems
}

// judging is what package failover works with.
func (c *Config) judging(p timing.Profile) failover.Settings {
	cooldown := c.Cooldown
	if cooldown == 0 {
		cooldown = p.Cooldown
	}
	return failover.Settings{
		Region: events.Region(c.Region), Observers: events.Regions, Priority: map[events.Region]int{events.RegionA: c.PriorityA, events.RegionB: c.PriorityB},
		Shared:   p.Shared(),
		Validity: p.Mandate, Delta: p.Delta, Renew: p.Renew, Deadline: p.RenewDeadline,
		Every: p.ProbeEvery, Failures: p.ProbeFailures, Window: p.ProbeWindow,
		// A report comes every r and takes up to q; one may be lost.
		Restart: p.PostgresRestart, Fresh: 2*p.Renew + 2*p.RenewDeadline + p.SeenLatency, GatesRed: c.GatesRed, MaxLoss: c.MaxLoss, Cooldown: cooldown,
		// The formulas of the outage count X and Y once; a starved machine gets more before a step is given up or an alarm is raised.
		HandOver: p.Mandate + 5*p.Promote, PromoteIn: 5 * p.Promote, SwitchIn: 5*p.DNSUpdate + 2*p.Mandate, Names: c.DNS.Server != "",
		SyncPatience: c.Sync.Patience, SyncStrict: c.Sync.Away == "strict",
	}
}
