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
	differ   *prometheus.GaugeVec
	when     *prometheus.GaugeVec
	strays   prometheus.Counter
	orphans  prometheus.Counter
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
		users:    r.GaugeVec("credential_users", "Users in the database that Vault has made for the credential, as last seen when one was ended or all were compared.", "credential"),
		differ:   r.GaugeVec("credential_differences", "What the last comparison found: lease_unrecorded and user_unrecorded (ended, or fenced), lease_lost and user_lost (recorded, and not there).", "credential", "what"),
		when:     r.GaugeVec("credential_compared_timestamp_seconds", "When leases, and when users, were last compared with the book.", "credential", "what"),
		orphans:  r.Counter("orphan_users_total", "Users in the database that nobody had recorded, since Vault has forgotten them, and that may log in no more."),
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

// compared puts a comparison into the gauges.
func (m *metrics) compared(name string, d differences, users bool, now time.Time) {
	at := float64(now.UnixMilli()) / 1000
	m.leases.WithLabelValues(name).Set(float64(d.leases))
	m.when.WithLabelValues(name, "leases").Set(at)
	m.differ.WithLabelValues(name, "lease_unrecorded").Set(float64(d.strays))
	m.differ.WithLabelValues(name, "lease_lost").Set(float64(len(d.lost)))
	if users {
		m.users.WithLabelValues(name).Set(float64(d.users))
		m.when.WithLabelValues(name, "users").Set(at)
		m.differ.WithLabelValues(name, "user_unrecorded").Set(float64(d.orphans))
		m.differ.WithLabelValues(name, "user_lost").Set(float64(d.lostUsers))
	}
}

// hide forgets the gauges of a leadership that is over.
func (m *metrics) hide() {
	m.leader.Set(0)
	for _, gauge := range []*prometheus.GaugeVec{m.versions, m.expires, m.deadline, m.attempts, m.alarm, m.leases, m.users, m.differ, m.when} {
		gauge.Reset()
	}
}
