// Package boardtest has a recorded day of the three regions, for tests: a failover from a to b, a rotation, exports and a year of months.
package boardtest

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/console/internal/board"
)

// Day is a board's inputs in order, as they had come up to now.
func Day(now time.Time) []board.Input {
	d := &day{now: now}
	d.boot()
	d.exports(now.Add(-5*time.Hour), 1)
	d.failover(now.Add(-3*time.Hour - 12*time.Minute))
	d.rotation(now.Add(-52 * time.Minute))
	d.exports(now.Add(-7*time.Minute), 2)
	d.documents()
	d.observations()
	for _, r := range events.Regions {
		d.add(board.Answer{Region: r, Reached: true, Mandate: r == events.RegionB, Standby: r == events.RegionA})
	}
	d.warehouse()
	for _, source := range []string{"etcd", "bus", "warehouse", "analytics"} {
		d.add(board.Answers{Name: source})
	}
	return d.inputs
}

type day struct {
	now      time.Time
	inputs   []board.Input
	sequence uint64
}

func (d *day) add(input board.Input) { d.inputs = append(d.inputs, input) }

// Fact makes an input of a payload that has just been published.
func Fact(sequence uint64, region events.Region, service string, at time.Time, payload events.Payload) board.Fact {
	event, err := events.New(events.Origin{Region: region, Service: service}, at, payload)
	if err != nil {
		panic(fmt.Sprintf("the recorded day has a wrong event: %v", err))
	}
	return board.Fact{Sequence: sequence, Event: event, Payload: payload}
}

func (d *day) fact(region events.Region, service string, at time.Time, payload events.Payload) {
	d.sequence++
	d.add(Fact(d.sequence, region, service, at, payload))
}

func p[T any](v T) *T { return &v }

func (d *day) boot() {
	at := d.now.Add(-26 * time.Hour)
	f := events.Failover{Epoch: 1, To: "a", Cause: events.CauseBoot}
	d.fact("a", "failover-arbiter", at, events.FailoverStarted{Failover: f, DecidedAt: at, Rule: "first", Leader: "c", Term: 12, Loss: events.LossBound{}})
	d.fact("a", "failover-arbiter", at.Add(time.Second), events.FailoverPromoted{Failover: f, PromotedAt: at.Add(time.Second), Timeline: 1, LSN: 0x16B3748})
}

func (d *day) failover(at time.Time) {
	f := events.Failover{Epoch: 2, From: "a", To: "b", Cause: events.CauseDown}
	loss := events.LossBound{Seconds: p(0.3), Bytes: p(int64(0))}
	seen := func(observer events.Region, number int64) events.Evidence {
		health := d.health(observer, "a", number, at, events.OutcomeFailed)
		return events.Evidence{Observer: observer, Incarnation: health.Incarnation, Number: number, AgeSeconds: 0.2, Health: &health}
	}
	d.fact("c", "failover-arbiter", at, events.FailoverStarted{Failover: f, DecidedAt: at, Rule: "majority-down", Leader: "c", Term: 4711, Loss: loss, Evidence: []events.Evidence{seen("b", 812), seen("c", 811)}})
	d.fact("c", "failover-arbiter", at.Add(3900*time.Millisecond), events.FailoverFenced{Failover: f, FencedAt: at.Add(3900 * time.Millisecond), Manner: "expired", Loss: loss, Waited: 3.9})
	d.fact("c", "failover-arbiter", at.Add(4800*time.Millisecond), events.FailoverPromoted{Failover: f, PromotedAt: at.Add(4800 * time.Millisecond), Timeline: 2, LSN: 0x5000148})
	d.fact("c", "failover-arbiter", at.Add(5300*time.Millisecond), events.FailoverSwitched{Failover: f, SwitchedAt: at.Add(5300 * time.Millisecond), Name: "erp.ofitec.test", Address: "127.0.0.12", TTLSeconds: 1, Provider: "rfc2136"})
	d.fact("c", "failover-arbiter", at.Add(6800*time.Millisecond), events.FailoverCompleted{
		Failover: f, CompletedAt: at.Add(6800 * time.Millisecond), Loss: loss, CooldownSeconds: 120,
		Times: events.RecoveryTimes{Detect: 1.7, Decide: 0.2, Fence: 3.9, Promote: 0.9, Switch: 0.5, LastStaleClient: p(1.1), Total: 7.2},
	})
	rejoined := at.Add(14 * time.Minute)
	d.fact("a", "failover-arbiter", rejoined, events.FailoverRejoined{Epoch: 2, Region: "a", RejoinedAt: rejoined, Manner: "rebuilt", Timeline: 2, ForkLSN: 0x5000148, Discarded: 0})
}

func credential(version int64) events.Credential {
	return events.Credential{Name: "odoo-app", Kind: events.CredentialDatabase, Version: version, Path: "ofitec/credentials/odoo-app", Fingerprint: fmt.Sprintf("%064x", 0xabc0+version)}
}

func (d *day) rotation(at time.Time) {
	lease := events.Lease{TTLSeconds: 3600, ExpiresAt: at.Add(time.Hour), DeadlineAt: at.Add(24 * time.Hour)}
	d.fact("b", "rotator", at, events.CredentialRotated{Credential: credential(3), Lease: lease, Previous: 2, Trigger: "job", Act: &events.Act{Actor: "operator", Reason: "quarterly exercise", Request: "r-41", At: at}})
	for n, r := range []events.Region{"b", "a"} {
		begun := at.Add(time.Duration(1+n*35) * time.Second)
		d.fact(r, "deployer", begun.Add(34*time.Second), events.CredentialDeployed{Previous: 2, Rollout: events.Rollout{
			Credential: credential(3), Region: r, Colour: "green", Standby: r == "a", Started: begun, Ended: begun.Add(34 * time.Second), Readings: events.Readings{Green: 6},
		}})
	}
	ended := at.Add(83 * time.Second)
	d.fact("b", "rotator", ended, events.CredentialRevoked{Credential: credential(2), Manner: "revoked", Cause: "superseded", RevokedAt: ended, SessionsEnded: 2, DrainedProven: true, DrainSeconds: 11})
	renewed := at.Add(40 * time.Minute)
	d.fact("b", "rotator", renewed, events.CredentialRenewed{Credential: credential(3), Renewal: 1, Lease: events.Lease{TTLSeconds: 3600, ExpiresAt: renewed.Add(time.Hour), DeadlineAt: lease.DeadlineAt}})
}

var datasets = []string{"budget_line", "cash_balance", "cashflow_line", "cost_line", "currency_rate", "invoice", "partner", "partner_contact", "payment", "payment_allocation", "project", "site_progress"}

func (d *day) exports(at time.Time, load int64) {
	asof := events.AsOf{Epoch: events.Epoch(load), SourceClock: at}
	region := events.Region("a")
	if load > 1 {
		region = "b"
	}
	var batches []string
	for n, name := range datasets {
		rows := int64(n * 3 % 11)
		if load == 1 {
			rows = int64(40 + n*137)
		}
		batch := fmt.Sprintf("b%d-%d", load, n)
		batches = append(batches, "export.ready."+name+"."+batch)
		d.fact(region, "etl-ingest", at.Add(time.Duration(n)*200*time.Millisecond), events.ExportReady{
			Dataset: name, Region: region, Batch: batch, RawURL: "s3://ofitec-raw/" + name + "/x", Format: "csv", Kind: "rows", SHA256: fmt.Sprintf("%064x", n+1),
			Rows: rows, Bytes: 900 + rows*118, AsOf: asof, Sequence: load*100 + int64(n),
		})
	}
	after := at.Add(4 * time.Second)
	l := events.Load{Region: region, Load: load, Sequence: load*100 + 11}
	d.fact(region, "etl-transform", after, events.WarehouseLoaded{Load: l, Batches: batches, Read: events.Volume{Rows: 4200, Bytes: 1 << 19}, Written: events.Volume{Rows: 5120, Bytes: 1 << 20}, Loaded: after})
	d.fact(region, "etl-transform", after.Add(time.Second), events.WarehouseChecked{Load: l, Checked: after.Add(time.Second), Version: "9f2c", Marts: []events.CheckCount{{Mart: "mart_fact_sales", Passed: 2, Failed: int(load - 1), Quarantined: 3 * (load - 1)}, {Mart: "mart_fact_cashflow", Passed: 2}}})
	d.fact(region, "etl-transform", after.Add(2*time.Second), events.WarehousePublished{Load: l, Published: after.Add(2 * time.Second), Seconds: 0.42, AsOf: asof, Marts: []events.PublishedMart{{Mart: "mart_fact_sales", Rows: 812, Digest: "d1"}, {Mart: "mart_kpi_company", Rows: 24, Digest: "d2"}}})
}

func (d *day) documents() {
	minted := d.now.Add(-52 * time.Minute)
	old := d.now.Add(-14 * time.Hour)
	next := minted.Add(14*time.Hour + 20*time.Minute)
	heartbeat := d.now.Add(-200 * time.Millisecond)
	received := heartbeat.Add(-100 * time.Millisecond)
	d.add(board.Documents{
		Failover:        &state.Failover{Epoch: 2, Active: "b", Phase: state.PhaseSteady, Since: d.now.Add(-3 * time.Hour)},
		Mandate:         &state.Mandate{Owner: "b", Epoch: 2, Incarnation: "f.p", Renewal: 23000, RenewedAt: d.now, HeartbeatNumber: 1, HeartbeatAt: &heartbeat},
		MandateRevision: 99001, Config: &state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001},
		Reports: []state.Report{
			{Region: "a", Incarnation: "x", Number: 1, At: d.now, Database: state.DatabaseReport{Condition: state.DatabaseStandby, Timeline: 2, Streaming: true, HeartbeatAt: &received}},
			{Region: "b", Incarnation: "y", Number: 1, At: d.now, Database: state.DatabaseReport{Condition: state.DatabasePrimary, Timeline: 2}},
		},
		Credentials: []state.Credential{{Name: "odoo-app", Method: events.CredentialDatabase, Term: 4, NextAt: &next, Attempt: 1200, Grace: 30, Versions: []state.CredentialVersion{
			{Number: 2, Stage: state.StageRevoked, User: "v-rotator-odoo-app-Kq8ZcX", MintedAt: old, ExpiresAt: d.now.Add(-time.Hour), DeadlineAt: old.Add(24 * time.Hour), TTL: 3600},
			{Number: 3, Stage: state.StageCurrent, User: "v-rotator-odoo-app-7fWm2T", MintedAt: minted, RenewedAt: p(minted.Add(40 * time.Minute)), ExpiresAt: minted.Add(100 * time.Minute), DeadlineAt: minted.Add(24 * time.Hour), TTL: 3600},
		}}},
		Deployments: []state.Deployment{
			rollout("a", minted.Add(36*time.Second), true), rollout("b", minted.Add(time.Second), false),
		},
	})
}

// rollout is one that passed: the canary is slow at first, as it has just started, and one reading has no answer.
func rollout(r events.Region, begun time.Time, standby bool) state.Deployment {
	ended := begun.Add(34 * time.Second)
	switched := begun.Add(30 * time.Second)
	d := state.Deployment{
		Region: r, Name: "odoo-app", Number: 3, Previous: 2, Hot: state.Green, Phase: state.DeploymentDone, Since: ended, Cause: "x", Colour: state.Green, Standby: standby,
		Started: &begun, Ended: &ended, SwitchedAt: &switched, Readings: &events.Readings{Green: 11, Inconclusive: 1}, Limits: &state.Limits{ErrorRate: 0.01, P95: 1.2}, Settled: true,
	}
	for n := range 12 {
		slow := 0.9 / float64(n+1)
		s := state.Sample{
			At: begun.Add(time.Duration(6+2*n) * time.Second), Verdict: "green",
			Canary:  state.Figures{Up: p(true), ErrorRate: p(0.0), P95: p(0.05 + slow), Sent: 4, Slowest: 0.03 + slow},
			Control: state.Figures{Up: p(true), ErrorRate: p(0.0), P95: p(0.042), Sent: 2, Slowest: 0.03},
		}
		if n == 0 {
			s.Verdict, s.Reason, s.Canary.ErrorRate, s.Canary.P95 = "inconclusive", "odoo:p95_5m of green has no value yet", nil, nil
		}
		d.Samples = append(d.Samples, s)
	}
	return d
}

func (d *day) health(observer, target events.Region, number int64, at time.Time, verdict events.Outcome) events.HealthObserved {
	h := events.HealthObserved{
		Observer: observer, Incarnation: string(observer) + "-1", Number: number, Target: target, ObservedAt: at, Verdict: verdict, SuccessesInRow: 9,
		Checks: events.Checks{HTTP: &events.CheckResult{Outcome: events.OutcomeOK, Latency: 0.02}},
		Gates:  &events.Gates{Healthy: events.OutcomeOK, P95Seconds: p(0.042), ErrorRate: p(0.0), OdooUp: p(true), ReplicationLag: p(0.1)},
	}
	if verdict == events.OutcomeFailed {
		h.SuccessesInRow, h.FailuresInRow, h.Gates = 0, 3, nil
		h.Checks.HTTP = &events.CheckResult{Outcome: events.OutcomeFailed, Reason: "connection refused", Latency: 0.01}
	}
	return h
}

func (d *day) observations() {
	for _, observer := range events.Regions {
		for _, target := range events.DataRegions {
			d.add(board.Seen{Health: d.health(observer, target, 9000, d.now, events.OutcomeOK)})
		}
	}
}

func (d *day) warehouse() {
	at := d.now.Add(-7 * time.Minute)
	t := board.Transform{Region: "b"}
	for n, name := range datasets {
		quarantined := int64(0)
		if name == "invoice" {
			quarantined = 3
		}
		t.Datasets = append(t.Datasets, board.Dataset{Name: name, Rows: p(int64(61 + n*n*377)), AsOf: &at, Quarantined: &quarantined})
	}
	d.add(t)
	m := board.Money{State: "ok", From: "b"}
	revenue := []float64{412, 438, 395, 460, 502, 488, 530, 471, 515, 560, 548, 590, 0}
	cost := []float64{331, 342, 340, 357, 398, 402, 419, 388, 401, 431, 425, 447, 61}
	cash := 820e6
	begin := time.Date(d.now.Year(), d.now.Month(), 1, 0, 0, 0, 0, time.UTC)
	for n := range revenue {
		cash += (revenue[n] - cost[n] - 78) * 1e6
		month := board.Month{End: begin.AddDate(0, n-len(revenue)+2, -1).Format(time.DateOnly), Revenue: p(revenue[n] * 1e6), DirectCost: p(cost[n] * 1e6), Cash: p(cash)}
		if revenue[n] > 0 {
			month.Margin = p((revenue[n] - cost[n]) / revenue[n])
		}
		m.Months = append(m.Months, month)
	}
	d.add(board.Months{Money: m})
}
