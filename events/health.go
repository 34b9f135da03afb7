package events

import (
	"fmt"
	"strconv"
	"time"
)

// Outcome is what one check found. Unknown is neither good nor bad: no answer could be had, or parts of it disagree.
type Outcome string

// The outcomes.
const (
	OutcomeOK      Outcome = "ok"
	OutcomeFailed  Outcome = "failed"
	OutcomeUnknown Outcome = "unknown"
)

// CheckResult is the outcome of one check on a region.
type CheckResult struct {
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty" jsonschema:"description=why it is not ok; never a secret"`
	Latency float64 `json:"latency_seconds" jsonschema:"description=seconds until the answer; or until it was given up"`
}

func (r CheckResult) problems() []Problem {
	var c Check
	OneOf(&c, "outcome", r.Outcome, OutcomeOK, OutcomeFailed, OutcomeUnknown)
	if r.Outcome != OutcomeOK && r.Reason == "" {
		c.That(false, "reason", r.Reason, "a reason, since the outcome is not ok")
	}
	NotNegative(&c, "latency_seconds", r.Latency)
	return c.Problems()
}

// Checks are the checks of one observation. A check that was not made (region c has no database) is nil.
type Checks struct {
	HTTP       *CheckResult `json:"http,omitempty" jsonschema:"description=Odoo through the web proxy"`
	Postgres   *CheckResult `json:"postgres,omitempty" jsonschema:"description=login and heartbeat on the database"`
	Prometheus *CheckResult `json:"prometheus,omitempty"`
	DNS        *CheckResult `json:"dns,omitempty" jsonschema:"description=the answer of the authoritative server"`
}

// Gates are the conditions under which a region may take or keep the writes, read from Prometheus together with their parts.
// A nil part was not to be had. When the parts and gate:healthy disagree, Healthy is unknown.
type Gates struct {
	Healthy        Outcome  `json:"healthy" jsonschema:"description=conjunction of the parts; unknown when a part is missing or disagrees with gate:healthy"`
	Reason         string   `json:"reason,omitempty"`
	P95Seconds     *float64 `json:"p95_seconds" jsonschema:"oneof_type=number;null,description=odoo:p95_5m"`
	ErrorRate      *float64 `json:"error_rate" jsonschema:"oneof_type=number;null,description=odoo:error_rate_5m; a fraction"`
	OdooUp         *bool    `json:"odoo_up" jsonschema:"oneof_type=boolean;null"`
	ReplicationLag *float64 `json:"replication_lag_seconds" jsonschema:"oneof_type=number;null,description=db:replication_lag_seconds"`
}

func (g Gates) problems() []Problem {
	var c Check
	OneOf(&c, "healthy", g.Healthy, OutcomeOK, OutcomeFailed, OutcomeUnknown)
	complete := g.P95Seconds != nil && g.ErrorRate != nil && g.OdooUp != nil && g.ReplicationLag != nil
	c.That(complete || g.Healthy != OutcomeOK, "healthy", g.Healthy, "failed or unknown, since a part is missing")
	c.That(g.Healthy != OutcomeUnknown || g.Reason != "", "reason", g.Reason, "a reason, since healthy is unknown")
	if g.P95Seconds != nil {
		NotNegative(&c, "p95_seconds", *g.P95Seconds)
	}
	if g.ErrorRate != nil {
		c.That(*g.ErrorRate >= 0 && *g.ErrorRate <= 1, "error_rate", *g.ErrorRate, "a fraction from 0 to 1")
	}
	if g.ReplicationLag != nil {
		NotNegative(&c, "replication_lag_seconds", *g.ReplicationLag)
	}
	return c.Problems()
}

// HealthObserved is what one observer saw of one region at one time. Number grows by one with each observation of an incarnation,
// so that gaps and reorderings show; the count of failures restarts with the incarnation.
type HealthObserved struct {
	Observer       Region    `json:"observer"`
	Incarnation    string    `json:"incarnation" jsonschema:"description=the observer's process; a new one at each start"`
	Number         int64     `json:"number" jsonschema:"description=running number within the incarnation; from 1"`
	Target         Region    `json:"target"`
	ObservedAt     time.Time `json:"observed_at" jsonschema:"description=end of the observation on the observer's clock"`
	Verdict        Outcome   `json:"verdict" jsonschema:"description=this observation as a whole"`
	Checks         Checks    `json:"checks"`
	FailuresInRow  int       `json:"failures_in_row"`
	SuccessesInRow int       `json:"successes_in_row"`
	Gates          *Gates    `json:"gates,omitempty" jsonschema:"description=absent for a region without an application"`
	Resolved       string    `json:"resolved_address,omitempty" jsonschema:"description=address that the authoritative DNS server gave this observer for the service's name; absent when it gave none"`
}

// Type implements Payload.
func (HealthObserved) Type() Type { return TypeHealthObserved }

// Entity implements Payload: the observed region.
func (p HealthObserved) Entity() string { return string(p.Target) }

// Key implements Payload.
func (p HealthObserved) Key() string { return p.Incarnation + "-" + strconv.FormatInt(p.Number, 10) }

// Validate implements Payload.
func (p HealthObserved) Validate() error { return invalid(p, p.problems()) }

func (p HealthObserved) problems() []Problem {
	var c Check
	observation(&c, p.Observer, p.Target, p.Incarnation, p.Number, p.ObservedAt)
	OneOf(&c, "verdict", p.Verdict, OutcomeOK, OutcomeFailed, OutcomeUnknown)
	NotNegative(&c, "failures_in_row", p.FailuresInRow)
	NotNegative(&c, "successes_in_row", p.SuccessesInRow)
	p.rows(&c)
	c.That(len(p.Resolved) <= 64, "resolved_address", p.Resolved, "an address of at most 64 bytes")
	made := 0
	for _, check := range p.Checks.named() {
		if check.result == nil {
			continue
		}
		made++
		if problems := check.result.problems(); len(problems) > 0 {
			c.Part("checks."+check.name, problems)
		}
	}
	if made == 0 {
		c.That(false, "checks", made, "one check or more")
	}
	if p.Gates != nil {
		c.Part("gates", p.Gates.problems())
	}
	return c.Problems()
}

// rows checks that the counts agree with each other and with the verdict.
func (p HealthObserved) rows(c *Check) {
	if p.FailuresInRow > 0 && p.SuccessesInRow > 0 {
		c.That(false, "successes_in_row", p.SuccessesInRow, fmt.Sprintf("0, since failures_in_row is %d", p.FailuresInRow))
	}
	if p.Verdict == OutcomeOK && p.FailuresInRow > 0 {
		c.That(false, "failures_in_row", p.FailuresInRow, "0, since the verdict is ok")
	}
	if p.Verdict == OutcomeFailed && p.FailuresInRow == 0 {
		c.That(false, "failures_in_row", p.FailuresInRow, "1 or more, since the verdict is failed")
	}
}

type namedCheck struct {
	name   string
	result *CheckResult
}

func (c Checks) named() [4]namedCheck {
	return [4]namedCheck{{"http", c.HTTP}, {"postgres", c.Postgres}, {"prometheus", c.Prometheus}, {"dns", c.DNS}}
}

// ReplicationObserved is where the database of one region stood, as one observer read it. A nil part was not to be had.
type ReplicationObserved struct {
	Observer        Region     `json:"observer"`
	Incarnation     string     `json:"incarnation"`
	Number          int64      `json:"number" jsonschema:"description=running number within the incarnation; from 1"`
	Target          Region     `json:"target"`
	ObservedAt      time.Time  `json:"observed_at"`
	InRecovery      bool       `json:"in_recovery" jsonschema:"description=true on a standby"`
	Streaming       *bool      `json:"streaming" jsonschema:"oneof_type=boolean;null,description=standby: a WAL receiver streams; primary: a standby is attached"`
	Timeline        int        `json:"timeline"`
	FlushLSN        *LSN       `json:"flush_lsn,omitempty" jsonschema:"description=primary: flushed position"`
	ReceivedLSN     *LSN       `json:"received_lsn,omitempty" jsonschema:"description=standby: received and flushed position"`
	ReplayedLSN     *LSN       `json:"replayed_lsn,omitempty" jsonschema:"description=standby: replayed position"`
	HeartbeatNumber *int64     `json:"heartbeat_number" jsonschema:"oneof_type=integer;null,description=newest heartbeat that the database shows"`
	HeartbeatAt     *time.Time `json:"heartbeat_at" jsonschema:"oneof_type=string;null,description=its time on the primary's clock"`
}

// Type implements Payload.
func (ReplicationObserved) Type() Type { return TypeReplicationObserved }

// Entity implements Payload: the observed region.
func (p ReplicationObserved) Entity() string { return string(p.Target) }

// Key implements Payload.
func (p ReplicationObserved) Key() string {
	return p.Incarnation + "-" + strconv.FormatInt(p.Number, 10)
}

// Validate implements Payload.
func (p ReplicationObserved) Validate() error { return invalid(p, p.problems()) }

func (p ReplicationObserved) problems() []Problem {
	var c Check
	observation(&c, p.Observer, p.Target, p.Incarnation, p.Number, p.ObservedAt)
	c.That(p.Target.HoldsData(), "target", p.Target, "one of a, b")
	AtLeastOne(&c, "timeline", p.Timeline)
	c.That(p.InRecovery || p.FlushLSN != nil, "flush_lsn", "", "a position, since the database is a primary")
	c.That((p.HeartbeatNumber == nil) == (p.HeartbeatAt == nil), "heartbeat_at", p.HeartbeatAt != nil, "known exactly when heartbeat_number is")
	if p.HeartbeatNumber != nil {
		NotNegative(&c, "heartbeat_number", *p.HeartbeatNumber)
	}
	return c.Problems()
}

func observation(c *Check, observer, target Region, incarnation string, number int64, at time.Time) {
	c.Region("observer", observer)
	c.Region("target", target)
	c.Token("incarnation", incarnation)
	AtLeastOne(c, "number", number)
	c.Time("observed_at", at)
}
