// Package failover decides who shall be active: what calls for a failover, which rule holds one back, how a started one goes on step by step, and what becomes of
// an operator's request (protocol.md, failover.md). It is a value with one pure function, Decide: what was heard, read and found out and the time go in, the next
// state and what has to be done come out. It does no I/O and keeps no clock.
package failover

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Instant is one moment on this machine's two clocks. Waiting is counted on Boot, which goes on while the machine is suspended; what is written down is Wall.
type Instant struct {
	Boot time.Duration `json:"boot"` // CLOCK_BOOTTIME
	Wall time.Time     `json:"wall"`
}

// apart is how far the two clocks have moved apart between two moments.
func apart(a, b Instant) time.Duration {
	return (b.Wall.Sub(a.Wall) - (b.Boot - a.Boot)).Abs()
}

// Settings are what stays the same while a process lives. In brackets the symbols of protocol.md.
type Settings struct {
	Region    events.Region   // of this arbiter
	Observers []events.Region // those whose majority counts
	// Data are the regions that can be active; nil: a and b. State, events and stack know these two, and only the simulation has more.
	Data []events.Region
	// Priority orders those that could take over: the highest comes first, 0 is never promoted, who is not named has 1. Of equals, the one that would lose least.
	Priority map[events.Region]int
	Shared   state.Config // what must stand in etcd

	Validity time.Duration // of a mandate [M]
	Delta    time.Duration // margin between two clocks
	Renew    time.Duration // between two renewals [r]
	Deadline time.Duration // of one renewal [q]

	Every    time.Duration // between two observations of one observer [p]
	Failures int           // failures in a row [N]
	Window   time.Duration // how old an observation may be [W]

	Restart  time.Duration // what a restart of PostgreSQL may take
	Fresh    time.Duration // how old a region's report may be
	GatesRed time.Duration // how long the active region's gates must be red
	MaxLoss  time.Duration // the largest loss that is taken without asking
	Cooldown time.Duration // the least time between two failovers

	HandOver  time.Duration // what the fence of a switchover may take
	PromoteIn time.Duration // what a promotion may take
	SwitchIn  time.Duration // after how long a name that did not follow, or an owner that did not renew, is an alarm
	Names     bool          // a DNS name has to follow

	SyncPatience time.Duration // how long commits wait for a standby that is away before synchronous replication is given up
	SyncStrict   bool          // it is not given up, neither then nor by a failover: writes wait until a standby is back
}

// priority is how much a region is wanted as the next active one.
func (s Settings) priority(region events.Region) int {
	if p, named := s.Priority[region]; named {
		return p
	}
	return 1
}

// majority is the number of observers that must agree.
func (s Settings) majority() int { return len(s.Observers)/2 + 1 }

// Observation is what Decide is told: Heard, Positioned, Read, Led, Deposed or Named.
type Observation interface{ observation() }

// Heard is what an observer has published of a region's health.
type Heard struct{ Report events.HealthObserved }

// Positioned is what an observer has published of a database's positions. It is kept as evidence; decisions rest on the regions' own reports.
type Positioned struct{ Report events.ReplicationObserved }

// Read is a linearizable read of everything that decisions rest on, in one transaction. Only a Read leads to an action that writes.
type Read struct {
	Failover *state.Failover // nil: the key does not exist
	Mandate  *state.Mandate
	Config   *state.Config
	Active   string // as it stands under /ofitec/active
	Reports  map[events.Region]Reported
	Requests []Requested  // oldest first, answered ones included
	Known    events.Epoch // the highest that this region has seen anywhere

	FailoverRevision, MandateRevision int64 // mod revisions, 0 where there is no key
}

// Reported is a region's report and its mod revision.
type Reported struct {
	Report   state.Report
	Revision int64
}

// Requested is a manual request, its id and its mod revision.
type Requested struct {
	ID       string
	Request  state.Request
	Revision int64
}

// Led is a won election, Deposed its end.
type Led struct{ Term int64 }

// Deposed is the end of this arbiter's leadership.
type Deposed struct{}

// Named is what the authoritative DNS server answers, after it was told what this state wants. Problem is empty when the two agree.
type Named struct {
	Epoch    events.Epoch `json:"epoch"` // of the state that was worked towards
	Name     string       `json:"name"`
	Address  string       `json:"address"`
	TTL      int          `json:"ttl_seconds"`
	Provider string       `json:"provider"`
	Problem  string       `json:"problem,omitempty"`
}

func (Heard) observation()      {}
func (Positioned) observation() {}
func (Read) observation()       {}
func (Led) observation()        {}
func (Deposed) observation()    {}
func (Named) observation()      {}

// Action is what has to be done: Swap, Reply or Ignored. At most one Swap or Reply comes of a Read, and whatever its outcome, the next Read tells it.
type Action interface{ action() }

// Swap is one transaction: it replaces the state that was read, together with everything else here or not at all.
type Swap struct {
	Term     int64 // the leader's; the transaction compares it
	Next     state.Failover
	Over     int64         // mod revision of the state that is replaced
	Mandate  int64         // mod revision that the mandate must have; 0: any
	Active   events.Region // what /ofitec/active shall say; empty: it is left alone
	Announce []Announcement
	Reply    *Reply
	Why      string // for the log
}

// Announcement is an event that goes out with a Swap. Cause is the message id of the event that everything of this failover follows from; empty: this one is a
// first cause.
type Announcement struct {
	Payload events.Payload
	Cause   string
}

// Reply answers a request.
type Reply struct {
	Term     int64
	ID       string
	Revision int64
	Request  state.Request // with its answer
}

// Ignored is an observation that counts for nothing.
type Ignored struct {
	Observer events.Region
	Reason   Reason
}

// Reason is why an observation counts for nothing.
type Reason string

// The reasons. ReasonMalformed is the bus adapter's.
const (
	ReasonMalformed Reason = "malformed"
	ReasonStranger  Reason = "stranger" // no configured observer, or of no known region
	ReasonStale     Reason = "stale"
	ReasonFuture    Reason = "future"
	ReasonReplayed  Reason = "replayed" // its number, or its process, was passed already
)

// Reasons lists all reasons.
var Reasons = []Reason{ReasonMalformed, ReasonStranger, ReasonStale, ReasonFuture, ReasonReplayed}

func (Swap) action()    {}
func (Reply) action()   {}
func (Ignored) action() {}

// The rules that hold a failover back; they are codes of failover.held.
const (
	RuleBlind        = "blind"           // no majority of observers is fresh
	RulePaused       = "paused"          // an operator wants nothing decided
	RulePriority     = "priority"        // the target is never promoted
	RuleForeignWrite = "foreign-write"   // /ofitec/active is not what this state says
	RuleRejoin       = "rejoin"          // the target has lost the mandate and is no standby yet
	RuleCooldown     = "cooldown"        // the last failover is not long ago
	RuleSilent       = "target-silent"   // the target's arbiter does not report
	RuleDatabase     = "target-database" // the target's database is no standby
	RuleSameCause    = "same-cause"      // the target has what the active region has
	RuleGates        = "gates"           // the target's gates are red
	RuleGatesUnknown = "gates-unknown"   // nobody can say whether they are
	RuleLossUnknown  = "loss-unknown"    // nobody can say what would be lost
	RuleLag          = "lag"             // too much would be lost
	RuleName         = "dns"             // the name does not follow
	RuleOwner        = "owner-silent"    // the new owner does not renew
	RuleSynchronous  = "synchronous"     // the target is not the standby that commits wait for
)

// The rules that start one; they are codes of failover.started.
const (
	FiredMajority = "observer-majority"
	FiredGates    = "gates-red"
	FiredMandate  = "mandate-ended"
	FiredAsked    = "asked"
)
