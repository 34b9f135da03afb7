package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
)

// KeyChange says that tokens are made by another key from here on. Keys are named by their versions, which tell nothing of them.
type KeyChange struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// errKnown ends the search for what is there already.
var errKnown = errors.New("it is recorded")

// nothing is the hash of no bytes, as of any record without a file.
var nothing = hex.EncodeToString(sha256.New().Sum(nil))

// ChangeKey adds the record of a key change, unless the last one from a record on that is known to be there, else last, leads to the same key: a rotation that was cut off, or
// that the other region has begun, is recorded once. It gives the record's sequence, 0 for one that was there.
func ChangeKey(ctx context.Context, shelf Keeper, root string, from int64, last string, k KeyChange, at time.Time, taken error) (int64, error) {
	latest := last
	w, err := add(ctx, shelf, root, from, taken, func(r record) error {
		if r.Kind == events.KindKey && r.Key != nil {
			latest = r.Key.To
		}
		return nil
	}, func(w *record) error {
		if latest == k.To {
			return errKnown
		}
		w.Kind, w.Dataset, w.Batch, w.SHA256, w.EventTime, w.Key = events.KindKey, events.DatasetKey, fmt.Sprintf("%s-%06d", k.To, w.Sequence), nothing, at.UTC(), &k
		return nil
	})
	if errors.Is(err, errKnown) {
		return 0, nil
	}
	return w.Sequence, err
}

// KeyOf is the key that the batch of a key change leads to.
func KeyOf(batch string) string {
	version, _, _ := strings.Cut(batch, "-")
	return version
}
