package hands

import (
	"context"
	"strings"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// mirroring is what the database's loop remembers of whom commits wait for.
type mirroring struct {
	names    *string    // as they were put in force by this process; nil: not yet
	before   bool       // they were in force before this process
	marking  chan error // a checkpoint is under way; it gives its outcome
	mark     events.LSN // what the standby must have before it has everything that was acknowledged without it; 0: not known
	mirrored bool       // it has
}

// mirror lets commits wait for whom the state says, and sees whether the standby has everything. It never decides: a primary whose standby is away waits until it has
// read that it need not.
//
// The server tells its sessions to wait when its checkpointer has read the names. A checkpoint that was asked for after them shows that it has; what stands in the WAL
// then is all that may have been acknowledged without the standby.
func (h *Hands) mirror(ctx context.Context, k *keeping, look postgres.Condition) error {
	f := h.State()
	if f == nil {
		return nil // what is in force stays so
	}
	names := h.names(f)
	if k.names == nil || *k.names != names {
		changed, err := timed(ctx, h.Deadline, func(ctx context.Context) (bool, error) { return h.Mirror.WaitFor(ctx, names) })
		if err != nil {
			return err
		}
		k.mirroring = mirroring{names: &names, before: !changed && k.names == nil}
		if changed {
			h.Log.Info("commits wait for others", "names", names)
		}
	}
	if look.Standby || !f.Sync.Waits() || f.SyncStandby == h.Region {
		k.mark, k.mirrored = 0, false
		return nil
	}
	if k.mark == 0 {
		h.findMark(ctx, k, f, look)
	}
	follower, err := timed(ctx, h.Deadline, func(ctx context.Context) (postgres.Follower, error) {
		return h.Mirror.Follower(ctx, SlotOf(f.SyncStandby))
	})
	k.mirrored = err == nil && k.mark != 0 && follower.Streaming && follower.Synchronous && follower.Flushed >= k.mark
	return err
}

// findMark asks for the checkpoint and takes the position after it. Where the promise was given before this process began, every position does.
func (h *Hands) findMark(ctx context.Context, k *keeping, f *state.Failover, look postgres.Condition) {
	if f.Sync == state.SyncOn && k.before {
		k.mark = 1
		return
	}
	if k.marking == nil {
		done := make(chan error, 1)
		k.marking = done
		go func() { done <- h.Branching.Checkpoint(ctx) }()
		return
	}
	select {
	case err := <-k.marking:
		k.marking = nil
		if err == nil {
			if now, looked := timed(ctx, h.Deadline, h.Database.Look); looked == nil && now.StartedAt.Equal(look.StartedAt) {
				k.mark = now.FlushLSN
			}
		}
	default:
	}
}

// names are whom commits here wait for: this arbiter where it is a witness, and the other region in synchronous mode. Those of a standby are in force when it is
// promoted, before it has read what becomes of them.
func (h *Hands) names(f *state.Failover) string {
	var list []string
	if h.Witness {
		list = append(list, postgres.WitnessName)
	}
	if f.Sync.Waits() {
		list = append(list, SlotOf(other(h.Region)))
	}
	if len(list) == 0 {
		return ""
	}
	return "FIRST " + string(rune('0'+len(list))) + " (" + strings.Join(list, ", ") + ")"
}
