package events

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestAnObservationWritesTheBytesOfEncodingJSON(t *testing.T) {
	number := func(f float64) *float64 { return &f }
	up := false
	at := time.Date(2026, 3, 2, 9, 30, 0, 123456789, time.FixedZone("", -3*3600))
	for _, text := range []string{"", "plain", "<b>&\"quoted\"\\", "línea\n\u2028", "\xff"} {
		for _, f := range []float64{0, math.Copysign(0, -1), 1, 0.1, 1e-7, 1e-6, 1e21, 1e20, -3.25, math.MaxFloat64, math.SmallestNonzeroFloat64} {
			for _, p := range []HealthObserved{
				{},
				{Observer: "c", Incarnation: text, Number: -4, Target: "a", ObservedAt: at, Verdict: OutcomeOK, FailuresInRow: 3, SuccessesInRow: 4},
				{Incarnation: text, Resolved: text, ObservedAt: at.UTC(), Checks: Checks{Postgres: &CheckResult{Reason: text, Latency: f}}, Gates: &Gates{}},
				{Checks: Checks{HTTP: &CheckResult{Outcome: "ok", Latency: f}, Prometheus: &CheckResult{}, DNS: &CheckResult{Reason: text}},
					Gates: &Gates{Healthy: "ok", Reason: text, P95Seconds: number(f), ErrorRate: number(f), OdooUp: &up, ReplicationLag: number(f)}},
			} {
				want, err := json.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				got, err := marshal(p)
				if err != nil || string(got) != string(want) {
					t.Fatalf("wrote\n%s, want\n%s (%v)", got, want, err)
				}
			}
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1)} {
		if _, err := marshal(HealthObserved{Gates: &Gates{P95Seconds: number(f)}}); err == nil {
			t.Errorf("%v was written", f)
		}
	}
}
