package failover

import (
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// TestWhatCountsForNothingIsNeverDecisive lets every observer say, over and over and as loudly as it can, that the active region is down, each time with one thing wrong.
func TestWhatCountsForNothingIsNeverDecisive(t *testing.T) {
	for _, c := range []struct {
		name   string
		reason Reason
		spoil  func(h *events.HealthObserved, first events.HealthObserved)
	}{
		{"an unknown observer", ReasonStranger, func(h *events.HealthObserved, _ events.HealthObserved) { h.Observer += "x" }},
		{"an unknown region", ReasonStranger, func(h *events.HealthObserved, _ events.HealthObserved) { h.Target = "x" }},
		{"a region without data", ReasonStranger, func(h *events.HealthObserved, _ events.HealthObserved) { h.Target = events.RegionC }},
		{"a time in the future", ReasonFuture, func(h *events.HealthObserved, _ events.HealthObserved) {
			h.ObservedAt = h.ObservedAt.Add(600 * time.Millisecond)
		}},
		{"a stale time", ReasonStale, func(h *events.HealthObserved, _ events.HealthObserved) {
			h.ObservedAt = h.ObservedAt.Add(-1600 * time.Millisecond)
		}},
		{"a number that was passed", ReasonReplayed, func(h *events.HealthObserved, first events.HealthObserved) { h.Number = first.Number }},
		{"a process that was passed", ReasonReplayed, func(h *events.HealthObserved, first events.HealthObserved) {
			h.Incarnation, h.Number, h.ObservedAt = "older", 1_000_000, first.ObservedAt.Add(-time.Millisecond)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := Instant{Boot: time.Minute, Wall: began}
			s, _ := Decide(New(testSettings(events.RegionC)), Led{Term: 1}, now)
			shared := testSettings(events.RegionC).Shared
			last := map[events.Region]events.HealthObserved{}
			for number := int64(2); number < 120; number++ {
				now.Boot, now.Wall = now.Boot+250*time.Millisecond, now.Wall.Add(250*time.Millisecond)
				for _, observer := range events.Regions {
					well := events.HealthObserved{Observer: observer, Incarnation: "i1", Number: number, Target: events.RegionA, ObservedAt: now.Wall, Verdict: events.OutcomeOK}
					if _, heard := last[observer]; !heard || number%4 == 0 {
						var ignored []Action
						if s, ignored = Decide(s, Heard{well}, now); len(ignored) > 0 {
							t.Fatalf("what is well is ignored: %+v", ignored)
						}
						last[observer] = well
					}
					bad := well
					bad.Number, bad.Verdict, bad.FailuresInRow = number+1, events.OutcomeFailed, 99
					c.spoil(&bad, last[observer])
					var actions []Action
					if s, actions = Decide(s, Heard{bad}, now); len(actions) != 1 || actions[0] != Action(Ignored{Observer: bad.Observer, Reason: c.reason}) {
						t.Fatalf("%+v comes of it, want it ignored: %s", actions, c.reason)
					}
				}
				var actions []Action
				s, actions = Decide(s, Read{
					Failover: &state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseSteady, Since: began}, FailoverRevision: 1, Config: &shared, Active: "A",
					Mandate: &state.Mandate{Owner: events.RegionA, Epoch: 1, Renewal: number, RenewedAt: now.Wall}, MandateRevision: number,
				}, now)
				if len(actions) > 0 || s.Alarm(now) != Calm || s.Status(now).Regions[events.RegionA].Failing > 0 {
					t.Fatalf("%+v comes of what counts for nothing: %+v", actions, s.Status(now))
				}
			}
		})
	}
}
