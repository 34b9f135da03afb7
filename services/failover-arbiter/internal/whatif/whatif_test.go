package whatif

import (
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func settings(change func(*failover.Settings)) failover.Settings {
	p := timing.Local()
	s := failover.Settings{
		Region: "c", Observers: events.Regions, Shared: p.Shared(), Validity: p.Mandate, Delta: p.Delta, Renew: p.Renew, Deadline: p.RenewDeadline,
		Every: p.ProbeEvery, Failures: p.ProbeFailures, Window: p.ProbeWindow, Restart: p.PostgresRestart, Fresh: 2 * time.Second, GatesRed: 20 * time.Second, MaxLoss: 15 * time.Minute,
		Cooldown: 30 * time.Second, HandOver: 15 * time.Second, PromoteIn: 10 * time.Second, SwitchIn: 10 * time.Second,
	}
	if change != nil {
		change(&s)
	}
	return s
}

// record plays what observers say: a is down in the given times, in seconds.
func record(t *Trial, seconds int, down [][2]float64, facts map[int]events.Payload) Result {
	rows := map[events.Region]int{}
	zero, up, flush := 0.0, true, events.LSN(4096)
	for half := range 2 * seconds {
		at := began.Add(time.Duration(half) * 500 * time.Millisecond)
		now := float64(half) / 2
		if fact, is := facts[half]; is {
			t.Take(fact, at)
		}
		for _, observer := range events.Regions {
			for _, target := range events.DataRegions {
				fails := false
				for _, d := range down {
					fails = fails || target == "a" && now >= d[0] && now < d[1]
				}
				h := events.HealthObserved{
					Observer: observer, Incarnation: "i1", Number: int64(half + 1), Target: target, ObservedAt: at, Verdict: events.OutcomeOK,
					Gates: &events.Gates{Healthy: events.OutcomeOK, P95Seconds: &zero, ErrorRate: &zero, OdooUp: &up, ReplicationLag: &zero},
				}
				if target == "a" {
					rows[observer]++
				}
				if fails {
					h.Verdict, h.FailuresInRow, h.Gates = events.OutcomeFailed, rows[observer], &events.Gates{Healthy: events.OutcomeUnknown}
				} else if target == "a" {
					rows[observer] = 0
				}
				t.Take(h, at)
			}
			if observer != "c" {
				heartbeat := at
				t.Take(events.ReplicationObserved{
					Observer: observer, Incarnation: "i1", Number: int64(half + 1), Target: observer, ObservedAt: at, InRecovery: observer == "b", Timeline: 1,
					FlushLSN: &flush, ReceivedLSN: &flush, HeartbeatAt: &heartbeat,
				}, at)
			}
		}
	}
	return t.Result()
}

func TestOtherThresholdsTradeFailoversForNothingAgainstDetection(t *testing.T) {
	worth := 9300 * time.Millisecond
	down := [][2]float64{{60, 62.5}, {200, 230}} // a hiccup, and an outage
	for _, c := range []struct {
		name              string
		failures          int
		failovers, wasted int
		missed            int
		detect            float64
	}{
		{"as it ran", 3, 2, 1, 0, 1},
		{"more patience", 8, 1, 0, 0, 3.5},
		{"hardly any", 1, 2, 1, 0, 0},
		{"more than the outage lasts", 100, 0, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			trial := New(settings(func(s *failover.Settings) { s.Failures = c.failures }), "a", worth)
			r := record(trial, 300, down, nil)
			missed, outages := r.Missed()
			if len(r.Failovers) != c.failovers || r.Nothing() != c.wasted || missed != c.missed || outages != 1 || r.Ignored != 0 {
				t.Errorf("%d failovers, %d for nothing, %d of %d outages missed, %d ignored: %+v", len(r.Failovers), r.Nothing(), missed, outages, r.Ignored, r)
			}
			if d := r.Detection(); len(d) > 0 && (d[0] < c.detect || d[0] > c.detect+0.6) {
				t.Errorf("detected after %v s, want %v", d, c.detect)
			}
		})
	}
}

func TestAFailoverThatWasRecordedWasNotForNothingAndMovesTheActiveRegion(t *testing.T) {
	name := events.Failover{Epoch: 2, From: "a", To: "b", Cause: events.CauseDown}
	trial := New(settings(nil), "a", time.Minute)
	r := record(trial, 120, [][2]float64{{60, 66}}, map[int]events.Payload{125: events.FailoverStarted{Failover: name}, 130: events.FailoverPromoted{Failover: name}})
	if len(r.Failovers) != 1 || r.Failovers[0].Nothing || len(r.Outages) != 1 || !r.Outages[0].Real || !r.Outages[0].Recorded || !r.Outages[0].Answered {
		t.Errorf("%+v", r)
	}
	if trial.active != "b" || trial.epoch != 2 {
		t.Errorf("region %s is active under epoch %d", trial.active, trial.epoch)
	}
}

func TestTheCooldownHoldsASecondFailoverBackAndSaysSo(t *testing.T) {
	r := record(New(settings(func(s *failover.Settings) { s.Cooldown = 10 * time.Minute }), "a", time.Second), 200, [][2]float64{{60, 65}, {100, 120}}, nil)
	if len(r.Failovers) != 1 || len(r.Outages) != 2 || r.Outages[1].Answered || r.Outages[1].Held != failover.RuleCooldown {
		t.Errorf("%+v", r)
	}
}

func TestAHoleInTheRecordingIsNoOutage(t *testing.T) {
	trial := New(settings(nil), "a", time.Second)
	record(trial, 30, nil, nil)
	zero := 0.0
	trial.Take(events.HealthObserved{
		Observer: "c", Incarnation: "i1", Number: 5000, Target: "a", ObservedAt: began.Add(time.Hour), Verdict: events.OutcomeFailed, FailuresInRow: 900,
		Gates: &events.Gates{Healthy: events.OutcomeUnknown, P95Seconds: &zero},
	}, began.Add(time.Hour))
	if r := trial.Result(); len(r.Failovers) != 0 || len(r.Outages) != 0 {
		t.Errorf("%+v", r)
	}
}
