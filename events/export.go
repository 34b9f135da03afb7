package events

import (
	"strconv"
	"strings"
	"time"
)

// Cursor is a place in a dataset: everything up to this write_date and id was read.
type Cursor struct {
	WriteDate time.Time `json:"write_date" jsonschema:"description=UTC"`
	ID        int64     `json:"id"`
}

// AsOf tells how fresh what an export says can be: an older one never overrules a newer one.
type AsOf struct {
	Epoch       Epoch     `json:"epoch"`
	SourceClock time.Time `json:"source_clock" jsonschema:"description=the source's clock at the start of the request"`
}

// Problems says what is wrong with it.
func (a AsOf) Problems() []Problem {
	var c Check
	c.Epoch("epoch", a.Epoch)
	c.Time("source_clock", a.SourceClock)
	return c.Problems()
}

// KindClose is the kind of a raw file that no export brought: what the marts said of a month when it was closed.
const KindClose = "close"

// KindKey and KindErasure are the kinds of records without a raw file of their own: from here on tokens are made by another key, and rows of a person were taken out of the files before. Their
// datasets are DatasetKey and DatasetErasure.
const (
	KindKey     = "key"
	KindErasure = "erasure"

	DatasetKey     = "token_key"
	DatasetErasure = "erasure"
)

// ExportReady: a raw file is durable and may be loaded. An empty export has no rows but still says how fresh the source was.
type ExportReady struct {
	Dataset   string  `json:"dataset"`
	Region    Region  `json:"region" jsonschema:"description=where the source ran"`
	Batch     string  `json:"batch" jsonschema:"description=unique within the dataset"`
	RawURL    string  `json:"raw_url" jsonschema:"description=file:// or s3://; without credentials"`
	Format    string  `json:"format" jsonschema:"enum=csv,enum=ndjson"`
	Kind      string  `json:"kind" jsonschema:"enum=rows,enum=absent,enum=assert,enum=summary,enum=close,enum=key,enum=erasure"`
	SHA256    string  `json:"sha256" jsonschema:"description=of the plain bytes after Content-Encoding"`
	Rows      int64   `json:"rows"`
	Bytes     int64   `json:"bytes" jsonschema:"description=of the plain bytes"`
	AsOf      AsOf    `json:"asof"`
	From      *Cursor `json:"cursor_from" jsonschema:"oneof_type=object;null,description=null: from the beginning"`
	To        *Cursor `json:"cursor_to" jsonschema:"oneof_type=object;null,description=null: the cursor did not move"`
	Sequence  int64   `json:"manifest_sequence" jsonschema:"description=place in the hash-chained manifest; from 1"`
	Encrypted bool    `json:"encrypted"`
}

// Type implements Payload.
func (ExportReady) Type() Type { return TypeExportReady }

// Entity implements Payload.
func (p ExportReady) Entity() string { return p.Dataset }

// Key implements Payload.
func (p ExportReady) Key() string { return p.Batch }

// Validate implements Payload.
func (p ExportReady) Validate() error {
	var c Check
	c.Token("dataset", p.Dataset)
	c.DataRegion("region", p.Region)
	c.Token("batch", p.Batch)
	known := strings.HasPrefix(p.RawURL, "file:///") || strings.HasPrefix(p.RawURL, "s3://")
	c.That(known && !strings.ContainsAny(p.RawURL, "@? "), "raw_url", p.RawURL, "a file:/// or s3:// URL without credentials or a query")
	OneOf(&c, "format", p.Format, "csv", "ndjson")
	OneOf(&c, "kind", p.Kind, "rows", "absent", "assert", "summary", KindClose, KindKey, KindErasure)
	c.SHA256("sha256", p.SHA256)
	NotNegative(&c, "rows", p.Rows)
	NotNegative(&c, "bytes", p.Bytes)
	c.Part("asof", p.AsOf.Problems())
	if p.From != nil {
		c.Time("cursor_from.write_date", p.From.WriteDate)
	}
	if p.To != nil {
		c.Time("cursor_to.write_date", p.To.WriteDate)
		c.That(!p.To.WriteDate.After(p.AsOf.SourceClock), "cursor_to.write_date", p.To.WriteDate, "not after the source's own clock")
	}
	AtLeastOne(&c, "manifest_sequence", p.Sequence)
	return invalid(p, c.problems)
}

// ExportFailed: a dataset could not be pulled; the cursor did not move.
type ExportFailed struct {
	Dataset   string    `json:"dataset"`
	Region    Region    `json:"region"`
	Batch     string    `json:"batch" jsonschema:"description=the batch that was tried"`
	FailedAt  time.Time `json:"failed_at"`
	Attempts  int       `json:"attempts"`
	Code      string    `json:"code" jsonschema:"description=truncated; status; schema; timeout; refused ..."`
	Status    int       `json:"status,omitempty" jsonschema:"description=HTTP status; absent without an answer"`
	Reason    string    `json:"reason" jsonschema:"description=never a row of data"`
	RetryTime time.Time `json:"retry_at"`
}

// Type implements Payload.
func (ExportFailed) Type() Type { return TypeExportFailed }

// Entity implements Payload.
func (p ExportFailed) Entity() string { return p.Dataset }

// Key implements Payload.
func (p ExportFailed) Key() string { return p.Batch + "-" + strconv.Itoa(p.Attempts) }

// Validate implements Payload.
func (p ExportFailed) Validate() error {
	var c Check
	c.Token("dataset", p.Dataset)
	c.DataRegion("region", p.Region)
	c.Token("batch", p.Batch)
	c.Time("failed_at", p.FailedAt)
	AtLeastOne(&c, "attempts", p.Attempts)
	c.Token("code", p.Code)
	c.That(p.Status == 0 || p.Status >= 100 && p.Status <= 599, "status", p.Status, "an HTTP status, or absent")
	c.Text("reason", p.Reason, 1000)
	c.Order("retry_at", p.RetryTime, "failed_at", p.FailedAt)
	return invalid(p, c.problems)
}
