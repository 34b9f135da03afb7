package hands

import (
	"context"
	"errors"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/supervisor"
)

// fence puts applications out of the database. An order to open abandons it. What has sessions after F is stopped by the supervisor, and started again behind the
// fenced rules; what has none has two pauses more to prove it.
func (h *Hands) fence(ctx context.Context, k *keeping) {
	began := h.Now()
	ctx, cancel := context.WithTimeout(ctx, h.FenceIn+2*h.Pause)
	defer cancel()
	h.fencing.Lock()
	h.abandon = cancel
	h.fencing.Unlock()
	defer func() {
		h.fencing.Lock()
		h.abandon = nil
		h.fencing.Unlock()
	}()
	if h.order.Load().open { // it was given before it could abandon anything
		return
	}
	k.rules = unknown
	pause := h.Pause
	if k.hurried = h.handsOver(); k.hurried {
		pause = 0
	}
	fenced, err := h.Database.Fence(ctx, h.FenceIn, pause, h.Door.Refuses)
	switch {
	case err == nil:
		k.rules, k.served, k.counts, k.turnedAway, k.refused = barred, false, lastOf(fenced.Counts), fenced.Refused, false
		h.counts.Fences.Add(1)
		h.unfenced.Note(nil)
		h.Log.Info("fenced", "counts", fenced.Counts, "refused", fenced.Refused, "took", h.Now().Boot-began.Boot)
	case h.order.Load().open:
		h.Log.Info("fence abandoned: the mandate is held again", "counts", fenced.Counts)
	default:
		h.counts.Failures.Add(1)
		h.unfenced.Note(err, "counts", fenced.Counts)
		if k.served {
			h.stop(ctx, k)
		}
	}
}

// handsOver says whether a switchover from here is under way. Its receipt is the database's own end, after which no session is left: what a login that was under way
// may have become need not be waited for.
func (h *Hands) handsOver() bool {
	f := h.State()
	return f != nil && f.Intent != nil && f.Intent.Cause == events.CauseSwitchover && f.Intent.From == h.Region && (f.Phase == state.PhaseIntent || f.Phase == state.PhaseFenced)
}

// barUnseen is for a database that does not answer while nobody may commit: the fenced rules are put in place for its next start. One that applications may write to
// may still run unseen: it is stopped when it stays silent.
func (h *Hands) barUnseen(ctx context.Context, k *keeping) {
	if k.rules == unknown || k.rules == admitted {
		err := h.Database.Bar()
		h.unfenced.Note(err) // a full disk, for instance, is no reason to leave it running
		if err == nil {
			k.rules = written
		}
	}
	if h.Now().Boot-h.order.Load().since <= h.FenceIn {
		return
	}
	if k.served || h.inherited(ctx, k) {
		h.stop(ctx, k)
	}
}

// inherited says whether a silent database that this process has never seen may serve what an earlier one has let in: its files are a primary's, and its supervisor has
// seen it ready. One that is starting has no sessions, and is left alone; so is one that was stopped already.
func (h *Hands) inherited(ctx context.Context, k *keeping) bool {
	if h.Supervisor == nil || !k.started.IsZero() || k.stopped {
		return false
	}
	files, err := h.Cluster.Look()
	if err != nil || !files.Exists || files.Standby || files.InProgress {
		return false
	}
	status, err := timed(ctx, h.Deadline, h.Supervisor.Status)
	return err == nil && status.State == supervisor.Ready
}

// stop is the last resort. It outlives the fence's deadline.
func (h *Hands) stop(ctx context.Context, k *keeping) {
	if h.Supervisor == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if err := h.Cluster.NoteStop(); err != nil {
		h.Log.Warn("an arbiter that takes over now will not know who has stopped PostgreSQL", "error", err)
	}
	if err := h.Supervisor.StopImmediately(ctx); err != nil {
		h.unstopped.Note(err)
		return
	}
	h.unstopped.Note(nil)
	h.counts.Stops.Add(1)
	k.rules, k.served, k.stopped, k.counts, k.refused = unknown, false, true, nil, false
	err := h.Database.Bar()
	if err == nil {
		k.rules = written
		err = errors.Join(h.Supervisor.Start(ctx), h.Cluster.ForgetStop())
	}
	h.Log.Warn("PostgreSQL was stopped because it could not be fenced; it is started behind the fenced rules only", "error", err)
}

// lastOf are the counts that a receipt shows.
func lastOf(counts []int) []int { return append([]int(nil), counts[max(len(counts)-10, 0):]...) }
