// Package rotation decides what becomes of a credential: when a version is made, tested, staged, put to use, renewed, drained and ended. It is pure:
// what it knows is the state in etcd and an observation, what it wants are the next state and actions, whose outcomes come back with the next observation.
package rotation

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Policy is how a credential is treated. All fields are required but Regions and Order.
type Policy struct {
	Name     string
	Kind     events.CredentialKind
	Path     string          // KV v2 path below the mount
	Regions  []events.Region // whose deployers must answer before an old version is ended; none: whoever reads KV v2 has it at once
	Order    []events.Region // in which they are asked; none: the region that writes is the last
	RenewAt  float64         // fraction of the ttl at which a lease is renewed, +- 0.05
	RotateAt float64         // fraction of max_ttl at which a version is replaced, +- 0.05
	Grace    time.Duration   // between the switch and the end of the old version
	Patience time.Duration   // how long a region that says nothing keeps an old version alive
	Attempt  time.Duration   // what one rollout takes, gate and all
	Again    time.Duration   // after a version that did not pass
}

// Observation is what was looked up before a decision.
type Observation struct {
	Active  events.Region   // who may write; empty when nobody or unknown
	Away    []events.Region // whose arbiter has stopped to report: not waited for
	Epoch   events.Epoch    // of the mandate in force
	Held    int64           // the version whose secret this process has in memory; 0 for none
	Stored  int64           // current version at Path in KV v2; -1 when it is not known
	Wish    *Wish           // somebody asked for a rotation
	Results []Result        // what deployers have said, oldest first
	Outcome Outcome         // of the last action; nil when there is none
	Unmade  string          // why the last attempt to make a version failed, in words that may go into an event; empty when it did not
}

// Wish is a rotation that somebody asked for.
type Wish struct {
	Act                    events.Act
	Correlation, Causation string
}

// Result is a deployer's word on a version.
type Result struct {
	Region                 events.Region
	Version                int64
	Deployed               bool
	Reason                 string
	Correlation, Causation string
}

// Outcome is what became of an action.
type Outcome interface{ outcome() }

// Minted says: Vault has made a user. It is known here before it is known anywhere else.
type Minted struct {
	Number      int64
	Lease, User string
	Fingerprint string
	TTL, MaxTTL time.Duration
	At          time.Time // when it was asked for
}

// Tested says: the new user has logged in and done what it is for; or Problem says what it cannot.
type Tested struct {
	Number  int64
	Problem string
}

// Staged says: KV v2 has the version; or the number was Taken there by another writer.
type Staged struct {
	Number int64
	Taken  bool
}

// Found says: whether KV v2 holds the version that an earlier leader had made.
type Found struct {
	Number int64
	Staged bool
}

// Applied says: the version is in force at the server that it is for; or Problem says why it cannot be.
type Applied struct {
	Number  int64
	Problem string
}

// Renewed says: Vault has prolonged the lease by TTL from At. Gone: there is no such lease.
type Renewed struct {
	Number int64
	TTL    time.Duration
	At     time.Time
	Gone   bool
}

// Shortened says: Vault ends the lease by itself at TTL from At. Gone: it has.
type Shortened struct {
	Number int64
	TTL    time.Duration
	At     time.Time
	Gone   bool
}

// Verified says: whether the user in use is still one after a failover to Epoch; Problem says what it cannot.
type Verified struct {
	Number  int64
	Epoch   events.Epoch
	Problem string
}

// Ended says: the user cannot log in, has no session and is no more.
type Ended struct {
	Number           int64
	Sessions, Orphan int
	Drained          bool // zero sessions were read in the database
}

func (Minted) outcome()    {}
func (Tested) outcome()    {}
func (Staged) outcome()    {}
func (Found) outcome()     {}
func (Applied) outcome()   {}
func (Renewed) outcome()   {}
func (Shortened) outcome() {}
func (Verified) outcome()  {}
func (Ended) outcome()     {}

// Action is what is to be done after the next state is stored.
type Action interface{ action() }

// What a leader may be asked to do.
type (
	// Mint makes a user for a version.
	Mint struct{ Number int64 }
	// Test logs in with it.
	Test struct{ Number int64 }
	// Stage puts it into KV v2 as exactly this version.
	Stage struct{ Number int64 }
	// Look asks KV v2 for a version whose secret this process does not have.
	Look struct {
		Number int64
		User   string
	}
	// Burn uses up a version's number in KV v2 without a secret.
	Burn struct{ Number int64 }
	// Apply puts a staged version into force: the engine's own login is changed where it is checked, not where it is used.
	Apply struct {
		Number int64
	}
	// Renew asks for TTL more.
	Renew struct {
		Number int64
		Lease  string
		TTL    time.Duration
	}
	// Verify logs in with what is in use: a failover may have lost a user that was just made.
	Verify struct {
		Number int64
		Epoch  events.Epoch
	}
	// Shorten is the dead man's half of the drain: Vault ends the user at TTL from now, whether or not anybody is there to End it.
	Shorten struct {
		Number int64
		Lease  string
		TTL    time.Duration
	}
	// End fences the user, ends its sessions, proves zero, revokes the lease and sweeps.
	End struct {
		Number      int64
		Lease, User string
	}
)

// Announce is stored with the next state, in one transaction, and published from there.
type Announce struct {
	Payload                events.Payload
	Correlation, Causation string // empty for a first cause
}

func (Mint) action()     {}
func (Test) action()     {}
func (Stage) action()    {}
func (Look) action()     {}
func (Burn) action()     {}
func (Apply) action()    {}
func (Renew) action()    {}
func (Verify) action()   {}
func (Shorten) action()  {}
func (End) action()      {}
func (Announce) action() {}

// inFlight says that a version is between its birth and the deployers' verdict.
func inFlight(v state.CredentialVersion) bool {
	switch v.Stage {
	case state.StageMinted, state.StageTested, state.StageStaged, state.StageCanary:
		return true
	}
	return false
}

// writes says that making a version changes the database, so that there must be a region that takes writes.
func (p Policy) writes() bool {
	return p.Kind == events.CredentialDatabase || p.Kind == events.CredentialRoot
}

// doomed says that a version is on its way out.
func doomed(v state.CredentialVersion) bool {
	return v.Stage == state.StageRejected || v.Stage == state.StageRolledBack || v.Stage == state.StageDraining
}
