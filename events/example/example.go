// Package example has one valid example of each payload, the same at every call: for golden files, schemas' tests, benchmarks and documents.
package example

import (
	"time"

	"github.com/ofitec/ofitec/events"
)

// At is the time at which the examples happened.
var At = time.Date(2026, 3, 2, 9, 30, 0, 250_000_000, time.UTC)

const hexDigits = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func after(seconds float64) time.Time { return At.Add(time.Duration(seconds * float64(time.Second))) }

func pointer[T any](value T) *T { return &value }

func act(request string) events.Act {
	return events.Act{Actor: "maria", Reason: "planned maintenance of region a", Request: request, At: At}
}

// Payloads is one example of each type, in the order of events.Definitions.
func Payloads() []events.Payload {
	var all []events.Payload
	for _, group := range [][]events.Payload{observations(), failovers(), acts(), credentials(), rollouts(), exports(), warehouse(), jobs()} {
		all = append(all, group...)
	}
	return all
}

// Of is the example of one type.
func Of(t events.Type) (events.Payload, bool) {
	for _, payload := range Payloads() {
		if payload.Type() == t {
			return payload, true
		}
	}
	return nil, false
}

// Event is the example as an event of its publisher in region a.
func Event(payload events.Payload) (events.Event, error) {
	definition, _ := events.Lookup(payload.Type())
	return events.New(events.Origin{Region: events.RegionA, Service: definition.Publishers[0]}, At, payload)
}

// Health is a healthy observation of region a; number makes each one a different one.
func Health(number int64) events.HealthObserved {
	return events.HealthObserved{
		Observer: events.RegionC, Incarnation: "c-1772443800", Number: number, Target: events.RegionA, ObservedAt: At, Verdict: events.OutcomeOK,
		Checks: events.Checks{
			HTTP:       &events.CheckResult{Outcome: events.OutcomeOK, Latency: 0.031},
			Postgres:   &events.CheckResult{Outcome: events.OutcomeOK, Latency: 0.012},
			Prometheus: &events.CheckResult{Outcome: events.OutcomeOK, Latency: 0.008},
			DNS:        &events.CheckResult{Outcome: events.OutcomeOK, Latency: 0.002},
		},
		SuccessesInRow: 12, Gates: gates(),
	}
}

func gates() *events.Gates {
	return &events.Gates{Healthy: events.OutcomeOK, P95Seconds: pointer(0.42), ErrorRate: pointer(0.001), OdooUp: pointer(true), ReplicationLag: pointer(0.8)}
}

func replication() events.ReplicationObserved {
	return events.ReplicationObserved{
		Observer: events.RegionB, Incarnation: "b-1772443790", Number: 77, Target: events.RegionB, ObservedAt: At, InRecovery: true, Streaming: pointer(true), Timeline: 1,
		ReceivedLSN: pointer(events.LSN(0x16B3748)), ReplayedLSN: pointer(events.LSN(0x16B3700)), HeartbeatNumber: pointer(int64(5012)), HeartbeatAt: pointer(after(-0.5)),
	}
}

func observations() []events.Payload { return []events.Payload{Health(1041), replication()} }

func loss() events.LossBound {
	return events.LossBound{Seconds: pointer(0.5), Bytes: pointer(int64(72))}
}

func move() events.Failover {
	return events.Failover{Epoch: 7, From: events.RegionA, To: events.RegionB, Cause: events.CauseDown}
}

func down() events.HealthObserved {
	health := Health(1044)
	failed := events.CheckResult{Outcome: events.OutcomeFailed, Reason: "connection refused", Latency: 0.4}
	health.Verdict, health.FailuresInRow, health.SuccessesInRow = events.OutcomeFailed, 3, 0
	health.Checks = events.Checks{HTTP: &failed, Postgres: &failed, Prometheus: &failed}
	health.Gates = &events.Gates{Healthy: events.OutcomeUnknown, Reason: "prometheus: connection refused"}
	return health
}

func evidence() []events.Evidence {
	health, standby := down(), replication()
	return []events.Evidence{
		{Observer: events.RegionC, Incarnation: health.Incarnation, Number: health.Number, AgeSeconds: 0.3, Health: &health},
		{Observer: events.RegionB, Incarnation: standby.Incarnation, Number: standby.Number, AgeSeconds: 0.4, Replication: &standby},
	}
}

func failovers() []events.Payload {
	receipt := events.Receipt{Region: events.RegionA, Epoch: 6, Counts: []int{4, 0, 0}, Refused: true, FlushLSN: 0x16B3748, Timeline: 1, WrittenAt: after(1)}
	return []events.Payload{
		events.FailoverStarted{Failover: move(), DecidedAt: At, Rule: "majority-down", Leader: events.RegionB, Term: 4711, Loss: loss(), Gates: gates(), Evidence: evidence()},
		events.FailoverFenced{Failover: move(), FencedAt: after(1), Manner: "receipt", Receipt: &receipt, Loss: loss(), Waited: 1},
		events.FailoverPromoted{Failover: move(), PromotedAt: after(2), Timeline: 2, LSN: 0x16B3748},
		events.FailoverSwitched{Failover: move(), SwitchedAt: after(3), Name: "erp.ofitec.test", Address: "127.0.0.12", TTLSeconds: 30, Provider: "rfc2136"},
		events.FailoverCompleted{Failover: move(), CompletedAt: after(4), Loss: loss(), CooldownSeconds: 120, Times: events.RecoveryTimes{
			Detect: 2, Decide: 0.2, Fence: 1, Promote: 1, Switch: 1, LastStaleClient: pointer(3.5), Total: 5.2,
		}},
		events.FailoverAborted{Failover: move(), AbortedAt: after(3), Phase: "fenced", Code: "promotion-deadline", Reason: "region b did not promote within 2 s", NextEpoch: 8},
		events.FailoverHeld{Epoch: 6, Active: events.RegionA, Rule: "lag", Reason: "region b is 901 s behind, the bar is 900 s", HeldAt: At, Leader: events.RegionB, Term: 4711, Loss: loss(), Evidence: evidence()},
		events.FailoverRejoined{Epoch: 7, Region: events.RegionA, RejoinedAt: after(60), Manner: "rewound", Timeline: 2, ForkLSN: 0x16B3748, Discarded: 72, Kept: "lost/epoch-6"},
	}
}

func acts() []events.Payload {
	manual := func(request string) events.ManualFailover {
		return events.ManualFailover{Epoch: 7, Active: events.RegionB, Act: act(request)}
	}
	return []events.Payload{
		events.FailoverPaused{ManualFailover: manual("req-1"), Until: pointer(after(3600))},
		events.FailoverResumed{ManualFailover: manual("req-2")},
		events.FailoverOverridden{ManualFailover: manual("req-3"), To: events.RegionA, Rule: "lag", Loss: events.LossBound{Seconds: pointer(901.0)}},
		events.FailoverAcknowledged{ManualFailover: manual("req-4"), Failover: 7},
		events.FailoverSynchronized{Epoch: 7, Active: events.RegionB, Standby: events.RegionA, Mode: "joining", Wanted: true, Cause: "standby-back", At: after(30), Leader: events.RegionC},
	}
}

func credential() events.Credential {
	return events.Credential{Name: "odoo-db", Kind: events.CredentialDatabase, Version: 12, Path: "odoo/odoo-db", Fingerprint: hexDigits}
}

func lease() events.Lease {
	return events.Lease{TTLSeconds: 3600, ExpiresAt: after(3600), DeadlineAt: after(86400)}
}

func credentials() []events.Payload {
	return []events.Payload{
		events.CredentialRotated{Credential: credential(), Lease: lease(), Previous: 11, Trigger: "schedule"},
		events.CredentialRenewed{Credential: credential(), Lease: lease(), Renewal: 3},
		events.CredentialRevoked{Credential: credential(), Manner: "revoked", Cause: "superseded", RevokedAt: At, SessionsEnded: 2, DrainedProven: true, DrainSeconds: 31.5},
		events.CredentialExpiring{Credential: credential(), Level: "warn", Lease: lease(), AttemptsLeft: 2, SecondsLeft: 3600, Reason: "two canaries in a row were rolled back"},
	}
}

func rollouts() []events.Payload {
	rollout := events.Rollout{Credential: credential(), Region: events.RegionA, Colour: "green", Started: At, Ended: after(900), Readings: events.Readings{Green: 58, Inconclusive: 2}}
	failed := rollout
	failed.Readings = events.Readings{Green: 4, Red: 3}
	red := gates()
	red.Healthy, red.P95Seconds = events.OutcomeFailed, pointer(1.9)
	return []events.Payload{
		events.CredentialDeployed{Rollout: rollout, Previous: 11},
		events.CredentialRolledBack{Rollout: failed, Kept: 11, Step: "gate", Reason: "odoo:p95_5m was 1.9 s, the bar is 1.2 s", Gates: red},
		events.CredentialBreakGlass{Credential: credential(), Act: act("req-5"), ExpiresAt: after(900)},
	}
}

func asof() events.AsOf { return events.AsOf{Epoch: 6, SourceClock: At} }

func exports() []events.Payload {
	return []events.Payload{
		events.ExportReady{
			Dataset: "invoice", Region: events.RegionA, Batch: "20260302T093000Z-000041", RawURL: "file:///var/lib/ofitec/raw/invoice/dt=2026-03-02/" + hexDigits + ".csv.zst", Format: "csv", Kind: "rows",
			SHA256: hexDigits, Rows: 812, Bytes: 104_233, AsOf: asof(), From: &events.Cursor{WriteDate: after(-600), ID: 4011}, To: &events.Cursor{WriteDate: after(-2), ID: 4822}, Sequence: 1337,
		},
		events.ExportFailed{Dataset: "invoice", Region: events.RegionA, Batch: "20260302T093000Z-000042", FailedAt: At, Attempts: 3, Code: "truncated", Status: 200, Reason: "body ended after 8192 of 104233 bytes", RetryTime: after(30)},
	}
}

func warehouse() []events.Payload {
	load := events.Load{Region: events.RegionA, Load: 204, Sequence: 1337}
	return []events.Payload{
		events.WarehouseLoaded{
			Load: load, Batches: []string{"export.ready.invoice.20260302T093000Z-000041"}, Read: events.Volume{Rows: 812, Bytes: 104_233}, Written: events.Volume{Rows: 1630, Bytes: 98_304},
			Seconds: map[string]float64{"stage": 0.02, "vault": 0.11, "marts": 0.2, "commit": 0.03}, Restated: []string{"2026-02"}, Loaded: At,
		},
		events.WarehouseChecked{Load: load, Checked: after(1), Version: hexDigits, Marts: []events.CheckCount{{Mart: "mart_fact_sales", Passed: 9, Warned: 1, Quarantined: 2, Missing: "1250000.00"}}},
		events.WarehousePublished{Load: load, Published: after(2), Seconds: 0.4, AsOf: asof(), Marts: []events.PublishedMart{{Mart: "mart_fact_sales", Rows: 120_412, Digest: "120412:00ff"}}},
		events.WarehouseRejected{Load: load, Mart: "mart_fact_sales", Check: "not_null_date", Reason: "14 rows have no date", Failing: 14, Rejected: after(1), Kept: 203},
		events.WarehouseRevealed{Region: events.RegionA, Act: act("req-6"), Kind: "rut", Tokens: 1},
	}
}

func jobs() []events.Payload {
	return []events.Payload{
		events.JobRotate{Name: "odoo-db", Act: act("req-7")},
		events.JobExport{Dataset: events.AllDatasets, Reconcile: true, Act: act("req-8")},
	}
}
