package events

import (
	"strconv"
	"strings"
	"time"
)

// FailoverSynchronized: the switch of synchronous replication has moved. An operator did it, or the arbiters, because the standby is away or is back.
type FailoverSynchronized struct {
	Epoch   Epoch     `json:"epoch" jsonschema:"description=of the mandate in force"`
	Active  Region    `json:"active"`
	Standby Region    `json:"standby,omitempty" jsonschema:"description=that commits wait for; absent when they wait for nobody"`
	Mode    string    `json:"mode" jsonschema:"enum=off,enum=joining,enum=on,description=that is in force: joining waits for the standby but does not yet promise that it has everything"`
	Wanted  bool      `json:"wanted" jsonschema:"description=whether an operator wants it on"`
	Cause   string    `json:"cause" jsonschema:"enum=asked,enum=standby-back,enum=complete,enum=standby-away,enum=failover"`
	At      time.Time `json:"at"`
	Leader  Region    `json:"leader"`
	Act     *Act      `json:"act,omitempty" jsonschema:"description=when it was asked for"`

	Founded
}

// SyncCauses are the causes of failover.synchronized.
var SyncCauses = []string{"asked", "standby-back", "complete", "standby-away", "failover"}

// Type implements Payload.
func (FailoverSynchronized) Type() Type { return TypeFailoverSynchronized }

// Entity implements Payload.
func (FailoverSynchronized) Entity() string { return FailoverEntity }

// Key implements Payload.
func (p FailoverSynchronized) Key() string {
	return strings.Join([]string{strconv.FormatUint(uint64(p.Epoch), 10), p.Mode, p.Cause, strconv.FormatInt(p.At.UnixMilli(), 10)}, "-")
}

func (p FailoverSynchronized) fencing() Epoch { return p.Epoch }

// Validate implements Payload.
func (p FailoverSynchronized) Validate() error {
	var c Check
	c.Epoch("epoch", p.Epoch)
	c.DataRegion("active", p.Active)
	OneOf(&c, "mode", p.Mode, "off", "joining", "on")
	c.That(p.Mode == "off" || p.Standby.HoldsData() && p.Standby != p.Active, "standby", p.Standby, "the region that commits wait for")
	OneOf(&c, "cause", p.Cause, SyncCauses...)
	c.Time("at", p.At)
	c.Region("leader", p.Leader)
	c.That((p.Act != nil) == (p.Cause == "asked"), "act", p.Act != nil, "set exactly when it was asked for")
	if p.Act != nil {
		c.Part("act", p.Act.Problems())
	}
	p.basis(&c)
	return invalid(p, c.problems)
}
