package events

import "time"

// FailoverEntity is the entity of all failover events: the one service that moves between regions.
const FailoverEntity = "erp"

// Cause is why a region shall give up its mandate.
type Cause string

// The causes. CauseDown: a majority saw the region down. CauseGates: it answers, but its gates were red for the sustained time (gray failure).
// CauseMandate: its mandate ended without a renewal while it was not seen down. CauseSwitchover and CauseOverride are manual.
// CauseReturn: the target did not promote, and the mandate goes back under a new epoch. CauseBoot: the first mandate of all.
const (
	CauseDown       Cause = "down"
	CauseGates      Cause = "gates"
	CauseMandate    Cause = "mandate"
	CauseSwitchover Cause = "switchover"
	CauseOverride   Cause = "override"
	CauseReturn     Cause = "return"
	CauseBoot       Cause = "boot"
)

// Causes lists all causes.
var Causes = []Cause{CauseDown, CauseGates, CauseMandate, CauseSwitchover, CauseOverride, CauseReturn, CauseBoot}

// LossBound is the most that a failover may lose. A nil part is unknown, which is never the same as zero.
type LossBound struct {
	Seconds *float64 `json:"seconds" jsonschema:"oneof_type=number;null,description=last renewal of the mandate minus the newest heartbeat in the standby's received WAL; both on the old primary's clock; null is unknown"`
	Bytes   *int64   `json:"bytes" jsonschema:"oneof_type=integer;null,description=last WAL position in etcd minus what the standby has received; null is unknown"`
	// Neither part knows of what the old primary commits after its last renewal, which it may until its mandate ends.
	Exposed *float64 `json:"exposed_seconds,omitempty" jsonschema:"description=from the newest heartbeat in the standby's received WAL to the end of all that the old primary could commit: the seconds above and the whole mandate after the last renewal; absent is unknown"`
}

// Known says whether both parts are known.
func (b LossBound) Known() bool { return b.Seconds != nil && b.Bytes != nil }

// Problems says what is wrong with the bound.
func (b LossBound) Problems() []Problem {
	var c Check
	if b.Seconds != nil {
		NotNegative(&c, "seconds", *b.Seconds)
	}
	if b.Bytes != nil {
		NotNegative(&c, "bytes", *b.Bytes)
	}
	if b.Exposed != nil {
		NotNegative(&c, "exposed_seconds", *b.Exposed)
	}
	return c.Problems()
}

// Receipt is the proof that a region can commit no more.
type Receipt struct {
	Region    Region    `json:"region" jsonschema:"description=the fenced region"`
	Epoch     Epoch     `json:"epoch" jsonschema:"description=the epoch whose mandate is given up"`
	Counts    []int     `json:"counts,omitempty" jsonschema:"description=application sessions counted; the last two are zero and one authentication_timeout apart; empty when the server was stopped"`
	Stopped   bool      `json:"stopped" jsonschema:"description=the database was stopped because sessions would not end"`
	Refused   bool      `json:"refused" jsonschema:"description=a new application login was tried and refused"`
	FlushLSN  LSN       `json:"flush_lsn" jsonschema:"description=flush position of the WAL at the fence"`
	Timeline  int       `json:"timeline" jsonschema:"description=timeline of the fenced database"`
	WrittenAt time.Time `json:"written_at" jsonschema:"description=on the fenced region's clock"`
}

// Problems says why the receipt proves nothing.
func (r Receipt) Problems() []Problem {
	var c Check
	c.DataRegion("region", r.Region)
	c.Epoch("epoch", r.Epoch)
	last := len(r.Counts) - 1
	quiet := last >= 1 && r.Counts[last] == 0 && r.Counts[last-1] == 0
	c.That(r.Stopped || quiet, "counts", r.Counts, "two zeros at the end, or stopped = true")
	c.That(r.Stopped || r.Refused, "refused", r.Refused, "true unless the database was stopped")
	c.That(r.FlushLSN > 0, "flush_lsn", r.FlushLSN, "a WAL position")
	AtLeastOne(&c, "timeline", r.Timeline)
	c.Time("written_at", r.WrittenAt)
	return c.Problems()
}

// Evidence is one observation that a decision rests on, with its content, so that the decision can be explained and run again
// when the stream of observations has long expired. Exactly one of Health and Replication is set.
type Evidence struct {
	Observer    Region               `json:"observer"`
	Incarnation string               `json:"incarnation" jsonschema:"description=the observer's process"`
	Number      int64                `json:"number" jsonschema:"description=the observer's running number"`
	AgeSeconds  float64              `json:"age_seconds" jsonschema:"description=age at the decision on the decider's clock"`
	Health      *HealthObserved      `json:"health,omitempty"`
	Replication *ReplicationObserved `json:"replication,omitempty"`
}

// Problems says what is wrong with the evidence.
func (e Evidence) Problems() []Problem {
	var c Check
	c.Region("observer", e.Observer)
	c.Token("incarnation", e.Incarnation)
	AtLeastOne(&c, "number", e.Number)
	NotNegative(&c, "age_seconds", e.AgeSeconds)
	c.That((e.Health == nil) != (e.Replication == nil), "health", e.Health != nil, "set, or replication set, but not both")
	if e.Health != nil {
		c.Part("health", e.Health.problems())
		c.That(e.Health.Number == e.Number, "health.number", e.Health.Number, "the evidence's own number")
	}
	if e.Replication != nil {
		c.Part("replication", e.Replication.problems())
		c.That(e.Replication.Number == e.Number, "replication.number", e.Replication.Number, "the evidence's own number")
	}
	return c.Problems()
}

// RecoveryTimes splits the time without writes, in seconds. A nil part was not measured.
type RecoveryTimes struct {
	Detect          float64  `json:"detect" jsonschema:"description=from the first failed check to the majority"`
	Decide          float64  `json:"decide" jsonschema:"description=from the majority to the recorded intent"`
	Fence           float64  `json:"fence" jsonschema:"description=from the intent to the receipt or the end of the mandate"`
	Promote         float64  `json:"promote"`
	Switch          float64  `json:"switch" jsonschema:"description=until the authoritative DNS server answered with the new region"`
	LastStaleClient *float64 `json:"last_stale_client" jsonschema:"oneof_type=number;null,description=until the last observer resolved the new region; null is not measured"`
	Total           float64  `json:"total" jsonschema:"description=seconds without writes"`
}

// Problems says which times are impossible.
func (t RecoveryTimes) Problems() []Problem {
	var c Check
	NotNegative(&c, "detect", t.Detect)
	NotNegative(&c, "decide", t.Decide)
	NotNegative(&c, "fence", t.Fence)
	NotNegative(&c, "promote", t.Promote)
	NotNegative(&c, "switch", t.Switch)
	NotNegative(&c, "total", t.Total)
	if t.LastStaleClient != nil {
		NotNegative(&c, "last_stale_client", *t.LastStaleClient)
	}
	return c.Problems()
}
