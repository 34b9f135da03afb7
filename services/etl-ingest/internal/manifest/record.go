// Package manifest is the chain of records beside the raw files: what was received, in which order, how fresh the source was, and how it was announced. With it
// a stranger can check that no raw file was changed, added or lost, and the warehouse can be built again without the bus.
//
// A record is one line of JSON in a file of its own, _manifest/<sequence / 10000>/<sequence>.json, added if nobody else has added that number: so that a record
// is there completely or not at all on any kind of store, and so that two writers, even in two regions, make one chain. All lines in order of their names
// are the manifest.
//
// A record is written before its event is published, which makes the manifest the outbox of the raw store: see Chain.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Version is the version of the records that this package writes.
const Version = 1

// Origin is the previous hash of the first record.
var Origin = strings.Repeat("0", 64)

// Record is one line of the manifest. Field order is the order in the line, and part of the format.
type Record struct {
	Version   int            `json:"version"`
	Sequence  int64          `json:"sequence"` // from 1, without gaps
	Previous  string         `json:"previous"` // hash of the record before, Origin for the first
	Kind      string         `json:"kind"`     // one of the kinds below
	Dataset   string         `json:"dataset"`
	Region    events.Region  `json:"region"` // where the source ran
	Batch     string         `json:"batch"`
	Path      string         `json:"path"` // of the raw file from the store's root; empty when nothing new was found
	Format    string         `json:"format"`
	SHA256    string         `json:"sha256"` // of the plain bytes
	Rows      int64          `json:"rows"`
	Bytes     int64          `json:"bytes"` // plain
	AsOf      events.AsOf    `json:"asof"`
	At        string         `json:"at"` // the place that was asked for, see extract.Place; empty when nothing new was found
	From      *events.Cursor `json:"cursor_from"`
	To        *events.Cursor `json:"cursor_to"`
	EventID   string         `json:"event_id"`
	EventTime time.Time      `json:"event_time"`

	Schema      string `json:"schema,omitempty"`         // fingerprint of the columns, see extract.Fingerprint
	Correlation string `json:"correlation_id,omitempty"` // of the event, when something else caused it
	Causation   string `json:"causation_id,omitempty"`   // message id of that cause

	Erasure *Erasure `json:"erasure,omitempty"` // of a record of kind erasure, which etl-transform writes
}

// The kinds of records; what their files hold stands in the service's README.
const (
	KindRows    = "rows"    // a page of an export, or that there was nothing new
	KindAbsent  = "absent"  // ids that are no more
	KindAssert  = "assert"  // rows as the source has them, whatever was seen before
	KindSummary = "summary" // what was compared with the source
)

// Ready is the event that announces the record. root is the store's URL, without a slash at its end. A record without a raw file names the dataset's folder.
func (r Record) Ready(root string) events.ExportReady {
	path := r.Path
	if path == "" {
		path = r.Dataset
	}
	return events.ExportReady{
		Dataset: r.Dataset, Region: r.Region, Batch: r.Batch, RawURL: root + "/" + path, Format: r.Format, Kind: r.Kind, SHA256: r.SHA256, Rows: r.Rows, Bytes: r.Bytes,
		AsOf: r.AsOf, From: r.From, To: r.To, Sequence: r.Sequence, Encrypted: strings.HasSuffix(path, ".age"),
	}
}

const (
	hashField = `,"hash":"`
	tailSize  = len(hashField) + 64 + len("\"}\n")
)

// Seal writes the record's line with its hash: the SHA-256 of the line as it would be without the field "hash" and without the line's end.
func Seal(r Record) (line []byte, hash string, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, "", fmt.Errorf("write manifest record %d: %w", r.Sequence, err)
	}
	sum := sha256.Sum256(body)
	hash = hex.EncodeToString(sum[:])
	line = append(body[:len(body)-1:len(body)-1], hashField...)
	line = append(line, hash...)
	return append(line, "\"}\n"...), hash, nil
}

// ErrBroken is wrapped when a record is not what was written, or does not follow on the one before it.
var ErrBroken = errors.New("the manifest's chain is broken")

// Open reads a line and checks its hash. Fields that this version does not know are left out of the record, but not out of the hash.
func Open(line []byte) (Record, string, error) {
	var r Record
	if len(line) <= tailSize || !bytes.HasSuffix(line, []byte("\"}\n")) || !bytes.HasPrefix(line[len(line)-tailSize:], []byte(hashField)) {
		return r, "", fmt.Errorf("%w: not a line that ends with its hash", ErrBroken)
	}
	body := append(bytes.Clone(line[:len(line)-tailSize]), '}')
	hash := string(line[len(line)-tailSize+len(hashField) : len(line)-len("\"}\n")])
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != hash {
		return r, "", fmt.Errorf("%w: hash is %s, the line's is %x", ErrBroken, hash, sum)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, "", fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return r, hash, nil
}
