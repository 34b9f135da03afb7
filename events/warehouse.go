package events

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// WarehouseEntity is the entity of events about the warehouse as a whole.
const WarehouseEntity = "warehouse"

// Load names one transaction of the warehouse in one region: it brought the manifest's records up to Sequence in.
type Load struct {
	Region   Region `json:"region"`
	Load     int64  `json:"load" jsonschema:"description=running number of the load; from 1"`
	Sequence int64  `json:"manifest_sequence" jsonschema:"description=last record of the manifest that is in"`
}

// Key implements Payload.
func (l Load) Key() string { return strconv.FormatInt(l.Load, 10) }

// Problems says what is wrong with it.
func (l Load) Problems() []Problem {
	var c Check
	c.DataRegion("region", l.Region)
	AtLeastOne(&c, "load", l.Load)
	AtLeastOne(&c, "manifest_sequence", l.Sequence)
	return c.Problems()
}

// Volume is what was moved.
type Volume struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

var month = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])$`)

// WarehouseLoaded: a micro-batch is in vault and marts, with what it cost.
type WarehouseLoaded struct {
	Load
	Batches    []string            `json:"batches" jsonschema:"description=ids of the export.ready events"`
	Read       Volume              `json:"read"`
	Written    Volume              `json:"written"`
	Seconds    map[string]float64  `json:"seconds,omitempty" jsonschema:"description=by stage: stage; vault; marts; commit"`
	Restated   []string            `json:"restated_months,omitempty" jsonschema:"description=closed months whose figures changed; 2026-03"`
	RestatedBy map[string][]string `json:"restated_by_mart,omitempty" jsonschema:"description=months before the open one whose rows have changed; by mart"`
	Loaded     time.Time           `json:"loaded_at"`
	Digests    map[string]string   `json:"digests,omitempty" jsonschema:"description=digest by table; where it was computed"`
}

// Type implements Payload.
func (WarehouseLoaded) Type() Type { return TypeWarehouseLoaded }

// Entity implements Payload.
func (WarehouseLoaded) Entity() string { return WarehouseEntity }

// Validate implements Payload.
func (p WarehouseLoaded) Validate() error {
	c := Check{problems: p.Problems()}
	c.That(len(p.Batches) > 0, "batches", len(p.Batches), "one or more")
	NotNegative(&c, "read.rows", p.Read.Rows)
	NotNegative(&c, "read.bytes", p.Read.Bytes)
	NotNegative(&c, "written.rows", p.Written.Rows)
	NotNegative(&c, "written.bytes", p.Written.Bytes)
	for stage, seconds := range p.Seconds {
		c.Token("seconds", stage)
		NotNegative(&c, "seconds."+stage, seconds)
	}
	for n, text := range p.Restated {
		c.That(month.MatchString(text), fmt.Sprintf("restated_months[%d]", n), text, "a month such as 2026-03")
	}
	for mart, months := range p.RestatedBy {
		for n, text := range months {
			c.That(month.MatchString(text), fmt.Sprintf("restated_by_mart.%s[%d]", mart, n), text, "a month such as 2026-03")
		}
	}
	c.Time("loaded_at", p.Loaded)
	return invalid(p, c.problems)
}

// CheckCount is what the checks of one mart found.
type CheckCount struct {
	Mart        string `json:"mart"`
	Passed      int    `json:"passed"`
	Failed      int    `json:"failed"`
	Warned      int    `json:"warned"`
	Quarantined int64  `json:"quarantined_rows"`
	Missing     string `json:"missing_amount,omitempty" jsonschema:"description=sum of what the quarantined rows would have added; decimal text"`
}

// WarehouseChecked: the audit of a load is done.
type WarehouseChecked struct {
	Load
	Marts   []CheckCount `json:"marts,omitempty"`
	Checked time.Time    `json:"checked_at"`
	Version string       `json:"checks_version" jsonschema:"description=digest of the checks that ran"`
}

// Type implements Payload.
func (WarehouseChecked) Type() Type { return TypeWarehouseChecked }

// Entity implements Payload.
func (WarehouseChecked) Entity() string { return WarehouseEntity }

// Validate implements Payload.
func (p WarehouseChecked) Validate() error {
	c := Check{problems: p.Problems()}
	for n, mart := range p.Marts {
		field := fmt.Sprintf("marts[%d].", n)
		c.Token(field+"mart", mart.Mart)
		NotNegative(&c, field+"passed", mart.Passed)
		NotNegative(&c, field+"failed", mart.Failed)
		NotNegative(&c, field+"warned", mart.Warned)
		NotNegative(&c, field+"quarantined_rows", mart.Quarantined)
	}
	c.Time("checked_at", p.Checked)
	c.Text("checks_version", p.Version, 128)
	return invalid(p, c.problems)
}

// PublishedMart is one mart as readers see it.
type PublishedMart struct {
	Mart   string `json:"mart"`
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

// WarehousePublished: readers see the load, all marts at once.
type WarehousePublished struct {
	Load
	Marts     []PublishedMart `json:"marts,omitempty"`
	Published time.Time       `json:"published_at"`
	Seconds   float64         `json:"seconds"`
	AsOf      AsOf            `json:"asof" jsonschema:"description=the greatest one that is in"`
	Altered   []string        `json:"altered_marts,omitempty" jsonschema:"description=marts that somebody else had changed; they were replaced by this publication of the load"`
}

// Key implements Payload. A load is published again when somebody else has changed what readers have.
func (p WarehousePublished) Key() string {
	if len(p.Altered) == 0 {
		return p.Load.Key()
	}
	return fmt.Sprintf("%s-repaired-%d", p.Load.Key(), p.Published.UnixMilli())
}

// Type implements Payload.
func (WarehousePublished) Type() Type { return TypeWarehousePublished }

// Entity implements Payload.
func (WarehousePublished) Entity() string { return WarehouseEntity }

// Validate implements Payload.
func (p WarehousePublished) Validate() error {
	c := Check{problems: p.Problems()}
	for n, mart := range p.Marts {
		c.Token(fmt.Sprintf("marts[%d].mart", n), mart.Mart)
		NotNegative(&c, fmt.Sprintf("marts[%d].rows", n), mart.Rows)
	}
	for n, mart := range p.Altered {
		c.Token(fmt.Sprintf("altered_marts[%d]", n), mart)
	}
	c.Time("published_at", p.Published)
	NotNegative(&c, "seconds", p.Seconds)
	c.Part("asof", p.AsOf.Problems())
	return invalid(p, c.problems)
}

// WarehouseRejected: a table check blocked a mart; readers keep the one before.
type WarehouseRejected struct {
	Load
	Mart     string    `json:"mart"`
	Check    string    `json:"check" jsonschema:"description=name of the check that failed"`
	Reason   string    `json:"reason" jsonschema:"description=counts and columns; never a row of data"`
	Failing  int64     `json:"failing_rows"`
	Rejected time.Time `json:"rejected_at"`
	Kept     int64     `json:"kept_load" jsonschema:"description=load that readers still see; 0 for none"`
}

// Type implements Payload.
func (WarehouseRejected) Type() Type { return TypeWarehouseRejected }

// Entity implements Payload.
func (p WarehouseRejected) Entity() string { return p.Mart }

// Validate implements Payload.
func (p WarehouseRejected) Validate() error {
	c := Check{problems: p.Problems()}
	c.Token("mart", p.Mart)
	c.Text("check", p.Check, 1000) // such as unique.hk_project-date
	c.Text("reason", p.Reason, 1000)
	NotNegative(&c, "failing_rows", p.Failing)
	c.Time("rejected_at", p.Rejected)
	c.That(p.Kept >= 0 && p.Kept < p.Load.Load, "kept_load", p.Kept, "0 or more, and less than load")
	return invalid(p, c.problems)
}

// WarehouseRevealed: somebody looked behind tokens. It says of what kind and how many, never what was seen.
type WarehouseRevealed struct {
	Region Region `json:"region"`
	Act    Act    `json:"act"`
	Kind   string `json:"kind" jsonschema:"enum=rut,enum=email,enum=phone"`
	Tokens int    `json:"tokens" jsonschema:"description=how many were resolved"`
}

// Type implements Payload.
func (WarehouseRevealed) Type() Type { return TypeWarehouseRevealed }

// Entity implements Payload.
func (WarehouseRevealed) Entity() string { return WarehouseEntity }

// Key implements Payload.
func (p WarehouseRevealed) Key() string { return p.Act.Request }

// Validate implements Payload.
func (p WarehouseRevealed) Validate() error {
	var c Check
	c.DataRegion("region", p.Region)
	c.Part("act", p.Act.Problems())
	OneOf(&c, "kind", p.Kind, "rut", "email", "phone")
	AtLeastOne(&c, "tokens", p.Tokens)
	return invalid(p, c.problems)
}
