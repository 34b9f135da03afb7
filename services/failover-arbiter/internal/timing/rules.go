package timing

import (
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// BrokenError is a rule that a profile breaks.
type BrokenError struct {
	Rule   string // R1 to R10
	Claim  string // the rule as protocol.md has it
	Left   string // its left side, with the numbers
	Right  string
	Remedy string // what would be right
}

func (b *BrokenError) Error() string {
	return fmt.Sprintf("timing rule %s (%s) is broken: %s against %s; %s", b.Rule, b.Claim, b.Left, b.Right, b.Remedy)
}

// Check reports every rule from R1 to R9 that the profile breaks, each as a *BrokenError, joined; nil when none is. R10 needs the other regions: see CheckShared.
func Check(p Profile) error {
	var c checker
	c.deadlines(p)
	c.mandate(p)
	c.probes(p)
	c.etcd(p)
	return errors.Join(c.broken...)
}

// CheckShared is R10: what stands in etcd must be this profile's own. The error is a *BrokenError.
func CheckShared(p Profile, shared state.Config) error {
	if own := p.Shared(); own != shared {
		return &BrokenError{
			Rule: "R10", Claim: "M, delta and drift are equal in all regions",
			Left:   fmt.Sprintf("here M %gs, delta %gs, drift %g", own.Mandate, own.Delta, own.Drift),
			Right:  fmt.Sprintf("in etcd M %gs, delta %gs, drift %g", shared.Mandate, shared.Delta, shared.Drift),
			Remedy: "give all regions the same OFITEC_TIMING",
		}
	}
	return nil
}

type checker struct{ broken []error }

// side is a sum in the words of the protocol and in numbers.
type side struct {
	words string
	value time.Duration
}

func (s side) String() string { return fmt.Sprintf("%s = %s", s.words, s.value) }

// atLeast asks for big >= small.
func (c *checker) atLeast(rule, claim string, big, small side) {
	if big.value < small.value {
		c.broken = append(c.broken, &BrokenError{
			Rule: rule, Claim: claim, Left: big.String(), Right: small.String(),
			Remedy: fmt.Sprintf("%s must be at least %s", big.words, small.value),
		})
	}
}

func (c *checker) mandate(p Profile) {
	c.atLeast("R1", "r + q + E + F <= M", side{"M", p.Mandate}, side{"r + q + E + F", p.Renew + p.RenewDeadline + p.EtcdGap + p.Fence})
	c.atLeast("R2", "F >= D + C + K", side{"F", p.Fence}, side{"D + C + K", p.Detection() + p.ClientCheck + p.Kill})
	drifted := time.Duration(p.Drift * float64(p.Mandate))
	c.atLeast("R3", "delta >= drift M + P", side{"delta", p.Delta}, side{"drift M + P", drifted + p.Pause})
	c.atLeast("R4", "s >= 1.5 ET", side{"s", p.LeaderTTL}, side{"1.5 ET", p.EtcdElection * 3 / 2})
	c.atLeast("R4", "E + s + 0.5 <= M + delta", side{"M + delta", p.Mandate + p.Delta}, side{"E + s + 0.5", p.reelect()})
}

func (c *checker) probes(p Profile) {
	if p.ProbeTimeout >= p.ProbeEvery {
		c.broken = append(c.broken, &BrokenError{
			Rule: "R5", Claim: "t < p", Left: side{"t", p.ProbeTimeout}.String(), Right: side{"p", p.ProbeEvery}.String(),
			Remedy: fmt.Sprintf("t must be less than %s", p.ProbeEvery),
		})
	}
	c.atLeast("R5", "W >= 2p + t + bus", side{"W", p.ProbeWindow}, side{"2p + t + bus", 2*p.ProbeEvery + p.ProbeTimeout + p.Bus})
	c.atLeast("R6", "Td <= M + delta", side{"M + delta", p.Mandate + p.Delta}, side{"Td", p.Detect()})
}

func (c *checker) etcd(p Profile) {
	slowest := max(p.RoundTrip, p.EtcdHeartbeat)
	c.atLeast("R7", "ET >= 10 max(RTT, heartbeat)", side{"ET", p.EtcdElection}, side{"10 max(RTT, heartbeat)", 10 * slowest})
	c.atLeast("R8", "E >= 2.5 ET", side{"E", p.EtcdGap}, side{"2.5 ET", p.EtcdElection * 5 / 2})
}

// deadlines is R9: a step without a deadline may hang for ever, and a failover must not follow another one before its effects can be seen.
func (c *checker) deadlines(p Profile) {
	for _, step := range []side{
		{"r", p.Renew}, {"q", p.RenewDeadline}, {"inter", p.CheckInter}, {"connect", p.CheckConnect}, {"check timeout", p.CheckTimeout},
		{"C", p.ClientCheck}, {"K", p.Kill}, {"F", p.Fence}, {"M", p.Mandate}, {"delta", p.Delta}, {"s", p.LeaderTTL}, {"E", p.EtcdGap}, {"ET", p.EtcdElection},
		{"p", p.ProbeEvery}, {"t", p.ProbeTimeout}, {"W", p.ProbeWindow}, {"g", p.Tick}, {"X", p.Promote}, {"O", p.Reconnect}, {"Y", p.DNSUpdate},
		{"authentication_timeout", p.AuthenticationTimeout}, {"restart of PostgreSQL", p.PostgresRestart},
	} {
		if step.value <= 0 || step.value > time.Hour {
			c.broken = append(c.broken, &BrokenError{
				Rule: "R9", Claim: "every step's deadline is finite", Left: step.String(), Right: "0 to 1 hour",
				Remedy: step.words + " must be more than 0 and at most 1h",
			})
		}
	}
	if p.CheckFall < 1 || p.ProbeFailures < 1 {
		c.broken = append(c.broken, &BrokenError{
			Rule: "R9", Claim: "every step's deadline is finite", Left: fmt.Sprintf("fall = %d", p.CheckFall), Right: fmt.Sprintf("N = %d", p.ProbeFailures),
			Remedy: "both must be 1 or more",
		})
	}
	c.atLeast("R9", "cooldown >= 10 x the worst outage", side{"cooldown", p.Cooldown}, side{"10 x the worst outage", 10 * WorstOutage(p).Longest()})
}

// reelect is how long the arbiters may be without a leader.
func (p Profile) reelect() time.Duration { return p.EtcdGap + p.LeaderTTL + 500*time.Millisecond }
