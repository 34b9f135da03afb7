package hands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/duty"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/epochfile"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// handOverWithin bounds a fast stop, which waits for the standby; the leader gives up earlier.
const handOverWithin = 25 * time.Second

// SlotOf names the replication slot that keeps the WAL for a region at the other one. It is the region's cluster_name too (deploy.Postgres.Name).
func SlotOf(region events.Region) string { return "region_" + string(region) }

// perform does what the failover's state asks of this region now. It runs in the database's loop, so that nobody else handles the database meanwhile.
func (h *Hands) perform(ctx context.Context, k *keeping, look postgres.Condition, looked error) error {
	f := h.State()
	if f == nil {
		return nil
	}
	if f.Epoch > h.Epochs.Seen() { // a later etcd from before it will not be obeyed
		if err := h.Epochs.Raise(f.Epoch); err != nil {
			return err
		}
	}
	if f.Rejoin == nil && looked == nil && look.Receiving && !k.forgot {
		k.forgot = h.Cluster.ForgetRemade() == nil
	}
	files, err := h.Cluster.Look()
	if err != nil {
		return err
	}
	h.witness(k, f)
	switch duty.Decide(duty.Situation{
		Region: h.Region, Failover: f, Seen: h.Epochs.Seen(), Promotion: k.promotion, Receipt: k.receipt, Rejoined: k.rejoined,
		Running: looked == nil, Standby: looked == nil && look.Standby, Fenced: k.rules == barred && k.refused,
		Cluster: files.Exists, Signal: files.Standby, InProgress: files.InProgress, Stopped: files.Stopped,
	}) {
	case duty.Promote:
		return h.promote(ctx, k, f, look, looked, files)
	case duty.HandOver:
		return h.handOver(ctx, k, f)
	case duty.Start:
		return h.startAgain(ctx)
	case duty.Rejoin:
		return h.rejoin(ctx, k, look, looked == nil)
	case duty.Confirm:
		return h.confirm(ctx, k, f, look)
	}
	return nil
}

// prove adds to a fence where the WAL ended. One that could not try a new login is made again as soon as that can be tried: only counts that come after the refusal prove anything.
func (h *Hands) prove(ctx context.Context, k *keeping) error {
	if k.counts == nil || k.refused {
		return nil
	}
	if !k.turnedAway {
		_, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Door.Refuses(ctx) })
		if err == nil {
			k.rules = unknown
		}
		return err
	}
	look, err := timed(ctx, h.Deadline, h.Database.Look)
	if err != nil {
		return err
	}
	k.facts.FlushLSN, k.facts.Timeline = look.FlushLSN, look.Timeline
	k.refused = true
	return nil
}

// witness writes the receipt, once the intent is seen that ends the mandate: from then on the region cannot open again under that epoch, so that a receipt that is read
// late is still true. A switchover's receipt comes from the hand-over.
func (h *Hands) witness(k *keeping, f *state.Failover) {
	i := f.Intent
	if i == nil || i.From != h.Region || f.Phase != state.PhaseIntent && f.Phase != state.PhaseFenced {
		return
	}
	given := k.receipt != nil && k.receipt.Epoch == f.Epoch
	if given || i.Cause == events.CauseSwitchover || k.hurried || h.order.Load().open || k.rules != barred || !k.refused || k.facts.FlushLSN == 0 {
		return
	}
	k.receipt = &events.Receipt{
		Region: h.Region, Epoch: f.Epoch, Counts: k.counts, Stopped: k.stopped, Refused: true, FlushLSN: k.facts.FlushLSN, Timeline: k.facts.Timeline, WrittenAt: h.Now().Wall,
	}
	h.Log.Info("receipt written: nobody can commit here", "epoch", f.Epoch, "flush_lsn", k.facts.FlushLSN)
}

// promote makes a primary of this region's standby, and answers the intent. It opens nothing: that is for the mandate. What is not done is tried again until the
// leader's patience ends; a refusal is for good.
func (h *Hands) promote(ctx context.Context, k *keeping, f *state.Failover, look postgres.Condition, looked error, files cluster.Condition) error {
	i := f.Intent
	refuse := func(reason string) error {
		k.promotion = &state.Promotion{Epoch: i.Epoch, Refused: reason, At: h.Now().Wall}
		return fmt.Errorf("promotion under epoch %d refused: %s", i.Epoch, reason)
	}
	var smaller *epochfile.SmallerError
	switch returns := i.From == h.Region; {
	case i.Diverged && files.InProgress:
		return refuse("the copy of the other region is not whole; what it replaced is beside it, in data.diverged")
	case files.Stopped:
		return h.startAgain(ctx)
	case looked != nil:
		return looked
	case !look.Standby && i.Diverged && h.Epochs.Seen() != i.Epoch:
		return h.branch(ctx, k, f)
	case !look.Standby && !returns && h.Epochs.Seen() != i.Epoch:
		return refuse(fmt.Sprintf("the database is a primary on timeline %d already, and not by this intent", look.Timeline))
	}
	h.promoting.Store(true)
	defer h.promoting.Store(false)
	if look.Standby {
		seen, err := timed(ctx, h.Deadline, h.Database.Epoch)
		if err == nil && seen > i.Epoch {
			return refuse(fmt.Sprintf("the database has seen epoch %d", seen))
		}
		h.closePool(ctx, haproxy.Read)
		k.rules = unknown
		if _, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Branching.Withdraw(ctx) }); err != nil {
			return err
		}
	}
	if err := h.Epochs.Raise(i.Epoch); errors.As(err, &smaller) {
		return refuse(err.Error())
	} else if err != nil {
		return err
	}
	began := h.Now()
	if look.Standby {
		if _, err := timed(ctx, h.PromoteIn+h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Branching.Promote(ctx, h.PromoteIn) }); err != nil {
			return err
		}
		h.counts.Promotions.Add(1)
	}
	branch, err := timed(ctx, h.Deadline, h.Branching.Branch)
	if err != nil {
		return err
	}
	if branch.LSN == 0 { // the first timeline of all begins nowhere
		branch.LSN = look.FlushLSN
	}
	if _, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.Branching.RenewSlot(ctx, SlotOf(other(h.Region)))
	}); err != nil {
		h.Log.Warn("no slot for the other region: its rejoin makes it", "error", err)
	}
	k.promotion = &state.Promotion{Epoch: i.Epoch, Done: true, Timeline: branch.Timeline, LSN: branch.LSN, At: h.Now().Wall}
	h.Log.Info("promoted", "epoch", i.Epoch, "timeline", branch.Timeline, "lsn", branch.LSN, "took", h.Now().Boot-began.Boot)
	h.checkpoint(ctx)
	return nil
}

// branch lets a fenced primary that an operator takes as it is go on, on a timeline of its own. The epoch is noted before the server starts: whoever finds it so has
// branched already.
func (h *Hands) branch(ctx context.Context, k *keeping, f *state.Failover) error {
	if h.Supervisor == nil {
		return errors.New("begin another timeline: there is no supervisor to stop the database")
	}
	if k.rules != barred || !k.refused {
		return errors.New("begin another timeline: the database is not fenced yet")
	}
	if err := h.Cluster.NoteStop(); err != nil {
		return err
	}
	if _, err := timed(ctx, handOverWithin, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Supervisor.StopFast(ctx) }); err != nil {
		return err
	}
	timeline := k.facts.Timeline
	if f.Rejoin != nil {
		timeline = max(timeline, f.Rejoin.Timeline)
	}
	if err := h.Cluster.Branch(ctx, timeline+1); err != nil {
		return errors.Join(err, h.startAgain(ctx))
	}
	if err := h.Epochs.Raise(f.Intent.Epoch); err != nil {
		return err
	}
	h.Log.Warn("the database is taken as it is, on a timeline of its own", "epoch", f.Intent.Epoch, "timeline", timeline+1)
	return h.startAgain(ctx)
}

// checkpoint lets the new timeline stand in pg_control soon: pg_rewind looks for it there. Nobody waits for it.
func (h *Hands) checkpoint(ctx context.Context) {
	go func() {
		if err := h.Branching.Checkpoint(ctx); err != nil && ctx.Err() == nil {
			h.Log.Warn("no checkpoint", "error", err)
		}
	}()
}

// handOver stops the fenced primary in the way that sends everything to the standby, and writes the receipt with where the WAL ended.
func (h *Hands) handOver(ctx context.Context, k *keeping, f *state.Failover) error {
	if h.Supervisor == nil {
		return errors.New("hand over: there is no supervisor to stop the database")
	}
	began := h.Now()
	if err := h.Cluster.NoteStop(); err != nil {
		return err
	}
	if _, err := timed(ctx, handOverWithin, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Supervisor.StopFast(ctx) }); err != nil {
		return err
	}
	control, err := h.Cluster.Control(ctx)
	if err != nil {
		return err
	}
	if !control.ShutDown {
		return errors.New("hand over: the database was not shut down cleanly")
	}
	k.served = false
	k.facts.FlushLSN, k.facts.Timeline = control.End, control.Timeline
	k.receipt = &events.Receipt{
		Region: h.Region, Epoch: f.Epoch, Counts: k.counts, Stopped: true, Refused: k.refused, FlushLSN: control.End, Timeline: control.Timeline, WrittenAt: h.Now().Wall,
	}
	h.counts.Handovers.Add(1)
	h.Log.Info("handed over: the database is stopped", "epoch", f.Epoch, "end", control.End, "took", h.Now().Boot-began.Boot)
	return nil
}

// startAgain starts what this arbiter, or the one before it, has stopped.
func (h *Hands) startAgain(ctx context.Context) error {
	if h.Supervisor == nil {
		return errors.New("start the database: there is no supervisor")
	}
	if err := h.Database.Bar(); err != nil {
		return err
	}
	if _, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Supervisor.Start(ctx) }); err != nil {
		return err
	}
	return h.Cluster.ForgetStop()
}

// other is the other region with data.
func other(region events.Region) events.Region {
	if region == events.RegionA {
		return events.RegionB
	}
	return events.RegionA
}
