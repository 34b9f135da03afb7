// Package observation decides what one round of checks says about a region. It is pure: results go in, events' payloads come out.
package observation

import (
	"time"

	"github.com/ofitec/ofitec/events"
)

// Kind names a check.
type Kind string

// The kinds of checks.
const (
	HTTP       Kind = "http"       // Odoo through the region's web proxy
	Postgres   Kind = "postgres"   // login and position of the database
	Prometheus Kind = "prometheus" // the gates
	DNS        Kind = "dns"        // the authoritative answer
)

// Kinds lists all kinds.
var Kinds = []Kind{HTTP, Postgres, Prometheus, DNS}

// Result is what one check found. The parts below Took are what a kind learned beside its outcome; nil and empty where it did not.
type Result struct {
	Outcome events.Outcome
	Reason  string // why it is not ok; never a secret
	Took    time.Duration

	Reads    bool      // http: Odoo says that it has just read its database
	Database *Database // postgres
	Readings *Readings // prometheus
	Address  string    // dns
}

// OK is the result of a check that found its target able to work.
func OK() Result { return Result{Outcome: events.OutcomeOK} }

// Failed is the result of a check that found its target unable to work.
func Failed(reason string) Result {
	return Result{Outcome: events.OutcomeFailed, Reason: reason}
}

// Unknown is the result of a check that could not be made from here, or whose answer is about something else.
func Unknown(reason string) Result {
	return Result{Outcome: events.OutcomeUnknown, Reason: reason}
}

// Database is where a database stood.
type Database struct {
	InRecovery                         bool
	Streaming                          *bool
	Timeline                           int
	FlushLSN, ReceivedLSN, ReplayedLSN *events.LSN
	HeartbeatNumber                    *int64
	HeartbeatAt                        *time.Time
	ClockOffset                        time.Duration // its machine's wall clock minus the observer's; known to half of what the question took
}

// Readings are the recorded rules as Prometheus has them; a nil part has no value.
type Readings struct {
	Healthy        *float64 // gate:healthy
	P95            *float64 // odoo:p95_5m
	ErrorRate      *float64 // odoo:error_rate_5m
	OdooUp         *float64 // max of up{job="odoo"}
	ReplicationLag *float64 // db:replication_lag_seconds
}

// State is what an observer remembers of one region between rounds.
type State struct {
	Observer    events.Region
	Incarnation string
	Target      events.Region

	FailuresInRow, SuccessesInRow int
}

// Round is one round of checks on the state's target.
type Round struct {
	Number   int64         // the observer's running number
	Deadline time.Duration // that every check had
	Results  map[Kind]Result
}
