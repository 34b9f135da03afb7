package board

import (
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// View is what the page shows, a section a field. It carries times, never ages: the browser counts, so that a section changes only when something has happened.
// Words in it are codes; the page has their texts in each language.
type View struct {
	Writer      Writer       `json:"writer"`
	Regions     []Region     `json:"regions"`
	Failover    *Failover    `json:"failover"` // nil: there has been none
	Credentials []Credential `json:"credentials"`
	Warehouse   Warehouse    `json:"warehouse"`
	Money       Money        `json:"money"`
	Events      []Entry      `json:"events"`
	Sources     []Source     `json:"sources"`
}

// Writer is who may write, and since when.
type Writer struct {
	Known    bool          `json:"known"` // etcd has answered lately
	Region   events.Region `json:"region"`
	Epoch    uint64        `json:"epoch"`
	Phase    string        `json:"phase"`
	Since    *time.Time    `json:"since"`
	Mandate  string        `json:"mandate"` // held, ended, none or unknown
	To       events.Region `json:"to,omitempty"`
	Cause    string        `json:"cause,omitempty"`
	Paused   *Act          `json:"paused,omitempty"`
	Until    *time.Time    `json:"paused_until,omitempty"`
	Cooldown *time.Time    `json:"cooldown_until,omitempty"`
	Sync     bool          `json:"sync"`
	Rejoin   events.Region `json:"rejoin,omitempty"`
}

// Act is who did something by hand, and why.
type Act struct {
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Region is one region. Role is primary, standby, fenced, quorum, down or unknown; Health is up, down or unknown.
type Region struct {
	Region    events.Region `json:"region"`
	Role      string        `json:"role"`
	Health    string        `json:"health"`
	Lag       *float64      `json:"lag_seconds"` // of a standby; nil is unknown, which is not zero
	Database  string        `json:"database,omitempty"`
	Streaming bool          `json:"streaming"`
	Reason    string        `json:"reason,omitempty"`
	P95       *float64      `json:"p95_seconds"`
	ErrorRate *float64      `json:"error_rate"`
	Observers []Observer    `json:"observers"`
}

// Observer is what one region's probe sees: ok, failed, unknown, or silent when it has said nothing lately.
type Observer struct {
	Region events.Region `json:"region"`
	Sees   string        `json:"sees"`
	Why    string        `json:"why,omitempty"`
}

// Failover is the last one, with what it took. State is running, completed or aborted.
type Failover struct {
	Epoch     uint64        `json:"epoch"`
	From      events.Region `json:"from"`
	To        events.Region `json:"to"`
	Cause     string        `json:"cause"`
	Rule      string        `json:"rule,omitempty"`
	State     string        `json:"state"`
	DecidedAt time.Time     `json:"decided_at"`
	EndedAt   *time.Time    `json:"ended_at"`
	Segments  []Segment     `json:"segments"`
	Total     *float64      `json:"total_seconds"` // without writes
	Loss      Loss          `json:"loss"`
	Manner    string        `json:"manner,omitempty"` // of the fence
	Address   string        `json:"address,omitempty"`
	Act       *Act          `json:"act,omitempty"`
	Reason    string        `json:"reason,omitempty"` // why it was given up
}

// Segment is one part of the time line, in seconds from its begin. Seconds is nil while the step is under way; Since then says when it began.
type Segment struct {
	Name    string     `json:"name"` // detect, decide, fence, promote, switch, stale
	Start   float64    `json:"start"`
	Seconds *float64   `json:"seconds"`
	Since   *time.Time `json:"since,omitempty"`
}

// Loss is the most that the failover may have lost; nil is unknown.
type Loss struct {
	Seconds *float64 `json:"seconds"`
	Bytes   *int64   `json:"bytes"`
}

// Credential is one credential with the versions that live, newest first, and the last one that has ended.
type Credential struct {
	Name     string     `json:"name"`
	Kind     string     `json:"kind"`
	Alarm    string     `json:"alarm,omitempty"`
	NextAt   *time.Time `json:"next_rotation_at"`
	Attempt  float64    `json:"attempt_seconds"` // what one rollout takes; 0 is unknown
	Grace    float64    `json:"grace_seconds"`
	Versions []Version  `json:"versions"`
	Rollouts []Rollout  `json:"rollouts"`
}

// Version is one version of a credential and its lease.
type Version struct {
	Number   int64      `json:"number"`
	Stage    string     `json:"stage"`
	User     string     `json:"user,omitempty"`
	Minted   time.Time  `json:"minted_at"`
	Renewed  *time.Time `json:"renewed_at"`
	Expires  *time.Time `json:"expires_at"`  // nil: it has no lease
	Deadline *time.Time `json:"deadline_at"` // max_ttl
	TTL      float64    `json:"ttl_seconds"`
	Reason   string     `json:"reason,omitempty"`
	Live     bool       `json:"live"`
}

// Rollout is the last one of a credential in a region.
type Rollout struct {
	Region  events.Region `json:"region"`
	Version int64         `json:"version"`
	Phase   string        `json:"phase"`
	Hot     string        `json:"hot"`
	Since   time.Time     `json:"since"`
	Reason  string        `json:"reason,omitempty"`

	Colour   string           `json:"colour"`            // the canary
	Standby  bool             `json:"standby,omitempty"` // writes were not tested
	Switched *time.Time       `json:"switched_at,omitempty"`
	Readings *events.Readings `json:"readings,omitempty"`
	Limits   *state.Limits    `json:"limits,omitempty"`
	Samples  []state.Sample   `json:"samples,omitempty"` // of the gates, oldest first
}

// Warehouse is how fresh the company's numbers are.
type Warehouse struct {
	Region    events.Region `json:"region,omitempty"` // whose etl-transform answers
	Datasets  []Dataset     `json:"datasets"`
	Published *time.Time    `json:"published_at"`
	Load      int64         `json:"load,omitempty"`
	Rejected  *Rejection    `json:"rejected,omitempty"`
	Failure   string        `json:"failure,omitempty"` // why the last publication failed
	Marts     []Mart        `json:"marts"`
}

// Dataset is one export. Rows are those in the warehouse where it says so; Last are those of the last export.
type Dataset struct {
	Name        string        `json:"name"`
	Rows        *int64        `json:"rows"`
	Quarantined *int64        `json:"quarantined"`
	AsOf        *time.Time    `json:"asof"`
	Pulled      *time.Time    `json:"pulled_at"`
	Last        *int64        `json:"last_rows"`
	Failure     *Failure      `json:"failure,omitempty"`
	From        events.Region `json:"from,omitempty"`
}

// Failure is why a dataset could not be pulled since its last export.
type Failure struct {
	At       time.Time `json:"at"`
	Code     string    `json:"code"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	RetryAt  time.Time `json:"retry_at"`
}

// Mart is what the last audit found.
type Mart struct {
	Name        string `json:"name"`
	Passed      int    `json:"passed"`
	Failed      int    `json:"failed"`
	Warned      int    `json:"warned"`
	Quarantined int64  `json:"quarantined"`
}

// Rejection is a mart that a table check holds back.
type Rejection struct {
	Mart   string    `json:"mart"`
	Check  string    `json:"check"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Money is gross margin and cash, a month a row, oldest first. State is ok, or why there is nothing: unconfigured, unpublished or away.
type Money struct {
	State  string        `json:"state"`
	From   events.Region `json:"from,omitempty"`
	Months []Month       `json:"months"`
}

// Month is one row of mart_kpi_company; nil is unknown.
type Month struct {
	End        string   `json:"month_end"` // 2026-03-31
	Revenue    *float64 `json:"revenue"`
	DirectCost *float64 `json:"direct_cost"`
	Margin     *float64 `json:"gross_margin"` // a fraction
	Cash       *float64 `json:"cash"`
	Open       bool     `json:"open,omitempty"` // the month is not over
}

// Entry is one event of the list; its detail is asked for when it is opened.
type Entry struct {
	Sequence uint64         `json:"seq"`
	At       time.Time      `json:"at"`
	Type     string         `json:"type"` // failover.started
	Domain   string         `json:"domain"`
	Region   events.Region  `json:"region"`
	Entity   string         `json:"entity"`
	Level    string         `json:"level"` // info, good, warn or bad
	Brief    map[string]any `json:"brief,omitempty"`
}

// Source is where the page's knowledge comes from. Reason is empty while it answers.
type Source struct {
	Name   string     `json:"name"` // etcd, bus, regions, warehouse, analytics
	OK     bool       `json:"ok"`
	Reason string     `json:"reason,omitempty"`
	Since  *time.Time `json:"since"` // of this state
}
