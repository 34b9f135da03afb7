package main

import (
	"reflect"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	chassis "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// metrics are what the deployer tells Prometheus. Gauges of a rollout are the leader's; others show none.
type metrics struct {
	leader   prometheus.Gauge
	actions  *prometheus.CounterVec
	readings *prometheus.CounterVec
	results  *prometheus.CounterVec
	phase    *prometheus.GaugeVec
	version  *prometheus.GaugeVec
	hot      *prometheus.GaugeVec
	share    *prometheus.GaugeVec
	settled  *prometheus.GaugeVec
	took     *prometheus.HistogramVec
}

var phases = []state.DeploymentPhase{
	state.DeploymentPlanned, state.DeploymentRendered, state.DeploymentStarted, state.DeploymentWatching, state.DeploymentSwitched, state.DeploymentDone, state.DeploymentRolledBack,
}

func newMetrics(r *chassis.Registry) *metrics {
	return &metrics{
		leader:   r.Gauge("leader", "1 while this instance leads, else 0."),
		actions:  r.CounterVec("actions_total", "Actions taken by kind and outcome: done or failed.", "action", "outcome"),
		readings: r.CounterVec("gate_readings_total", "Readings of the gates by verdict: green, red or inconclusive.", "verdict"),
		results:  r.CounterVec("rollouts_total", "Rollouts that have ended by result: done or rolledback.", "result"),
		phase:    r.GaugeVec("rollout_phase", "1 for the phase in which the last rollout is, else 0.", "credential", "phase"),
		version:  r.GaugeVec("rollout_version", "Version of the credential that is, or was last, rolled out.", "credential"),
		hot:      r.GaugeVec("colour_hot", "1 for the colour with traffic, else 0.", "colour"),
		share:    r.GaugeVec("colour_share", "Percent of the traffic that goes to the colour, as the proxy says.", "colour"),
		settled:  r.GaugeVec("rollout_settled", "1 when both colours run on the same version after the last rollout, else 0.", "credential"),
		took: r.HistogramVec("rollout_duration_seconds", "Time from the event to the result.",
			[]float64{5, 10, 20, 40, 60, 120, 300, 600, 900, 1200, 1800, 3600}, "result"),
	}
}

func (m *metrics) acted(action rollout.Action, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.actions.WithLabelValues(kind(action), outcome).Inc()
}

// kind is an action's name in logs and metrics.
func kind(action rollout.Action) string { return strings.ToLower(reflect.TypeOf(action).Name()) }

// ended counts a result once, when it is stored.
func (m *metrics) ended(before, after state.Deployment) {
	if rollout.Ended(after) && (before.Number != after.Number || before.Phase != after.Phase) {
		m.results.WithLabelValues(string(after.Phase)).Inc()
		if after.Started != nil && after.Ended != nil {
			m.took.WithLabelValues(string(after.Phase)).Observe(max(after.Ended.Sub(*after.Started), 0).Seconds())
		}
	}
}

// show puts the rollout into the gauges.
func (m *metrics) show(s state.Deployment, traffic rollout.Traffic, name string) {
	m.leader.Set(1)
	for _, phase := range phases {
		m.phase.WithLabelValues(name, string(phase)).Set(number(s.Phase == phase))
	}
	m.version.WithLabelValues(name).Set(float64(s.Number))
	m.settled.WithLabelValues(name).Set(number(s.Settled))
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		m.hot.WithLabelValues(string(colour)).Set(number(traffic.Hot == colour))
		m.share.WithLabelValues(string(colour)).Set(float64(traffic.Of(colour)))
	}
}

// hide forgets the gauges of a leadership that is over.
func (m *metrics) hide() {
	m.leader.Set(0)
	for _, gauge := range []*prometheus.GaugeVec{m.phase, m.version, m.hot, m.share, m.settled} {
		gauge.Reset()
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
