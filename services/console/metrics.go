package main

import (
	"github.com/prometheus/client_golang/prometheus"

	chassis "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/services/console/internal/page"
)

// metrics are what the console tells Prometheus.
type metrics struct {
	refused  *prometheus.CounterVec
	commands *prometheus.CounterVec
	sources  *prometheus.GaugeVec
	facts    prometheus.Gauge
}

func newMetrics(r *chassis.Registry, door *page.Door, stream *page.Stream) *metrics {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: r.Name("sessions"), Help: "Sessions that are open."}, func() float64 { return float64(door.Sessions()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: r.Name("streams"), Help: "Browsers that listen."}, func() float64 { return float64(stream.Open()) }),
	)
	return &metrics{
		refused:  r.CounterVec("requests_refused_total", "Requests refused by reason: session, host or forgery.", "reason"),
		commands: r.CounterVec("commands_total", "Commands of the page by verb and outcome: sent or failed.", "verb", "outcome"),
		sources:  r.GaugeVec("source_up", "1 while a source of the page's knowledge answers, else 0.", "source"),
		facts:    r.Gauge("last_fact_sequence", "Sequence of the last event of FACTS that is on the page."),
	}
}

func (m *metrics) commanded(verb string, err error) {
	outcome := "sent"
	if err != nil {
		outcome = "failed"
	}
	m.commands.WithLabelValues(verb, outcome).Inc()
}

func (m *metrics) source(name, reason string) {
	up := 1.0
	if reason != "" {
		up = 0
	}
	m.sources.WithLabelValues(name).Set(up)
}
