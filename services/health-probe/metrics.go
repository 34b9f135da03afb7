package main

import (
	"github.com/prometheus/client_golang/prometheus"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/monitor"
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
	offsets   *prometheus.GaugeVec
	serves    *prometheus.GaugeVec
	bytes     *prometheus.GaugeVec
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
	m.offsets = r.GaugeVec("clock_offset_seconds", "The wall clock of a region's database minus this observer's, as of the last look; missing while the database does not tell it.", "target")
	m.serves = r.GaugeVec("nats_jetstream", "1 for on while the NATS server of this region serves JetStream, 0 while it has turned it off; missing while it does not answer.", "is")
	m.bytes = r.GaugeVec("nats_storage_bytes", "What the JetStream of this region's NATS server has stored, and the most that it may; missing while it does not tell.", "is")
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

// clock says how far a region's clock is off; a database that does not tell says nothing of it.
func (m *metrics) clock(target events.Region, database *observation.Database) {
	if database == nil {
		m.offsets.DeleteLabelValues(string(target))
		return
	}
	m.offsets.WithLabelValues(string(target)).Set(database.ClockOffset.Seconds())
}

func (m *metrics) observed(h events.HealthObserved) {
	m.rounds.WithLabelValues(string(h.Target), string(h.Verdict)).Inc()
	if h.Gates != nil {
		m.gates.WithLabelValues(string(h.Target), string(h.Gates.Healthy)).Inc()
	}
	m.failures.WithLabelValues(string(h.Target)).Set(float64(h.FailuresInRow))
}

// stores says what the region's NATS server holds; one that does not answer says nothing.
func (m *metrics) stores(s monitor.Storage, told bool) {
	if !told || !s.Serves {
		m.bytes.Reset()
	}
	if !told {
		m.serves.Reset()
		return
	}
	if !s.Serves {
		m.serves.WithLabelValues("on").Set(0)
		return
	}
	m.serves.WithLabelValues("on").Set(1)
	m.bytes.WithLabelValues("stored").Set(float64(s.Stored))
	m.bytes.WithLabelValues("limit").Set(float64(s.Limit))
}

func (m *metrics) tally(t events.Type, result string) {
	m.events.WithLabelValues(t.Name(), result).Inc()
}
