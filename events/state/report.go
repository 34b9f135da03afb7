package state

import (
	"time"

	"github.com/ofitec/ofitec/events"
)

// PrefixReport is where the arbiters of the data regions report, one key a region.
const PrefixReport = PrefixFail + "reports/"

// ReportKey is the key of a region's report.
func ReportKey(region events.Region) string { return PrefixReport + string(region) }

// DatabaseCondition is how a region's arbiter finds its own PostgreSQL.
type DatabaseCondition string

// The conditions. DatabaseRestarting: it was seen to run and is being started again; the restart budget counts only while a fresh report says so.
const (
	DatabasePrimary    DatabaseCondition = "primary"
	DatabaseStandby    DatabaseCondition = "standby"
	DatabaseRestarting DatabaseCondition = "restarting"
	DatabaseRejoining  DatabaseCondition = "rejoining"
	DatabaseDown       DatabaseCondition = "down"
	DatabaseUnknown    DatabaseCondition = "unknown"
)

// DatabaseConditions lists all conditions.
var DatabaseConditions = []DatabaseCondition{DatabasePrimary, DatabaseStandby, DatabaseRestarting, DatabaseRejoining, DatabaseDown, DatabaseUnknown}

// Report is what the arbiter of a data region says of its own region. It has one writer, the region's arbiter, which writes it when something changed and at
// least once a second; who reads it measures its age by its own clock from the moment at which it saw the revision. It never decides who may commit:
// a receipt shortens a wait, a promotion is granted by the leader's compare-and-swap on the state alone.
type Report struct {
	Version     V1            `json:"version"`
	Region      events.Region `json:"region"`
	Incarnation string        `json:"incarnation"`
	Number      int64         `json:"number"` // running number within the incarnation, from 1
	At          time.Time     `json:"at"`     // on the region's clock

	Database  DatabaseReport  `json:"database"`
	Receipt   *events.Receipt `json:"receipt,omitempty"`   // of the last fence; absent while the region holds the mandate or never held it
	Promotion *Promotion      `json:"promotion,omitempty"` // what became of the last promotion that an intent asked of this region
	Rejoined  *Rejoined       `json:"rejoined,omitempty"`  // of the last rejoin
}

// DatabaseReport is where the region's database stands. Positions are 0 where they are not known.
type DatabaseReport struct {
	Condition       DatabaseCondition `json:"condition"`
	Reason          string            `json:"reason,omitempty"` // why it is neither primary nor standby
	Timeline        int               `json:"timeline"`
	FlushLSN        events.LSN        `json:"flush_lsn"`          // primary: flushed; standby: received and flushed
	Streaming       bool              `json:"streaming"`          // standby: a WAL receiver streams
	Mirrored        bool              `json:"mirrored,omitempty"` // primary: commits wait for the standby of SyncJoining, which has all that was acknowledged before
	HeartbeatNumber int64             `json:"heartbeat_number"`
	HeartbeatAt     *time.Time        `json:"heartbeat_at,omitempty"` // newest heartbeat that the database shows, on the primary's clock
}

// Promotion is a region's answer to the intent that named it.
type Promotion struct {
	Epoch    events.Epoch `json:"epoch"` // the intent's
	Done     bool         `json:"done"`
	Refused  string       `json:"refused,omitempty"` // why it will not be done; the region stays closed whatever its database does later
	Timeline int          `json:"timeline,omitempty"`
	LSN      events.LSN   `json:"lsn,omitempty"` // where the new timeline begins
	At       time.Time    `json:"at"`
}

// Rejoined is a finished rejoin: the region is a standby of the mandate's owner again.
type Rejoined struct {
	Epoch     events.Epoch `json:"epoch"`  // of the mandate in force then
	Manner    string       `json:"manner"` // followed, rewound or rebuilt
	Timeline  int          `json:"timeline"`
	ForkLSN   events.LSN   `json:"fork_lsn,omitempty"`
	Discarded int64        `json:"discarded_bytes,omitempty"`
	Kept      string       `json:"kept,omitempty"`
	At        time.Time    `json:"at"`
}

// Kind implements Document.
func (Report) Kind() string { return "region report" }

// Validate implements Document.
func (r Report) Validate() error {
	var c events.Check
	c.DataRegion("region", r.Region)
	c.Text("incarnation", r.Incarnation, 100)
	events.AtLeastOne(&c, "number", r.Number)
	c.Time("at", r.At)
	events.OneOf(&c, "database.condition", r.Database.Condition, DatabaseConditions...)
	events.NotNegative(&c, "database.timeline", r.Database.Timeline)
	events.NotNegative(&c, "database.heartbeat_number", r.Database.HeartbeatNumber)
	if r.Receipt != nil {
		c.Part("receipt", r.Receipt.Problems())
	}
	if p := r.Promotion; p != nil {
		c.Epoch("promotion.epoch", p.Epoch)
		c.That(p.Done != (p.Refused != ""), "promotion.refused", p.Refused, "a reason exactly when the promotion is not done")
		c.That(!p.Done || p.Timeline > 0 && p.LSN > 0, "promotion.lsn", p.LSN, "where the new timeline begins, since the promotion is done")
		c.Time("promotion.at", p.At)
	}
	if j := r.Rejoined; j != nil {
		c.Epoch("rejoined.epoch", j.Epoch)
		events.OneOf(&c, "rejoined.manner", j.Manner, "followed", "rewound", "rebuilt")
		events.NotNegative(&c, "rejoined.discarded_bytes", j.Discarded)
		c.Time("rejoined.at", j.At)
	}
	return c.Err(r.Kind())
}
