// Package timing holds the numbers of a failover and the rules between them (protocol.md, Timing). The rules are what makes the numbers safe: a profile
// that breaks one is refused before anything runs. Everything here is pure.
package timing

import (
	"fmt"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// Profile is one column of protocol.md's table, with its symbols in the comments.
type Profile struct {
	Name string

	EtcdHeartbeat time.Duration
	EtcdElection  time.Duration // ET
	RoundTrip     time.Duration // RTT, the longest between two regions
	EtcdGap       time.Duration // E, the longest time without writes when etcd's leader changes

	Renew         time.Duration // r
	RenewDeadline time.Duration // q

	CheckInter   time.Duration // the proxy's check of /mandate
	CheckConnect time.Duration
	CheckTimeout time.Duration
	CheckFall    int

	ClientCheck time.Duration // C, client_connection_check_interval
	Kill        time.Duration // K, ending the sessions and seeing that they are gone
	Fence       time.Duration // F, how much of a mandate must be left to let anybody commit

	Mandate time.Duration // M
	Delta   time.Duration // delta, margin between two clocks
	Drift   float64       // fraction by which two clocks may run apart
	Pause   time.Duration // P, the longest time that a process does not run without noticing

	LeaderTTL time.Duration // s

	ProbeEvery    time.Duration // p
	ProbeTimeout  time.Duration // t
	ProbeFailures int           // N
	ProbeWindow   time.Duration // W
	Bus           time.Duration // an observation's way

	SeenLatency time.Duration // l, from a change in etcd to its being seen
	Tick        time.Duration // g, between two decisions

	Promote   time.Duration // X
	Reconnect time.Duration // O, a proxy opens and applications are back
	DNSUpdate time.Duration // Y
	DNSTTL    time.Duration

	AuthenticationTimeout time.Duration // PostgreSQL's; between the two counts of a receipt
	PostgresRestart       time.Duration // what a restart may take before it counts as an outage
	Cooldown              time.Duration // the least time between two failovers
}

// Local is the profile of a stack on one machine.
func Local() Profile {
	return Profile{
		Name:          "local",
		EtcdHeartbeat: 100 * time.Millisecond, EtcdElection: time.Second, RoundTrip: 10 * time.Millisecond, EtcdGap: 2500 * time.Millisecond,
		Renew: 500 * time.Millisecond, RenewDeadline: 400 * time.Millisecond,
		CheckInter: 200 * time.Millisecond, CheckConnect: 100 * time.Millisecond, CheckTimeout: 200 * time.Millisecond, CheckFall: 2,
		ClientCheck: 250 * time.Millisecond, Kill: 250 * time.Millisecond, Fence: 1500 * time.Millisecond,
		Mandate: 5 * time.Second, Delta: 500 * time.Millisecond, Drift: 0.001, Pause: 450 * time.Millisecond,
		LeaderTTL:  2 * time.Second,
		ProbeEvery: 500 * time.Millisecond, ProbeTimeout: 400 * time.Millisecond, ProbeFailures: 3, ProbeWindow: 1500 * time.Millisecond, Bus: 100 * time.Millisecond,
		SeenLatency: 100 * time.Millisecond, Tick: 200 * time.Millisecond,
		Promote: 2 * time.Second, Reconnect: 800 * time.Millisecond, DNSUpdate: 500 * time.Millisecond, DNSTTL: time.Second,
		AuthenticationTimeout: time.Second, PostgresRestart: 3 * time.Second, Cooldown: 2 * time.Minute,
	}
}

// WAN is the profile of regions up to 150 ms apart.
func WAN() Profile {
	return Profile{
		Name:          "wan",
		EtcdHeartbeat: 150 * time.Millisecond, EtcdElection: 1500 * time.Millisecond, RoundTrip: 150 * time.Millisecond, EtcdGap: 4 * time.Second,
		Renew: time.Second, RenewDeadline: 800 * time.Millisecond,
		CheckInter: 500 * time.Millisecond, CheckConnect: 200 * time.Millisecond, CheckTimeout: 300 * time.Millisecond, CheckFall: 2,
		ClientCheck: 500 * time.Millisecond, Kill: 500 * time.Millisecond, Fence: 3 * time.Second,
		Mandate: 9 * time.Second, Delta: time.Second, Drift: 0.001, Pause: 900 * time.Millisecond,
		LeaderTTL:  5 * time.Second,
		ProbeEvery: time.Second, ProbeTimeout: 800 * time.Millisecond, ProbeFailures: 6, ProbeWindow: 3500 * time.Millisecond, Bus: 500 * time.Millisecond,
		SeenLatency: 200 * time.Millisecond, Tick: 500 * time.Millisecond,
		Promote: 5 * time.Second, Reconnect: 2 * time.Second, DNSUpdate: 2 * time.Second, DNSTTL: 30 * time.Second,
		AuthenticationTimeout: time.Second, PostgresRestart: 15 * time.Second, Cooldown: 10 * time.Minute,
	}
}

// Named gives the profile of a name: local or wan.
func Named(name string) (Profile, error) {
	known := []Profile{Local(), WAN()}
	i := slices.IndexFunc(known, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, fmt.Errorf("timing %q: want local or wan", name)
	}
	return known[i], nil
}

// Detection is D: the longest time from the arbiter's last word to the cut of all sessions.
func (p Profile) Detection() time.Duration {
	return time.Duration(p.CheckFall) * (p.CheckInter + p.CheckConnect + p.CheckTimeout)
}

// Detect is Td: the longest time from a region's death to a probe's sentence.
func (p Profile) Detect() time.Duration {
	return time.Duration(p.ProbeFailures)*p.ProbeEvery + p.ProbeTimeout + p.Bus
}

// Patience is how long the own region's member of etcd is waited for alone. What is left of q is for the others; from then on all are asked at once, so that no two renewals
// in a row have less than q.
func (p Profile) Patience() time.Duration { return p.RenewDeadline / 4 }

// Shared is the part that all regions must agree on; it stands in etcd.
func (p Profile) Shared() state.Config {
	return state.Config{Mandate: p.Mandate.Seconds(), Delta: p.Delta.Seconds(), Drift: p.Drift}
}
