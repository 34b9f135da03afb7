package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/events/state"
)

// leaderKill is the death of the elected arbiter in the middle of a failover.
type leaderKill struct {
	Phase  state.Phase `json:"phase"`
	Leader string      `json:"leader"`
	At     time.Time   `json:"at"`
}

func (k *leaderKill) String() string {
	if k == nil {
		return "it was not"
	}
	return fmt.Sprintf("the elected arbiter of region %s was killed in phase %s at %s", k.Leader, k.Phase, k.At.Format("15:04:05.000"))
}

// killLeader waits for the phase that the options name and kills the elected arbiter as soon as it is seen. The result is asked for when the drill is over; nil when
// it did not come to that.
func (d *lossDrill) killLeader(ctx context.Context, client *control.Client) (result func() *leaderKill) {
	if d.options.killAt == "" {
		return func() *leaderKill { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan *leaderKill, 1)
	go func() {
		defer close(done)
		every(ctx, 5*time.Millisecond, func() bool {
			f, _, err := readFailover(ctx, d.cells)
			if err != nil || f.Phase != state.Phase(d.options.killAt) || f.Intent == nil {
				return false
			}
			leader, _, err := d.cells.Read(ctx, state.KeyLeader)
			if err != nil || leader == nil {
				return false
			}
			_, region, _ := strings.Cut(string(leader), ".") // failover-arbiter.c
			killed := &leaderKill{Phase: f.Phase, Leader: region, At: time.Now()}
			if err := client.Signal(ctx, region+"/failover-arbiter", syscall.SIGKILL); err != nil {
				d.say("%v", err)
				return false
			}
			d.say("%s", killed)
			done <- killed
			return true
		})
	}()
	return func() *leaderKill {
		cancel()
		return <-done
	}
}
