package main

import (
	"github.com/prometheus/client_golang/prometheus"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
)

// metrics are what is counted when it happens. All labels are names of datasets and the outcomes below.
type metrics struct {
	rows, bytes *prometheus.CounterVec
	pages       *prometheus.CounterVec // outcome stored or seen
	pulls       *prometheus.CounterVec // outcome done, absent or failed
	seconds     *prometheus.HistogramVec
	cursor      *prometheus.GaugeVec
	fresh       *prometheus.GaugeVec
	sequence    prometheus.Gauge
	active      prometheus.Gauge
	failing     prometheus.Gauge
	absent      *prometheus.CounterVec
	asserted    *prometheus.CounterVec
	reconciled  *prometheus.CounterVec
	misplaced   *prometheus.CounterVec
	unknown     *prometheus.GaugeVec
	drifts      *prometheus.CounterVec
	dropped     *prometheus.CounterVec // outcome taken or refused
	announced   *prometheus.CounterVec // outcome taken, unsigned, wrong, elsewhere or unknown
}

func newMetrics(r *chassismetrics.Registry) *metrics {
	return &metrics{
		rows:  r.CounterVec("received_rows_total", "Rows received, those of pages that were seen before included.", "dataset"),
		bytes: r.CounterVec("received_bytes_total", "Plain bytes received.", "dataset"),
		pages: r.CounterVec("pages_total", "Pages by outcome: stored in a raw file, or seen before.", "dataset", "outcome"),
		pulls: r.CounterVec("pulls_total", "Pulls by outcome: done, absent (the server does not offer the dataset), failed.", "dataset", "outcome"),
		seconds: r.HistogramVec("pull_duration_seconds", "How long a pull of a dataset took.",
			[]float64{.05, .2, 1, 5, 30, 120, 600, 3600}, "outcome"),
		cursor:     r.GaugeVec("cursor_timestamp_seconds", "The write_date up to which a dataset was read.", "dataset"),
		fresh:      r.GaugeVec("source_clock_timestamp_seconds", "The source's clock at the last pull that was done: how fresh the dataset is.", "dataset"),
		sequence:   r.Gauge("manifest_sequence", "Last record of the manifest that this process has announced."),
		failing:    r.Gauge("failing_parts", "How many datasets, or parts that all need, did not work in the last run."),
		absent:     r.CounterVec("absent_rows_total", "Rows that reconciliations found to be no more.", "dataset"),
		asserted:   r.CounterVec("asserted_rows_total", "Rows that reconciliations read again.", "dataset"),
		reconciled: r.CounterVec("reconciliations_total", "Reconciliations by outcome: agrees, differs (something changed meanwhile), failed.", "dataset", "outcome"),
		misplaced:  r.CounterVec("misplaced_rows_total", "Rows received without a readable key or write_date; whoever loads them rejects them.", "dataset"),
		unknown:    r.GaugeVec("unknown_columns", "Columns of the last page that the models do not name.", "dataset"),
		drifts:     r.CounterVec("schema_changes_total", "Pages whose columns were not those of the page before.", "dataset"),
		announced:  r.CounterVec("announcements_total", "Announcements by Odoo: taken, unsigned, wrong (no such dataset), elsewhere (this region does not read), unknown (the secret is not there yet).", "outcome"),
		dropped:    r.CounterVec("dropped_files_total", "Files in the drop folder by outcome: taken or refused.", "dataset", "outcome"),
		active:     r.Gauge("active_region", "1 while this region is the active one and pulls, else 0."),
	}
}
