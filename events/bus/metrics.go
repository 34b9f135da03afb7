package bus

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofitec/ofitec/events"
)

// Metrics measures a service's use of the bus. All its methods may be called on nil, which measures nothing.
type Metrics struct {
	published  *prometheus.CounterVec
	publishing prometheus.Histogram
	deliveries *prometheus.CounterVec
	handling   *prometheus.HistogramVec
	waiting    prometheus.Gauge
}

// NewMetrics registers the metrics: ofitec_bus_published_events_total, ofitec_bus_publish_seconds, ofitec_bus_handled_events_total,
// ofitec_bus_handling_seconds and ofitec_bus_outbox_events.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	bounds := []float64{.0005, .002, .01, .05, .2, 1, 5, 30, 120, 900}
	m := &Metrics{
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ofitec_bus_published_events_total", Help: "Events published, by type and result: stored, duplicate or failed."}, []string{"type", "result"}),
		publishing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ofitec_bus_publish_seconds", Help: "Time until the stream acknowledged an event.", Buckets: bounds}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ofitec_bus_handled_events_total", Help: "Deliveries handled, by type and outcome: acknowledged, retried or parked."}, []string{"type", "outcome"}),
		handling: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ofitec_bus_handling_seconds", Help: "Time that a handler took.", Buckets: bounds}, []string{"type"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ofitec_bus_outbox_events", Help: "Events that are decided but not yet acknowledged by the stream."}),
	}
	for _, collector := range []prometheus.Collector{m.published, m.publishing, m.deliveries, m.handling, m.waiting} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register bus metrics: %w", err)
		}
	}
	return m, nil
}

// label keeps what a malformed message says out of the labels.
func label(t events.Type) string {
	if _, known := events.Lookup(t); known {
		return t.Name()
	}
	return "unknown"
}

func (m *Metrics) publishedOne(t events.Type, receipt Receipt, err error, took time.Duration) {
	if m == nil {
		return
	}
	result := "stored"
	if err != nil {
		result = "failed"
	} else if receipt.Duplicate {
		result = "duplicate"
	}
	m.published.WithLabelValues(label(t), result).Inc()
	m.publishing.Observe(took.Seconds())
}

func (m *Metrics) handled(t events.Type, o outcome, took time.Duration) {
	if m == nil {
		return
	}
	m.deliveries.WithLabelValues(label(t), string(o)).Inc()
	m.handling.WithLabelValues(label(t)).Observe(took.Seconds())
}

func (m *Metrics) outbox(waiting int64) {
	if m != nil {
		m.waiting.Set(float64(waiting))
	}
}
