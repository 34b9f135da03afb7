package hands

import (
	"context"
	"errors"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

const (
	rejoinPause   = 2 * time.Second  // between two attempts
	prepareWithin = 5 * time.Second  // to reach the other region's database
	lonelyAfter   = 15 * time.Second // a standby that should follow and does not is compared with its source
)

// rejoin makes a standby of the other region out of what is here. A cluster that was shut down before the other region left its timeline just follows; one that was shut down
// later is rewound; any other, and one whose rewind fails, is replaced by a copy. Nothing is given up before the other region has answered.
func (h *Hands) rejoin(ctx context.Context, k *keeping, look postgres.Condition, running bool) error {
	if h.Supervisor == nil {
		return errors.New("rejoin: there is no supervisor to stop the database")
	}
	if h.Now().Boot < k.rejoinAt {
		return nil
	}
	defer func() { k.rejoinAt = h.Now().Boot + rejoinPause }()
	last, timeline := look.FlushLSN, look.Timeline
	if !running {
		control, err := h.Cluster.Control(ctx)
		if err != nil {
			h.Log.Info("rejoin: nothing is known of a cluster here", "error", err)
		}
		last, timeline = control.End, control.Timeline
	}
	ahead, err := timed(ctx, prepareWithin, func(ctx context.Context) (postgres.Branch, error) { return h.Upstream.Prepare(ctx, timeline) })
	if err != nil {
		return err
	}
	h.Log.Info("rejoin begins", "own_timeline", timeline, "own_end", last, "timeline", ahead.Timeline, "fork", ahead.LSN)
	k.said.Condition, k.said.Reason = state.DatabaseRejoining, ""
	h.publish(k, postgres.Condition{}, errRejoining)
	if err := h.Cluster.NoteStop(); err != nil {
		return err
	}
	if _, err := timed(ctx, handOverWithin, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Supervisor.StopFast(ctx) }); err != nil {
		return err
	}
	if err := h.remake(ctx, ahead, last); err != nil {
		return err
	}
	k.served, k.counts, k.refused, k.forgot = false, nil, false, false
	return h.startAgain(ctx)
}

// remake works on the files while nothing runs.
func (h *Hands) remake(ctx context.Context, ahead postgres.Branch, last events.LSN) error {
	found, err := h.Cluster.Look()
	if err != nil {
		return err
	}
	if found.Exists && !found.InProgress && !found.Standby {
		control, err := h.Cluster.Control(ctx)
		parted := err == nil && control.ShutDown && control.Timeline < ahead.Timeline && ahead.LSN > 0
		if parted && control.End <= ahead.LSN {
			return h.remadeBy(cluster.Remade{Manner: "followed", Fork: ahead.LSN}, func() (string, error) { return "", h.Cluster.Follow() })
		}
		if parted {
			err := h.remadeBy(cluster.Remade{Manner: "rewound", Fork: ahead.LSN, Discarded: beyond(last, ahead.LSN)}, func() (string, error) {
				return h.Cluster.Rewind(ctx, h.Source.Rewind, control, ahead.LSN)
			})
			if err == nil {
				return nil
			}
			h.Log.Warn("the cluster cannot be rewound: it is copied", "error", err)
		}
	}
	return h.remadeBy(cluster.Remade{Manner: "rebuilt", Fork: ahead.LSN, Discarded: beyond(last, ahead.LSN)}, func() (string, error) { return h.Cluster.Copy(ctx, h.Source) })
}

// remadeBy notes how the cluster is remade before that begins, for whoever comes after a crash: then nothing here tells any more what was given up. An attempt that was cut off knew
// more of it than the next one can.
func (h *Hands) remadeBy(r cluster.Remade, remake func() (kept string, err error)) error {
	if earlier, err := h.Cluster.Remade(); err == nil && earlier != nil && earlier.Fork == r.Fork {
		r.Discarded, r.Kept = max(r.Discarded, earlier.Discarded), earlier.Kept
	}
	if err := h.Cluster.NoteRemade(r); err != nil {
		return err
	}
	kept, err := remake()
	if err != nil || kept == "" {
		return err
	}
	r.Kept = kept
	return h.Cluster.NoteRemade(r)
}

// beyond is how much WAL the other region never had, the shutdown for the rejoin not counted; 0 when the fork is not known.
func beyond(last, fork events.LSN) int64 {
	if fork == 0 || last <= fork {
		return 0
	}
	return int64(last - fork)
}

// confirm says that this region is a standby again once it follows. One that does not for long is compared with its source: where that has left the timeline before
// what is here, no waiting helps, and it is replaced.
func (h *Hands) confirm(ctx context.Context, k *keeping, f *state.Failover, look postgres.Condition) error {
	if !look.Standby {
		return nil // it does not answer at this moment
	}
	now := h.Now()
	if look.Receiving && look.Timeline >= f.Rejoin.Timeline {
		made, err := h.Cluster.Remade()
		if err != nil {
			h.Log.Warn("how this standby was made is not known", "error", err)
		}
		if made == nil {
			made = &cluster.Remade{Manner: "followed"}
		}
		k.rejoined = &state.Rejoined{
			Epoch: f.Epoch, Manner: made.Manner, Timeline: look.Timeline, ForkLSN: made.Fork, Discarded: made.Discarded, Kept: made.Kept, At: now.Wall,
		}
		k.lonely = 0
		h.counts.Rejoins.Add(1)
		h.Log.Info("a standby again", "epoch", f.Epoch, "manner", made.Manner, "timeline", look.Timeline, "discarded_bytes", made.Discarded, "kept", made.Kept)
		_, err = timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Branching.DropSlots(ctx) })
		return err
	}
	if k.lonely == 0 {
		k.lonely = now.Boot
	}
	if now.Boot-k.lonely < lonelyAfter {
		return nil
	}
	k.lonely = now.Boot
	ahead, err := timed(ctx, prepareWithin, func(ctx context.Context) (postgres.Branch, error) { return h.Upstream.Prepare(ctx, look.Timeline) })
	if err != nil || ahead.LSN == 0 || look.FlushLSN <= ahead.LSN {
		return err
	}
	return h.rejoin(ctx, k, look, true)
}
