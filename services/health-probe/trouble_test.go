package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

func TestAPrometheusWithoutDataIsSaidInReadinessAndInOneLogLineAMinuteAndOneThatDoesNotAnswerInOne(t *testing.T) {
	var out bytes.Buffer
	start := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	told := newTroubles("a", slog.New(slog.NewTextHandler(&out, nil)), start)
	state := observation.State{Observer: "c", Incarnation: "i", Target: "a"}
	look := func(after time.Duration, prometheus observation.Result) {
		t.Helper()
		now := start.Add(after)
		_, seen := observation.Decide(state, observation.Round{Number: 1, Deadline: time.Second, Results: map[observation.Kind]observation.Result{
			observation.HTTP: observation.OK(), observation.Postgres: observation.OK(), observation.DNS: observation.OK(), observation.Prometheus: prometheus,
		}}, now)
		told.note(seen.Health, now)
	}
	empty, one := observation.OK(), 1.0
	empty.Readings = &observation.Readings{OdooUp: &one}
	look(time.Second, empty)
	if told.words() != "" || out.Len() > 0 {
		t.Errorf("right after the start it says %q\n%s", told.words(), out.String())
	}
	for n := range 20 {
		look(startGrace+time.Duration(n)*time.Second/2, empty)
	}
	if !strings.Contains(told.words(), "gates: no data for odoo:p95_5m, odoo:error_rate_5m, db:replication_lag_seconds") {
		t.Errorf("readiness says %q", told.words())
	}
	if lines := strings.Count(out.String(), "the gates are unknown"); lines != 1 || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
	for range 20 {
		look(startGrace+time.Minute, observation.Failed("connection refused"))
	}
	if told.words() != "prometheus: connection refused" {
		t.Errorf("readiness says %q", told.words())
	}
	if lines := strings.Count(out.String(), "the check prometheus is not ok"); lines != 1 {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
	full, lag := observation.OK(), 0.0
	full.Readings = &observation.Readings{Healthy: &one, P95: &lag, ErrorRate: &lag, OdooUp: &one, ReplicationLag: &lag}
	look(startGrace+2*time.Minute, full)
	if told.words() != "" || strings.Count(out.String(), "over: ") != 2 {
		t.Errorf("when all is well again it says %q\n%s", told.words(), out.String())
	}
}
