package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
)

// metrics are what is counted when it happens.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(registry *chassismetrics.Registry) *metrics {
	m := &metrics{
		requests: registry.CounterVec("etcd_requests_total", "Requests for the mandate by outcome: renewed, refused (a comparison failed), failed, read.", "outcome"),
		seconds: registry.HistogramVec("etcd_request_duration_seconds", "How long etcd took to answer a request for the mandate.",
			[]float64{.005, .01, .025, .05, .1, .2, .4, .8, 1.6}, "outcome"),
	}
	for _, outcome := range []string{"renewed", "refused", "failed", "read"} {
		m.requests.WithLabelValues(outcome)
	}
	return m
}

func (m *metrics) tally(outcome string, took time.Duration) {
	m.requests.WithLabelValues(outcome).Inc()
	m.seconds.WithLabelValues(outcome).Observe(took.Seconds())
}

const prefix = "ofitec_failover_arbiter_"

var (
	descHolds     = prometheus.NewDesc(prefix+"holds_mandate", "1 while /mandate answers yes, else 0.", nil, nil)
	descRenewed   = prometheus.NewDesc(prefix+"mandate_renewed_timestamp_seconds", "When the mandate was last renewed, on its holder's clock, as read from etcd; missing until one was seen.", nil, nil)
	descEpoch     = prometheus.NewDesc(prefix+"epoch", "Epoch of the state in etcd; missing until one was seen.", nil, nil)
	descRemaining = prometheus.NewDesc(prefix+"mandate_remaining_seconds", "How long this region's own mandate is still valid; 0 without one.", nil, nil)
	descStandby   = prometheus.NewDesc(prefix+"standby", "1 while /standby answers yes, else 0; only in regions with data.", nil, nil)
	descActs      = prometheus.NewDesc(prefix+"acts_total", "What the hands have done: opened and closed pools of the proxy, fences, stops of the database, promotions, handovers, rejoins, reports written, failures of these.", []string{"act"}, nil)
)

// collector reads what was published last when Prometheus asks.
type collector struct{ *arbiter }

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHolds, descRenewed, descEpoch, descRemaining, descStandby, descActs} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	view, now := c.keeper.View(), clock.Now()
	holds, _ := view.Answer.Yes(now)
	gauge(descHolds, one(holds))
	gauge(descRemaining, max(view.Until-now.Boot, 0).Seconds())
	if view.Mandate != nil {
		gauge(descRenewed, float64(view.Mandate.RenewedAt.UnixNano())/1e9)
		gauge(descEpoch, float64(view.Epoch))
	}
	if c.hands == nil {
		return
	}
	standby, _ := c.hands.Standby()
	gauge(descStandby, one(standby))
	counts := c.hands.Counts()
	for act, n := range map[string]int64{
		"open": counts.Openings.Load(), "close": counts.Closings.Load(), "fence": counts.Fences.Load(), "stop": counts.Stops.Load(), "failure": counts.Failures.Load(),
		"promotion": counts.Promotions.Load(), "handover": counts.Handovers.Load(), "rejoin": counts.Rejoins.Load(), "report": counts.Reports.Load(),
	} {
		to <- prometheus.MustNewConstMetric(descActs, prometheus.CounterValue, float64(n), act)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
