package observation

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Observed is what a round is worth telling; Replication is nil when the database did not say where it stands.
type Observed struct {
	Health      events.HealthObserved
	Replication *events.ReplicationObserved
}

// Decide turns a round into its verdict and the counts. now is the end of the round.
func Decide(s State, round Round, now time.Time) (State, Observed) {
	results := map[Kind]Result{}
	for kind, result := range round.Results {
		results[kind] = heldUp(result, round.Deadline)
	}
	verdict := verdict(results[Postgres], results[HTTP])
	switch verdict {
	case events.OutcomeOK:
		s.SuccessesInRow, s.FailuresInRow = s.SuccessesInRow+1, 0
	case events.OutcomeFailed:
		s.SuccessesInRow, s.FailuresInRow = 0, s.FailuresInRow+1
	default:
		// Neither row goes on: failures that are counted together must have followed each other.
		s.SuccessesInRow, s.FailuresInRow = 0, 0
	}
	health := events.HealthObserved{
		Observer: s.Observer, Incarnation: s.Incarnation, Number: round.Number, Target: s.Target, ObservedAt: now.UTC(), Verdict: verdict,
		Checks:        events.Checks{HTTP: check(results, HTTP), Postgres: check(results, Postgres), Prometheus: check(results, Prometheus), DNS: check(results, DNS)},
		FailuresInRow: s.FailuresInRow, SuccessesInRow: s.SuccessesInRow, Resolved: results[DNS].Address,
	}
	if result, made := results[Prometheus]; made {
		gates := judge(result)
		health.Gates = &gates
	}
	return s, Observed{Health: health, Replication: replication(s, round.Number, results[Postgres], now)}
}

// verdict says whether the region can do its work. The database decides that it cannot, for without it nothing is read or written whatever Odoo's
// door says. Odoo alone decides nothing: a restart of Odoo is no loss of a region, and what lasts is for the gates.
func verdict(database, odoo Result) events.Outcome {
	switch {
	case database.Outcome == events.OutcomeFailed && odoo.Reads:
		return events.OutcomeUnknown // Odoo has just read it: what is lost is the way from here
	case database.Outcome == events.OutcomeFailed:
		return events.OutcomeFailed
	case database.Outcome == events.OutcomeOK && odoo.Outcome == events.OutcomeOK:
		return events.OutcomeOK
	}
	return events.OutcomeUnknown
}

// heldUp takes a failure back that came far behind its deadline: this process was not running when it was due, and says nothing about its target.
func heldUp(r Result, deadline time.Duration) Result {
	if r.Outcome == events.OutcomeFailed && deadline > 0 && r.Took > 2*deadline {
		r.Outcome = events.OutcomeUnknown
		r.Reason = fmt.Sprintf("the observer was held up: %s after %.2f s, where %.2f s are allowed", r.Reason, r.Took.Seconds(), deadline.Seconds())
	}
	return r
}

func check(results map[Kind]Result, kind Kind) *events.CheckResult {
	result, made := results[kind]
	if !made {
		return nil
	}
	reason := result.Reason
	if result.Outcome == events.OutcomeOK {
		reason = ""
	}
	return &events.CheckResult{Outcome: result.Outcome, Reason: reason, Latency: result.Took.Seconds()}
}

// replication carries the number of the health observation of the same round.
func replication(s State, number int64, database Result, now time.Time) *events.ReplicationObserved {
	d := database.Database
	if d == nil {
		return nil
	}
	return &events.ReplicationObserved{
		Observer: s.Observer, Incarnation: s.Incarnation, Number: number, Target: s.Target, ObservedAt: now.UTC(),
		InRecovery: d.InRecovery, Streaming: d.Streaming, Timeline: d.Timeline, FlushLSN: d.FlushLSN, ReceivedLSN: d.ReceivedLSN, ReplayedLSN: d.ReplayedLSN,
		HeartbeatNumber: d.HeartbeatNumber, HeartbeatAt: d.HeartbeatAt,
	}
}
