// Package rollout decides how one version of a credential reaches a region's Odoo: the colour without traffic gets it and is started, watched and given the traffic,
// or is put back. It is pure: what it knows is the state in etcd and an observation, what it wants are the next state and actions, whose outcomes come back with
// the next observation. What the proxy says outranks what was planned, so that a successor goes on from what is.
package rollout

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Policy is how a region rolls out. All fields but OneFile are required.
type Policy struct {
	Region       events.Region
	StartWithin  time.Duration // from the start of the canary until it answers with a login
	Delay        time.Duration // from its first answer to the first reading; what Prometheus shows before is of the time before
	Interval     time.Duration // between two readings
	Window       time.Duration // how long it is watched before it gets traffic
	Steps        []int         // percent of the traffic that it gets one after the other, the last 100; with several it is watched after each as well
	StepWindow   time.Duration // how long it is watched after each of several steps
	OneFile      bool          // both colours read one environment file: a first version that is rolled back is taken out of it before another one comes
	Failures     int           // red readings that roll back
	Inconclusive int           // readings without an answer that roll back
	DrainWithin  time.Duration // how long requests on the old colour may take after the switch
	Tries        int           // of a start, a switch, and a settling
	Limits       Limits
}

// Observation is what was looked up before a decision.
type Observation struct {
	Traffic
	Forgotten bool      // nothing on this machine remembers a switch: the region's folders are new
	Wish      *Wish     // a version to be rolled out
	Looked    time.Time // when this process took its last reading of this version; zero for never
	Outcome   Outcome   // of the last action; nil when there is none
	Taken     bool      // another credential is rolled out on the two colours, or still to be taken out of their one file: a version of this one waits
	Levelled  time.Time // when the rollout of another one had last brought both colours to the same files; zero for never
}

// Traffic is where the requests go, as the proxy says. Hot is the colour that has them, or has most and would have all after a restart of the proxy; empty when the proxy
// says nothing. Share is the other colour's, in percent, and Open are the requests that the other one works on; negative when the proxy does not count them.
type Traffic struct {
	Hot         state.Colour
	Share, Open int
}

// Of is a colour's share in percent.
func (t Traffic) Of(c state.Colour) int {
	switch t.Hot {
	case "":
		return 0
	case c:
		return 100 - t.Share
	}
	return t.Share
}

// Wish is a version that the rotator has published.
type Wish struct {
	Credential  events.Credential
	Previous    int64
	Cause       string // message id of the event
	Correlation string
}

// Outcome is what became of an action.
type Outcome interface{ outcome() }

// Rendered: the canary's environment file has the version.
type Rendered struct{ Number int64 }

// Refused: the version cannot be rendered, or could not be judged, and trying again is of no use. Nothing was touched. Step is as in credential.rolledback.
type Refused struct {
	Number       int64
	Step, Reason string
}

// Started: the canary's process was started after its file was written.
type Started struct{ Number int64 }

// Answered is what the canary says of itself. Alive: it answers at all. Ready: it has logged in. Standby: the region's database takes no writes.
type Answered struct {
	Number                int64
	Alive, Ready, Standby bool
	Reason                string
}

// Read is a reading of the gates.
type Read struct {
	Number int64
	Reading
}

// Switched: that much of the traffic goes to the canary; all of it would after a restart of the proxy as well.
type Switched struct {
	Number  int64
	Percent int
}

// Drained says how many requests the colour without traffic still works on.
type Drained struct {
	Number int64
	Open   int
}

// Settled: the colour without traffic runs on what the other one runs on.
type Settled struct{ Number int64 }

// Failed: an action did not work, for the Count-th time in a row.
type Failed struct {
	Action Action
	Count  int
	Reason string
}

func (Rendered) outcome() {}
func (Refused) outcome()  {}
func (Started) outcome()  {}
func (Answered) outcome() {}
func (Read) outcome()     {}
func (Switched) outcome() {}
func (Drained) outcome()  {}
func (Settled) outcome()  {}
func (Failed) outcome()   {}

// Action is what is to be done after the next state is stored. Each may have been done before, wholly or in part.
type Action interface{ action() }

// Render writes a version into a colour's environment file. Start starts the colour anew. Try asks it whether it has logged in. Look takes a reading over the Span
// that it has run, or has had its share. Switch gives it a share of the traffic. Drain sees to it that Hot has all of the traffic and counts what Cold still works on. Settle gives Cold what Hot runs on
// and starts it anew.
type (
	Render struct {
		Number int64
		Colour state.Colour
		Path   string
	}
	Start struct {
		Number int64
		Colour state.Colour
	}
	Try struct {
		Number int64
		Colour state.Colour
	}
	Look struct {
		Number int64
		Colour state.Colour
		Span   time.Duration
	}
	Switch struct {
		Number  int64
		To      state.Colour
		Percent int
	}
	Drain struct {
		Number    int64
		Hot, Cold state.Colour
	}
	Settle struct {
		Number    int64
		Hot, Cold state.Colour
		Version   int64 // what Hot runs on
		Path      string
	}
)

// Announce is stored with the next state, in one transaction, and published from there. Heard says that the wish is stored, or needs nothing.
type (
	Announce struct {
		Payload                events.Payload
		At                     time.Time
		Correlation, Causation string
	}
	Heard struct{}
)

func (Render) action()   {}
func (Start) action()    {}
func (Try) action()      {}
func (Look) action()     {}
func (Switch) action()   {}
func (Drain) action()    {}
func (Settle) action()   {}
func (Announce) action() {}
func (Heard) action()    {}

// Ended says that a rollout has its result.
func Ended(s state.Deployment) bool {
	return s.Phase == state.DeploymentDone || s.Phase == state.DeploymentRolledBack
}

// Other is the other colour.
func Other(c state.Colour) state.Colour {
	if c == state.Blue {
		return state.Green
	}
	return state.Blue
}
