package main

import (
	"github.com/prometheus/client_golang/prometheus"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

type metrics struct {
	checks    *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	rounds    *prometheus.CounterVec
	gates     *prometheus.CounterVec
	failures  *prometheus.GaugeVec
	abandoned *prometheus.CounterVec
	events    *prometheus.CounterVec
}

func newMetrics(r *chassismetrics.Registry) *metrics {
	m := &metrics{
		checks: r.CounterVec("checks_total", "Checks by region, kind and outcome.", "target", "check", "outcome"),
		seconds: r.HistogramVec("check_duration_seconds", "How long a check took.",
			[]float64{.002, .005, .01, .025, .05, .1, .2, .4, .8}, "target", "check"),
		rounds:    r.CounterVec("rounds_total", "Rounds by region and verdict.", "target", "verdict"),
		gates:     r.CounterVec("gates_total", "Rounds by region and what its gates were: ok, failed, or unknown, as when Prometheus has no data.", "target", "outcome"),
		failures:  r.GaugeVec("failures_in_row", "Failed rounds in a row.", "target"),
		abandoned: r.CounterVec("abandoned_checks_total", "Checks that did not return in time and were left behind.", "target"),
		events:    r.CounterVec("events_total", "Events by type and what became of them: published, or dropped because the bus was away, they were late, the queue was full, or they were invalid.", "type", "result"),
	}
	for _, target := range events.DataRegions {
		m.failures.WithLabelValues(string(target))
		m.abandoned.WithLabelValues(string(target))
	}
	return m
}

func (m *metrics) checked(target events.Region, kind observation.Kind, result observation.Result) {
	m.checks.WithLabelValues(string(target), string(kind), string(result.Outcome)).Inc()
	m.seconds.WithLabelValues(string(target), string(kind)).Observe(result.Took.Seconds())
}

func (m *metrics) observed(h events.HealthObserved) {
	m.rounds.WithLabelValues(string(h.Target), string(h.Verdict)).Inc()
	if h.Gates != nil {
		m.gates.WithLabelValues(string(h.Target), string(h.Gates.Healthy)).Inc()
	}
	m.failures.WithLabelValues(string(h.Target)).Set(float64(h.FailuresInRow))
}

func (m *metrics) tally(t events.Type, result string) {
	m.events.WithLabelValues(t.Name(), result).Inc()
}
