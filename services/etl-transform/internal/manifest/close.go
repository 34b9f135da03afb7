package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Keeper is a shelf to which files can be added; see raw.Keeper.
type Keeper interface {
	Shelf
	Add(ctx context.Context, name string, content []byte) error
}

// Closed is a closing as it stands in the manifest: a file of the dataset, whose batch is the month, so that the ledger knows one closing a month.
type Closed struct {
	Dataset string
	Month   string // 2026-10
	Path    string // of the raw file from the store's root
	SHA256  string
	Rows    int64
	Bytes   int64
	At      time.Time
}

// version of the records.
const version = 1

// Why a closing was not added.
var (
	ErrClosedMeanwhile = errors.New("the month was closed by somebody else")
	ErrNoRecord        = errors.New("there is no such record")
)

// Close adds the record of a closing at the manifest's end, which is looked for from a record on that is known to be there, and gives its sequence. Nobody else may have closed the month
// between the two. It is as fresh as the record before it: closing says nothing about the source. taken tells the shelf's error for a name that somebody else has given.
func Close(ctx context.Context, shelf Keeper, root string, from int64, c Closed, taken error) (int64, error) {
	for {
		last, hash, err := end(ctx, shelf, from, c)
		if err != nil {
			return 0, err
		}
		w := record{
			Version: version, Sequence: last.Sequence + 1, Previous: hash, Kind: events.KindClose, Dataset: c.Dataset, Region: last.Region, Batch: c.Month, Path: c.Path, Format: "csv",
			SHA256: c.SHA256, Rows: c.Rows, Bytes: c.Bytes, AsOf: last.AsOf, EventTime: c.At.UTC(),
		}
		a, _, err := w.announced(root)
		if err != nil {
			return 0, fmt.Errorf("add manifest record %d: %w", w.Sequence, err) // one that cannot be announced would be in everybody's way
		}
		w.EventID = a.Event.ID
		line, err := seal(w)
		if err != nil {
			return 0, err
		}
		err = shelf.Add(ctx, Name(w.Sequence), line)
		if errors.Is(err, taken) {
			continue // somebody has added a record: look again what it is
		}
		if err != nil {
			return 0, fmt.Errorf("add manifest record %d: %w", w.Sequence, err)
		}
		return w.Sequence, nil
	}
}

// end walks to the last record.
func end(ctx context.Context, shelf Shelf, from int64, c Closed) (last record, hash string, err error) {
	for sequence := from; ; sequence++ {
		line, there, err := shelf.Read(ctx, Name(sequence))
		if err != nil {
			return last, "", err
		}
		if !there && sequence == from {
			return last, "", fmt.Errorf("read manifest record %s: %w", Name(sequence), ErrNoRecord)
		}
		if !there {
			return last, hash, nil
		}
		r, h, err := open(line)
		switch {
		case err == nil && r.Sequence != sequence:
			err = fmt.Errorf("%w: it says that it is number %d", ErrBroken, r.Sequence)
		case err == nil && sequence > from && r.Previous != hash:
			err = fmt.Errorf("%w: it follows on %s, the record before is %s", ErrBroken, r.Previous, hash)
		}
		if err != nil {
			return last, "", fmt.Errorf("read manifest record %s: %w", Name(sequence), err)
		}
		if sequence > from && r.Kind == events.KindClose && r.Batch == c.Month {
			return last, "", fmt.Errorf("%w: record %d", ErrClosedMeanwhile, sequence)
		}
		last, hash = r, h
	}
}

// seal writes the line with its hash, which open checks.
func seal(w record) ([]byte, error) {
	body, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("write manifest record %d: %w", w.Sequence, err)
	}
	sum := sha256.Sum256(body)
	line := append(body[:len(body)-1:len(body)-1], hashField...)
	line = append(line, hex.EncodeToString(sum[:])...)
	return append(line, "\"}\n"...), nil
}
