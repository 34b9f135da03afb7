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
	w, err := add(ctx, shelf, root, from, taken, func(r record) error {
		if r.Sequence > from && r.Kind == events.KindClose && r.Batch == c.Month {
			return fmt.Errorf("%w: record %d", ErrClosedMeanwhile, r.Sequence)
		}
		return nil
	}, func(w *record) error {
		w.Kind, w.Dataset, w.Batch, w.Path, w.SHA256, w.Rows, w.Bytes, w.EventTime = events.KindClose, c.Dataset, c.Month, c.Path, c.SHA256, c.Rows, c.Bytes, c.At.UTC()
		return nil
	})
	return w.Sequence, err
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
