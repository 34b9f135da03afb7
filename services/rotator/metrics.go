package main

import (
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	chassis "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
)

// metrics are what the rotator tells Prometheus. Gauges of a credential are the leader's; others show none.
type metrics struct {
	leader   prometheus.Gauge
	actions  *prometheus.CounterVec
	versions *prometheus.GaugeVec
	expires  *prometheus.GaugeVec
	deadline *prometheus.GaugeVec
	attempts *prometheus.GaugeVec
	alarm    *prometheus.GaugeVec
	leases   *prometheus.GaugeVec
	users    *prometheus.GaugeVec
	strays   prometheus.Counter
}

func newMetrics(r *chassis.Registry) *metrics {
	return &metrics{
		leader:   r.Gauge("leader", "1 while this instance leads, else 0."),
		actions:  r.CounterVec("actions_total", "Actions taken by kind and outcome: done or failed.", "action", "outcome"),
		versions: r.GaugeVec("credential_versions", "Versions of a credential by stage, ended ones that are remembered included.", "credential", "stage"),
		expires:  r.GaugeVec("credential_expires_timestamp_seconds", "When the lease of the version in use ends unless it is renewed.", "credential"),
		deadline: r.GaugeVec("credential_deadline_timestamp_seconds", "max_ttl of the version in use: no renewal goes past it.", "credential"),
		attempts: r.GaugeVec("credential_attempts_left", "How many rollouts still fit before the deadline of the version in use.", "credential"),
		alarm:    r.GaugeVec("credential_alarm", "1 while the credential is in that alarm: warn or page.", "credential", "level"),
		leases:   r.GaugeVec("credential_leases", "Living leases of the credential's role in Vault, as last compared with the recorded versions.", "credential"),
		users:    r.GaugeVec("credential_users", "Users in the database that Vault has made for the credential, as last seen when one was ended.", "credential"),
		strays:   r.Counter("stray_leases_total", "Leases that nobody had recorded, since their maker died, and that were ended."),
	}
}

func (m *metrics) acted(action rotation.Action, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.actions.WithLabelValues(strings.ToLower(reflect.TypeOf(action).Name()), outcome).Inc()
}

// show puts the state into the gauges.
func (m *metrics) show(s state.Credential, p rotation.Policy, now time.Time) {
	m.leader.Set(1)
	counts := map[state.Stage]int{}
	for _, v := range s.Versions {
		counts[v.Stage]++
		if v.Stage == state.StageCurrent && v.Lease != "" {
			m.expires.WithLabelValues(p.Name).Set(float64(v.ExpiresAt.UnixMilli()) / 1000)
			m.deadline.WithLabelValues(p.Name).Set(float64(v.DeadlineAt.UnixMilli()) / 1000)
			m.attempts.WithLabelValues(p.Name).Set(float64(rotation.AttemptsLeft(v, p, now)))
		}
	}
	for _, stage := range state.Stages {
		m.versions.WithLabelValues(p.Name, string(stage)).Set(float64(counts[stage]))
	}
	for _, level := range []string{"warn", "page"} {
		on := 0.0
		if s.Alarm == level {
			on = 1
		}
		m.alarm.WithLabelValues(p.Name, level).Set(on)
	}
}

// hide forgets the gauges of a leadership that is over.
func (m *metrics) hide() {
	m.leader.Set(0)
	for _, gauge := range []*prometheus.GaugeVec{m.versions, m.expires, m.deadline, m.attempts, m.alarm, m.leases, m.users} {
		gauge.Reset()
	}
}
