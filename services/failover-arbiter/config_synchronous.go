package main

import (
	"time"

	"github.com/ofitec/ofitec/chassis/config"
)

// Synchronous is whom commits wait for. Whether they wait for the standby at all is a switch in etcd (ofitec failover synchronous), not a setting.
type Synchronous struct {
	Away     string        `env:"OFITEC_SYNCHRONOUS_AWAY" yaml:"away" doc:"what becomes of writes in synchronous mode when the standby is away, or has just become the primary: degrade (they go on without it, and that is said) or strict (they wait until a standby is back, or the mode is switched off); the same in all regions"`
	Patience time.Duration `env:"OFITEC_SYNCHRONOUS_PATIENCE" yaml:"patience" doc:"how long writes wait for a standby that is away before they go on without it"`
	Witness  bool          `env:"OFITEC_COMMIT_WITNESS" yaml:"witness" doc:"no commit is acknowledged that this arbiter has not confirmed under the mandate; the same in both regions with data"`
}

func newSynchronous() Synchronous { return Synchronous{Away: "degrade", Patience: 5 * time.Second} }

func (s Synchronous) problems(holdsData bool) []error {
	var problems []error
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if s.Away != "degrade" && s.Away != "strict" {
		bad("OFITEC_SYNCHRONOUS_AWAY", s.Away, "degrade or strict")
	}
	if s.Patience < time.Second || s.Patience > time.Hour {
		bad("OFITEC_SYNCHRONOUS_PATIENCE", s.Patience.String(), "1s to 1h")
	}
	if s.Witness && !holdsData {
		bad("OFITEC_COMMIT_WITNESS", "true", "false in a region without data")
	}
	return problems
}
