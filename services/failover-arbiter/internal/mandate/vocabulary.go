// Package mandate decides about the right to commit: who may renew it, until when its holder may let anybody commit, and from when on it has ended for
// everyone (protocol.md, Mandate). It is a value with one pure function, Decide: what was observed and the time go in, the next state and what has to be
// done come out. It does no I/O and keeps no clock.
package mandate

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Settings are what stays the same while a process lives.
type Settings struct {
	Region      events.Region
	Incarnation Incarnation
	First       events.Region // takes the first mandate of all; empty: no region does

	Validity time.Duration // M
	Delta    time.Duration
	Fence    time.Duration // F: with less left nobody may commit
	Renew    time.Duration // r
	Look     time.Duration // between two reads while a failover is under way; 0: r
	Shared   state.Config  // what must stand in etcd
}

// Incarnation names a process: the data folder that it alone holds open, and itself.
type Incarnation struct{ Folder, Process string }

// String is how the incarnation stands in the mandate.
func (i Incarnation) String() string { return i.Folder + "." + i.Process }

// Observation is what Decide is told: Seen, Renewed, Failed, Learned, Ticked or Stopped.
type Observation interface{ observation() }

// Seen is a linearizable read of etcd, of all keys in one transaction. A comparison that failed gives one too, for it read the same keys.
type Seen struct {
	Failover *state.Failover // nil: the key does not exist
	Mandate  *state.Mandate
	Config   *state.Config

	FailoverRevision, MandateRevision, ConfigRevision int64 // mod revisions, 0 where there is no key
}

// Renewed is a renewal, or the taking of the first mandate, that succeeded. Sent is when it was sent.
type Renewed struct {
	Number           int64
	Sent             Instant
	Revision         int64 // the mandate's mod revision
	FailoverRevision int64
}

// Failed is a renewal, a read or a taking whose outcome is not known.
type Failed struct{ Reason string }

// Learned is what this region's own files and database say about epochs.
type Learned struct {
	Epoch   events.Epoch // the highest that this region has seen
	Primary bool         // the own database answers and is no standby; without one the first mandate is not taken
}

// Ticked is time that passed.
type Ticked struct{}

// Stopped is the order to end: nothing is renewed any more.
type Stopped struct{}

func (Seen) observation()    {}
func (Renewed) observation() {}
func (Failed) observation()  {}
func (Learned) observation() {}
func (Ticked) observation()  {}
func (Stopped) observation() {}

// Action is what has to be done: Read, Renew, Take, Open, Close or Fence.
type Action interface{ action() }

// Read asks for a Seen.
type Read struct{}

// Renew asks for a renewal of the mandate at these revisions; the answer is Renewed, Seen (a comparison failed) or Failed.
type Renew struct {
	Epoch                             events.Epoch
	Number                            int64
	FailoverRevision, MandateRevision int64
}

// Take asks for the first mandate of all, under the condition that there is neither state nor mandate; the answers are those of Renew.
type Take struct {
	Number         int64
	ConfigRevision int64
}

// Open lets this region's applications commit, under an epoch that must not be below one that was seen before.
type Open struct{ Epoch events.Epoch }

// Close ends all sessions at the proxies, at once.
type Close struct{ Reason string }

// Fence makes sure that nobody can commit in this region's database.
type Fence struct{ Epoch events.Epoch }

func (Read) action()  {}
func (Renew) action() {}
func (Take) action()  {}
func (Open) action()  {}
func (Close) action() {}
func (Fence) action() {}
