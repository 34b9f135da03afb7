// Package manifest reads the chain of records that etl-ingest keeps beside the raw files (its README describes the form). With it a warehouse that was lost, or that missed
// events, is brought up to date without the bus.
package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
)

// ErrBroken is wrapped when a record is not what was written, or does not follow on the one before it.
var ErrBroken = errors.New("the manifest's chain is broken")

// Shelf reads small files by name.
type Shelf interface {
	Read(ctx context.Context, name string) ([]byte, bool, error)
}

// record is what is read of a line, and a closing as it is written. Field order is etl-ingest's and part of the format.
type record struct {
	Version   int            `json:"version"`
	Sequence  int64          `json:"sequence"`
	Previous  string         `json:"previous"`
	Kind      string         `json:"kind"`
	Dataset   string         `json:"dataset"`
	Region    events.Region  `json:"region"`
	Batch     string         `json:"batch"`
	Path      string         `json:"path"`
	Format    string         `json:"format"`
	SHA256    string         `json:"sha256"`
	Rows      int64          `json:"rows"`
	Bytes     int64          `json:"bytes"`
	AsOf      events.AsOf    `json:"asof"`
	At        string         `json:"at"` // the place that an export was asked for
	From      *events.Cursor `json:"cursor_from"`
	To        *events.Cursor `json:"cursor_to"`
	EventID   string         `json:"event_id"`
	EventTime time.Time      `json:"event_time"`

	Correlation string `json:"correlation_id,omitempty"` // both empty when nothing else caused the event
	Causation   string `json:"causation_id,omitempty"`

	Key     *KeyChange `json:"key,omitempty"`     // of a record of kind key
	Erasure *Erasure   `json:"erasure,omitempty"` // of a record of kind erasure
}

// foldersOf is how many records a folder has.
const foldersOf = 10_000

// Name is where a record is, from the store's root.
func Name(sequence int64) string {
	return fmt.Sprintf("_manifest/%06d/%012d.json", sequence/foldersOf, sequence)
}

const hashField = `,"hash":"`

// open reads a line, checks its hash and gives it.
func open(line []byte) (r record, hash string, err error) {
	at := bytes.LastIndex(line, []byte(hashField))
	if at < 0 || !bytes.HasSuffix(line, []byte("\"}\n")) {
		return r, "", fmt.Errorf("%w: not a line that ends with its hash", ErrBroken)
	}
	hash = string(line[at+len(hashField) : len(line)-len("\"}\n")])
	body := append(bytes.Clone(line[:at]), '}')
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != hash {
		return r, "", fmt.Errorf("%w: hash is %s, the line's is %x", ErrBroken, hash, sum)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, "", fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return r, hash, nil
}

// From gives the announcements of the records from a sequence on, at most limit of them, and the sequence that follows on what was read. root is the store's URL. Records that announce
// no file of a dataset are passed over.
func From(ctx context.Context, shelf Shelf, root string, sequence int64, limit int) (found []batch.Announced, next int64, err error) {
	previous := ""
	for next = sequence; len(found) < limit; next++ {
		line, there, err := shelf.Read(ctx, Name(next))
		if err != nil || !there {
			return found, next, err
		}
		r, hash, err := open(line)
		switch {
		case err != nil:
		case r.Sequence != next:
			err = fmt.Errorf("%w: it says that it is number %d", ErrBroken, r.Sequence)
		case previous != "" && r.Previous != previous:
			err = fmt.Errorf("%w: it follows on %s, the record before is %s", ErrBroken, r.Previous, previous)
		}
		if err != nil {
			return found, next, fmt.Errorf("read manifest record %s: %w", Name(next), err)
		}
		previous = hash
		a, announces, err := r.announced(root)
		if err != nil {
			return found, next, fmt.Errorf("read manifest record %s: %w", Name(next), err)
		}
		if announces {
			found = append(found, a)
		}
	}
	return found, next, nil
}

// announced is the event that told of the record.
func (r record) announced(root string) (batch.Announced, bool, error) {
	switch r.Kind {
	case "rows", "absent", "assert", "summary", events.KindClose, events.KindKey, events.KindErasure:
	default:
		return batch.Announced{}, false, nil
	}
	path := r.Path
	if path == "" {
		path = r.Dataset
	}
	ready := events.ExportReady{
		Dataset: r.Dataset, Region: r.Region, Batch: r.Batch, RawURL: root + "/" + path, Format: r.Format, Kind: r.Kind, SHA256: r.SHA256, Rows: r.Rows, Bytes: r.Bytes,
		AsOf: r.AsOf, From: r.From, To: r.To, Sequence: r.Sequence, Encrypted: strings.HasSuffix(path, ".age"),
	}
	var options []events.Option
	if r.Causation != "" {
		options = append(options, events.Correlated(r.Correlation, r.Causation))
	}
	event, err := events.New(events.Origin{Region: r.Region, Service: events.ServiceIngest}, r.EventTime, ready, options...)
	if err != nil {
		return batch.Announced{}, false, err
	}
	return batch.Announced{Event: event, Ready: ready}, true, nil
}
