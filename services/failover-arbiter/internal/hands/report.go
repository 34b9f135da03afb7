package hands

import (
	"context"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// runReports tells the other regions how this one is: when something changed, and every r.
func (h *Hands) runReports(ctx context.Context) {
	ticker := time.NewTicker(h.Every)
	defer ticker.Stop()
	failing := false
	for number := int64(1); ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-h.reportKick:
		case <-ticker.C:
		}
		report := h.report(number)
		_, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Reports.Put(ctx, report) })
		if err == nil {
			h.counts.Reports.Add(1)
		}
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			h.Log.Info("the region's report", "written", !failing, "error", err)
		}
	}
}

// report is the newest publication as the other regions read it.
func (h *Hands) report(number int64) state.Report {
	c, now := h.condition.Load(), h.Now()
	return state.Report{
		Region: h.Region, Incarnation: h.Incarnation, Number: number, At: now.Wall,
		Database: c.said, Receipt: c.receipt, Promotion: c.promotion, Rejoined: c.rejoined,
	}
}

// say puts into words how the database was found. What runs again soon by its supervisor's doing is restarting only if it was seen to run before.
func (h *Hands) say(ctx context.Context, k *keeping, look postgres.Condition, err error) {
	said := state.DatabaseReport{Timeline: k.facts.Timeline, FlushLSN: k.facts.FlushLSN, HeartbeatNumber: k.facts.HeartbeatNumber}
	if at := k.facts.HeartbeatAt.Wall; !at.IsZero() {
		said.HeartbeatAt = &at
	}
	switch {
	case err == nil && look.Standby:
		said.Condition, said.Streaming = state.DatabaseStandby, look.Receiving
	case err == nil:
		said.Condition, said.Mirrored = state.DatabasePrimary, k.mirrored
	default:
		said.Condition, said.Reason = h.unseen(ctx, k, err)
	}
	k.said = said
}

// unseen asks the supervisor about a database that does not answer.
func (h *Hands) unseen(ctx context.Context, k *keeping, looked error) (state.DatabaseCondition, string) {
	if h.Supervisor == nil {
		return state.DatabaseUnknown, looked.Error()
	}
	status, err := timed(ctx, h.Deadline, h.Supervisor.Status)
	switch {
	case err != nil:
		return state.DatabaseUnknown, looked.Error()
	case status.Restarting() && !k.started.IsZero():
		return state.DatabaseRestarting, status.Reason
	case status.Restarting(), status.Down():
		return state.DatabaseDown, status.State + ": " + status.Reason
	}
	return state.DatabaseUnknown, looked.Error()
}
