package simulation

import (
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// removal is one safety rule less. A rule of the pure packages is removed by giving it what it wants to see: nothing in them can be switched off, and nobody but a test can do this.
type removal struct {
	rule   string
	breaks []string // the invariants, any of which may be the first

	narrow   bool // two regions with data only
	settings func(*failover.Settings)
	keeping  func(*mandate.Settings)
	read     func(*failover.Read)
	heard    func(arbiter *machine, report *events.HealthObserved)
	swap     func(*failover.Swap)
	often    map[string]int // faults that come more often

	swapIgnoresTerm, swapIgnoresRevision, swapIgnoresMandate, renewalIgnoresState bool
	nameIgnoresEpoch, noDeadMan, oneClock, promotesAnything, keepsReceipt         bool
}

// removals are the rules whose absence is noticed, each with the first life that shows it.
var removals = []removal{
	{rule: "the mandate's time is waited for, M and delta", breaks: []string{afterFence, twoWriters},
		settings: func(s *failover.Settings) { s.Validity = time.Second }},
	{rule: "a region closes while F of its mandate is left", breaks: []string{afterFence, twoWriters}, often: map[string]int{"isolate the active region and then stop its arbiter": 30},
		keeping: func(s *mandate.Settings) { s.Fence = 0 }},
	{rule: "dead man: the proxy asks the arbiter, and no answer is a no", breaks: []string{afterFence, twoWriters, beyondFreeze},
		noDeadMan: true},
	{rule: "two clocks that moved apart measure nothing", breaks: []string{afterFence, twoWriters, beyondFreeze},
		oneClock: true, often: map[string]int{"suspend a region": 10}},
	{rule: "an intent ends the mandate: a renewal compares the state, the promotion the mandate's revision", breaks: []string{afterFence, twoWriters},
		renewalIgnoresState: true, swapIgnoresMandate: true},
	{rule: "a transaction of a leader compares term and state", breaks: []string{epochBack, twoWriters, afterFence, notWhole},
		swapIgnoresTerm: true, swapIgnoresRevision: true, often: map[string]int{"stop the leader": 10, "continue the arbiters": 10}},
	{rule: "a receipt is of this epoch, of after the last renewal, and void when the region opens", breaks: []string{afterFence, twoWriters}, keepsReceipt: true,
		read: func(r *failover.Read) {
			for region, reported := range r.Reports {
				if receipt := reported.Report.Receipt; receipt != nil {
					forged := *receipt
					forged.Epoch, forged.WrittenAt = r.Failover.Epoch, forged.WrittenAt.Add(time.Hour)
					reported.Report.Receipt = &forged
					r.Reports[region] = reported
				}
			}
		}},
	{rule: "a majority of the observers agrees", breaks: []string{withoutGround},
		settings: func(s *failover.Settings) { s.Observers = s.Observers[2:3] }},
	{rule: "N failures in a row", breaks: []string{withoutGround},
		settings: func(s *failover.Settings) { s.Failures = 1 }},
	{rule: "an observation is no older than W", breaks: []string{withoutGround, toTheSick},
		settings: func(s *failover.Settings) { s.Window = time.Hour }, often: map[string]int{"silence an observer": 10}},
	{rule: "an observation is newer than the last one, and is not from the future", breaks: []string{withoutGround, toTheSick},
		heard: func(arbiter *machine, report *events.HealthObserved) {
			arbiter.forged++
			report.Incarnation, report.Number, report.ObservedAt = "forged", arbiter.forged, arbiter.clock().Wall
		}, often: map[string]int{"slow bus": 10, "loss": 10}},
	{rule: "the target is healthy itself", breaks: []string{toTheSick},
		heard: func(arbiter *machine, report *events.HealthObserved) {
			if f := arbiter.w.store.failover; f != nil && report.Target != f.Active {
				report.Verdict, report.FailuresInRow, report.Gates = events.OutcomeOK, 0, green
			}
		}, often: map[string]int{"gates red": 10}},
	{rule: "the target's database is a standby that has rejoined, and its hands promote nothing else", breaks: []string{otherHistory, twoWriters, afterFence}, promotesAnything: true,
		often: map[string]int{"cut": 20, "acknowledge": 20, "kill the active region": 10, "revive": 10, "isolate": 10},
		read: func(r *failover.Read) {
			f := *r.Failover
			f.Rejoin = nil
			r.Failover = &f
			for region, reported := range r.Reports {
				if region != f.Active {
					reported.Report.Database.Condition = state.DatabaseStandby
					if r.Mandate != nil {
						d := &reported.Report.Database
						d.Timeline, d.FlushLSN, d.HeartbeatAt, d.HeartbeatNumber = r.Mandate.Timeline, r.Mandate.FlushLSN, &r.Mandate.RenewedAt, r.Mandate.HeartbeatNumber
					}
					r.Reports[region] = reported
				}
			}
		}},
	{rule: "a loss that is too large, or that nobody knows, is not taken", breaks: []string{tooFarBehind},
		read: func(r *failover.Read) {
			for region, reported := range r.Reports {
				if r.Mandate != nil && region != r.Failover.Active {
					reported.Report.Database.HeartbeatAt, reported.Report.Database.Timeline, reported.Report.Database.FlushLSN = &r.Mandate.RenewedAt, r.Mandate.Timeline, r.Mandate.FlushLSN
					reported.Report.Database.HeartbeatNumber = r.Mandate.HeartbeatNumber
					r.Reports[region] = reported
				}
			}
		}, often: map[string]int{"replication hangs": 10}},
	{rule: "what a holder may commit after its last renewal, M and delta, counts as exposed", breaks: []string{moreThanSaid},
		swap: func(a *failover.Swap) {
			if i := a.Next.Intent; i != nil && i.Loss.Exposed != nil {
				i.Loss.Exposed = i.Loss.Seconds
			}
		}},
	{rule: "a switchover waits until the standby has every byte", breaks: []string{lostWrites},
		read: func(r *failover.Read) {
			if i := r.Failover.Intent; i != nil && r.Mandate != nil {
				reported := r.Reports[i.To]
				reported.Report.Database.FlushLSN, reported.Report.Database.Timeline = 1<<60, r.Mandate.Timeline
				r.Reports[i.To] = reported
			}
		}, often: map[string]int{"switchover": 10, "cut": 10}},
	{rule: "a cooldown follows each failover", breaks: []string{inCooldown},
		settings: func(s *failover.Settings) { s.Cooldown = 0 }},
	{rule: "nothing is decided while an operator has paused", breaks: []string{whilePaused},
		read: func(r *failover.Read) {
			f := *r.Failover
			f.Pause = nil
			r.Failover = &f
		}, often: map[string]int{"pause": 10}},
	{rule: "a region of priority 0 is never promoted", breaks: []string{neverPromoted},
		settings: func(s *failover.Settings) { s.Priority = nil }},
	{rule: "nothing is decided over somebody else's /ofitec/active", breaks: []string{overForeign},
		read:  func(r *failover.Read) { r.Active = strings.ToUpper(string(r.Failover.Active)) },
		often: map[string]int{"write the active region": 10}},
	{rule: "a mandate that returns does so under a new epoch", breaks: []string{otherHistory, epochBack, twoWriters, afterFence, notWhole, stuck},
		swap: func(a *failover.Swap) {
			if a.Next.Phase == state.PhaseSteady && strings.HasPrefix(a.Why, "the failover is given up") {
				a.Next.Epoch -= 2
			}
		}, often: map[string]int{"promotions fail or take long": 10, "switchover": 10}},
	{rule: "the name server refuses a smaller epoch", breaks: []string{nameBack},
		nameIgnoresEpoch: true},
}

var green = (&machine{db: &database{}}).gates()
