package failover

import (
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// BenchmarkDecideHeard replays the observations of three observers of two regions, twice a second each, as the bus brings them; a leader reads between them as often as it does
// in production, so that what is measured is the whole decision. bench/failover runs it.
func BenchmarkDecideHeard(b *testing.B) {
	settings := testSettings(events.RegionC)
	s := New(settings)
	now := Instant{Boot: time.Second, Wall: began}
	zero, up := 0.0, true
	green := &events.Gates{Healthy: events.OutcomeOK, P95Seconds: &zero, ErrorRate: &zero, OdooUp: &up, ReplicationLag: &zero}
	shared := settings.Shared
	s, _ = Decide(s, Led{Term: 1}, now)
	number, decided := int64(1), 0
	steady := state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseSteady, Since: began}
	for b.Loop() {
		for _, observer := range events.Regions {
			for _, target := range events.DataRegions {
				var actions []Action
				s, actions = Decide(s, Heard{events.HealthObserved{
					Observer: observer, Incarnation: "i1", Number: number, Target: target, ObservedAt: now.Wall, Verdict: events.OutcomeOK, SuccessesInRow: int(number), Gates: green,
				}}, now)
				decided += len(actions)
			}
		}
		s, _ = Decide(s, Read{
			Failover: &steady, FailoverRevision: 1, Config: &shared, Active: "A", MandateRevision: number + 1,
			Mandate: &state.Mandate{Owner: events.RegionA, Epoch: 1, Renewal: number, RenewedAt: now.Wall},
		}, now)
		number++
		now.Boot, now.Wall = now.Boot+500*time.Millisecond, now.Wall.Add(500*time.Millisecond)
	}
	if decided > 0 {
		b.Fatalf("%d observations counted for nothing", decided)
	}
	b.ReportMetric(float64(b.N)*6/b.Elapsed().Seconds(), "observations/s")
}
