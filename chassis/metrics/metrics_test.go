package metrics_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofitec/ofitec/chassis/metrics"
)

func TestANameAgainstTheRuleIsRefused(t *testing.T) {
	r := metrics.New("failover-arbiter")
	for _, name := range []string{"renewals_total", "ofitec_rotator_renewals_total", "ofitec_failover_arbiter_", "ofitec_failover_renewals_total"} {
		counter := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "x"})
		if err := r.Register(counter); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServiceServesItsMetricsWithTheBuildAndTheRuntime(t *testing.T) {
	r := metrics.New("failover-arbiter")
	r.Counter("renewals_total", "Renewals.").Inc()
	r.CounterVec("refusals_total", "Refusals.", "reason").WithLabelValues("epoch").Inc()
	r.Gauge("epoch", "Epoch.").Set(7)
	r.GaugeVec("age_seconds", "Age.", "peer").WithLabelValues("b").Set(1)
	r.HistogramVec("step_seconds", "Steps.", []float64{0.1, 1}, "step").WithLabelValues("fence").Observe(0.5)
	recorder := httptest.NewRecorder()
	r.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ofitec_failover_arbiter_renewals_total 1",
		`ofitec_failover_arbiter_refusals_total{reason="epoch"} 1`,
		"ofitec_failover_arbiter_epoch 7",
		`ofitec_failover_arbiter_age_seconds{peer="b"} 1`,
		`ofitec_failover_arbiter_step_seconds_count{step="fence"} 1`,
		`service="failover-arbiter"`, "go_goroutines", "process_start_time_seconds",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s", want)
		}
	}
}
