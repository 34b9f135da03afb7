package main

import (
	"context"
	"strings"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events/state"
)

// modes are how commits are held when a drill begins, and so what it must show.
type modes struct {
	synchronous bool // what is acknowledged is on the standby
	strict      bool // and writes wait where there is none
	witness     bool // what is acknowledged was confirmed under the mandate
}

// modesOf reads them: the first from the state, for it is in force only where that says so, the others from how the stack was started.
func modesOf(ctx context.Context, client *control.Client, f state.Failover) (modes, error) {
	status, err := client.Status(ctx)
	return modes{synchronous: f.Sync == state.SyncOn, strict: status.Strict, witness: status.CommitWitness}, err
}

// waits says whether the loss of a region leaves commits without the standby that they wait for, and nobody takes that back.
func (m modes) waits(lost layout.Region) bool { return m.synchronous && m.strict && lost.HoldsData() }

// String is empty where commits wait for nobody.
func (m modes) String() string {
	var said []string
	if m.synchronous {
		word := "synchronous (degrade: writes go on without a standby)"
		if m.strict {
			word = "synchronous (strict: writes wait until a standby is back)"
		}
		said = append(said, word)
	}
	if m.witness {
		said = append(said, "commit witness")
	}
	return strings.Join(said, ", ")
}
