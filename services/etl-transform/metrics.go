package main

import (
	"github.com/prometheus/client_golang/prometheus"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
)

// metrics are what is counted when it happens. All labels are names of datasets, marts and the stages and outcomes below.
type metrics struct {
	rows, bytes *prometheus.CounterVec   // read from raw files
	loads       *prometheus.CounterVec   // outcome loaded or failed
	rejected    *prometheus.CounterVec   // rows of raw files that went to quarantine
	seconds     *prometheus.HistogramVec // of a stage of a load
	quarantine  *prometheus.GaugeVec     // rows that a mart's checks keep out
	blocked     *prometheus.GaugeVec
	checks      *prometheus.GaugeVec // checks of a mart that fail, by severity
	published   prometheus.Gauge
	altered     *prometheus.CounterVec
	verified    prometheus.Gauge
	sequence    prometheus.Gauge
	active      prometheus.Gauge
}

func newMetrics(r *chassismetrics.Registry) *metrics {
	return &metrics{
		rows:     r.CounterVec("read_rows_total", "Rows read from raw files.", "dataset"),
		bytes:    r.CounterVec("read_bytes_total", "Plain bytes read from raw files.", "dataset"),
		loads:    r.CounterVec("loads_total", "Transactions of the warehouse by outcome: loaded or failed.", "outcome"),
		rejected: r.CounterVec("rejected_rows_total", "Rows of raw files that went to quarantine.", "dataset"),
		seconds: r.HistogramVec("load_duration_seconds", "How long each stage of a load took: read, type, stage, vault, marts, commit, publish.",
			[]float64{.01, .05, .2, 1, 5, 30, 120, 600}, "stage"),
		quarantine: r.GaugeVec("quarantined_rows", "Rows that the checks keep out of a mart.", "mart"),
		blocked:    r.GaugeVec("blocked_mart", "1 while a table check holds a mart back and readers see an earlier load, else 0.", "mart"),
		checks:     r.GaugeVec("failing_checks", "Checks of a mart that failed when it was last refreshed, by severity: error or warn.", "mart", "severity"),
		published:  r.Gauge("published_timestamp_seconds", "When this region has last published the marts."),
		altered:    r.CounterVec("altered_marts_total", "How often a mart that readers have was found changed by somebody else, or lacking; it is replaced.", "mart"),
		verified:   r.Gauge("verified_timestamp_seconds", "When the digests of what readers have were last computed."),
		sequence:   r.Gauge("manifest_sequence", "Last record of the manifest that is in the warehouse."),
		active:     r.Gauge("active_region", "1 while this region is the active one and publishes, else 0."),
	}
}
