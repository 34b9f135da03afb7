package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// TestWhatCountsForNothingIsCountedByReasonAndSaidOnce hears forty of each kind at once: the counter has them all, the log one line a kind, and nothing comes of them.
func TestWhatCountsForNothingIsCountedByReasonAndSaidOnce(t *testing.T) {
	var log bytes.Buffer
	registry := chassismetrics.New(name)
	p := timing.Local()
	j := &judgement{
		profile: p, hurry: make(chan struct{}, 1), log: slog.New(slog.NewTextHandler(&log, nil)), metrics: newMetrics(registry), state: failover.New(NewConfig().judging(p)),
	}
	say := func(observer events.Region, number int64, age time.Duration) {
		j.hear(failover.Heard{Report: events.HealthObserved{
			Observer: observer, Incarnation: "i1", Number: number, Target: events.RegionA, ObservedAt: time.Now().Add(-age), Verdict: events.OutcomeFailed, FailuresInRow: 99,
		}})
	}
	say(events.RegionB, 1, 0)
	for number := range int64(40) {
		say("x", number+2, 0)
		say(events.RegionB, number+2, time.Minute)
		say(events.RegionB, number+2, -time.Minute)
		say(events.RegionB, 1, 0)
		j.ignore(events.RegionB, failover.ReasonMalformed, errors.New("no event"))
	}
	answer := httptest.NewRecorder()
	registry.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, reason := range failover.Reasons {
		if want := fmt.Sprintf(`observations_ignored_total{reason=%q} 40`, reason); !strings.Contains(answer.Body.String(), want) {
			t.Errorf("the metrics do not have %s", want)
		}
		if lines := strings.Count(log.String(), "reason="+string(reason)); lines != 1 {
			t.Errorf("%s is said in %d lines", reason, lines)
		}
	}
	if status := j.status(); status.Regions[events.RegionA].Failing != 1 || status.Regions[events.RegionA].Down {
		t.Errorf("%+v", status.Regions[events.RegionA])
	}
}
