package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// metrics are what is counted when it happens.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	swaps   *prometheus.CounterVec
	held    *prometheus.CounterVec
	ignored *prometheus.CounterVec
	times   *prometheus.GaugeVec
}

func newMetrics(registry *chassismetrics.Registry) *metrics {
	m := &metrics{
		requests: registry.CounterVec("etcd_requests_total", "Requests for the mandate by outcome: renewed, refused (a comparison failed), failed, read.", "outcome"),
		seconds: registry.HistogramVec("etcd_request_duration_seconds", "How long etcd took to answer a request for the mandate.",
			[]float64{.005, .01, .025, .05, .1, .2, .4, .8, 1.6}, "outcome"),
	}
	m.swaps = registry.CounterVec("swaps_total", "Writes of this arbiter as the leader by outcome: written, refused (another one wrote, or its term is over), failed.", "outcome")
	m.held = registry.CounterVec("held_total", "How often a rule was announced that holds a failover back.", "rule")
	m.ignored = registry.CounterVec("observations_ignored_total", "Observations that count for nothing, by reason.", "reason")
	m.times = registry.GaugeVec("last_failover_seconds", "Parts of the last failover that this arbiter completed.", "part")
	for _, outcome := range []string{"written", "refused", "failed"} {
		m.swaps.WithLabelValues(outcome)
	}
	for _, reason := range failover.Reasons {
		m.ignored.WithLabelValues(string(reason))
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

// announced counts what goes out with a step.
func (m *metrics) announced(list []failover.Announcement) {
	for _, a := range list {
		switch e := a.Payload.(type) {
		case events.FailoverHeld:
			m.held.WithLabelValues(e.Rule).Inc()
		case events.FailoverCompleted:
			for part, seconds := range map[string]float64{
				"detect": e.Times.Detect, "decide": e.Times.Decide, "fence": e.Times.Fence, "promote": e.Times.Promote, "switch": e.Times.Switch, "total": e.Times.Total,
			} {
				m.times.WithLabelValues(part).Set(seconds)
			}
			if stale := e.Times.LastStaleClient; stale != nil {
				m.times.WithLabelValues("last_stale_client").Set(*stale)
			}
		}
	}
}

const prefix = "ofitec_failover_arbiter_"

var (
	descHolds     = prometheus.NewDesc(prefix+"holds_mandate", "1 while /mandate answers yes, else 0.", nil, nil)
	descRenewed   = prometheus.NewDesc(prefix+"mandate_renewed_timestamp_seconds", "When the mandate was last renewed, on its holder's clock, as read from etcd; missing until one was seen.", nil, nil)
	descEpoch     = prometheus.NewDesc(prefix+"epoch", "Epoch of the state in etcd; missing until one was seen.", nil, nil)
	descRemaining = prometheus.NewDesc(prefix+"mandate_remaining_seconds", "How long this region's own mandate is still valid; 0 without one.", nil, nil)
	descStandby   = prometheus.NewDesc(prefix+"standby", "1 while /standby answers yes, else 0; only in regions with data.", nil, nil)
	descLeads     = prometheus.NewDesc(prefix+"leads", "1 while this arbiter leads, else 0.", nil, nil)
	descPhase     = prometheus.NewDesc(prefix+"phase", "1 for the phase of the state in etcd, 0 for all others; missing until one was seen.", []string{"phase"}, nil)
	descDeadline  = prometheus.NewDesc(prefix+"step_deadline_timestamp_seconds", "Deadline of the step under way, on the leader's clock; missing when none is.", nil, nil)
	descAlarm     = prometheus.NewDesc(prefix+"held", "1 for the rule that holds a failover back, as the state in etcd has it; missing when none does.", []string{"rule"}, nil)
	descFresh     = prometheus.NewDesc(prefix+"fresh_observers", "Observers of a region that were heard lately.", []string{"target"}, nil)
	descExposed   = prometheus.NewDesc(prefix+"loss_exposed_seconds", "The most that a failover without a receipt would lose now, with what the holder may commit after its last renewal; absent while unknown.", nil, nil)
	descFailing   = prometheus.NewDesc(prefix+"failing_observers", "Observers of a region that were heard lately and have seen enough failures in a row.", []string{"target"}, nil)
	descWitness   = prometheus.NewDesc(prefix+"witness_attached", "1 while this arbiter confirms the commits of its database, else 0; only where it is a witness.", nil, nil)
	descSync      = prometheus.NewDesc(prefix+"synchronous", "Synchronous replication, as the state in etcd has it: 1 for wanted when an operator has asked for it, for waits when commits wait for the standby, for promised when the standby has everything that was acknowledged.", []string{"is"}, nil)
	descArchived  = prometheus.NewDesc(prefix+"archived_timestamp_seconds", "When a segment of WAL was last archived; only of the region that holds the mandate, missing until one was.", nil, nil)
	descWaiting   = prometheus.NewDesc(prefix+"archive_waiting_segments", "Segments of WAL that wait to be archived; only of the region that holds the mandate.", nil, nil)
	descHoles     = prometheus.NewDesc(prefix+"archive_missing_segments", "Segments of WAL that the archive lacks since the newest base backup, when it was last looked at; only of the region that holds the mandate.", nil, nil)
	descBackup    = prometheus.NewDesc(prefix+"backup_timestamp_seconds", "When the newest base backup was made; only of the region that holds the mandate, 0 without one.", nil, nil)
	descActs      = prometheus.NewDesc(prefix+"acts_total", "What the hands have done: opened and closed pools of the proxy, fences, stops of the database, promotions, handovers, rejoins, reports written, failures of these.", []string{"act"}, nil)
)

// collector reads what was published last when Prometheus asks.
type collector struct{ *arbiter }

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descHolds, descRenewed, descEpoch, descRemaining, descStandby, descActs, descLeads, descPhase, descDeadline, descAlarm, descFresh, descFailing, descExposed,
		descWitness, descSync, descArchived, descWaiting, descHoles, descBackup,
	} {
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
	c.judged(gauge, to)
	if c.hands == nil {
		return
	}
	c.kept(gauge)
	if c.witness != nil {
		gauge(descWitness, one(c.witness.Attached()))
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

// kept tells of the archive.
func (c *collector) kept(gauge func(*prometheus.Desc, float64)) {
	if c.archivist == nil {
		return
	}
	known := c.archivist.seen()
	if !known.holds {
		return
	}
	gauge(descWaiting, float64(known.state.Waiting))
	if last := known.state.Last; last != nil {
		gauge(descArchived, float64(last.UnixNano())/1e9)
	}
	if known.looked {
		gauge(descHoles, float64(known.holes))
		gauge(descBackup, float64(max(known.newest.Unix(), 0)))
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// judged tells of the newest judgement.
func (c *collector) judged(gauge func(*prometheus.Desc, float64), to chan<- prometheus.Metric) {
	labelled := func(d *prometheus.Desc, value float64, label string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
	}
	status := c.judgement.status()
	gauge(descLeads, one(status.Term != 0))
	for _, region := range events.DataRegions {
		labelled(descFresh, float64(status.Regions[region].Fresh), string(region))
		labelled(descFailing, float64(status.Regions[region].Failing), string(region))
	}
	f := status.Failover
	if f == nil {
		return
	}
	for _, phase := range state.Phases {
		labelled(descPhase, one(f.Phase == phase), string(phase))
	}
	labelled(descSync, one(f.SyncWanted == state.SyncOn), "wanted")
	labelled(descSync, one(f.Sync.Waits()), "waits")
	labelled(descSync, one(f.Sync == state.SyncOn), "promised")
	if f.Intent != nil {
		gauge(descDeadline, float64(f.Intent.Deadline.UnixNano())/1e9)
	}
	if status.Loss.Exposed != nil {
		gauge(descExposed, *status.Loss.Exposed)
	}
	if f.Held != nil {
		labelled(descAlarm, 1, f.Held.Rule)
	}
}
