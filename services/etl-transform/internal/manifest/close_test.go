package manifest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

var errTaken = errors.New("taken")

// Add implements Keeper.
func (s shelf) Add(_ context.Context, name string, content []byte) error {
	if _, there := s[name]; there {
		return errTaken
	}
	s[name] = content
	return nil
}

// hurried lets somebody else add a record between the look at the end and the writing.
type hurried struct {
	shelf
	between func()
}

func (h *hurried) Add(ctx context.Context, name string, content []byte) error {
	if h.between != nil {
		h.between()
		h.between = nil
	}
	return h.shelf.Add(ctx, name, content)
}

var october = Closed{Dataset: "close", Month: "2026-10", Path: "close/x.csv.zst", SHA256: strings.Repeat("b", 64), Rows: 3, Bytes: 90, At: time.Date(2026, 11, 5, 9, 0, 0, 0, time.UTC)}

func TestAClosingStandsBehindTheLastRecordAndIsAsFreshAsThat(t *testing.T) {
	s := shelf{}
	hash := s.add(1, "0", "rows", "a")
	h := &hurried{shelf: s, between: func() { s.add(2, hash, "rows", "b") }}
	sequence, err := Close(t.Context(), h, "s3://raw", 1, october, errTaken)
	if err != nil || sequence != 3 {
		t.Fatalf("record %d: %v", sequence, err)
	}
	found, next, err := From(t.Context(), s, "s3://raw", 1, 10) // checks the chain
	if err != nil || next != 4 || len(found) != 3 {
		t.Fatalf("found %d up to %d: %v", len(found), next, err)
	}
	ready := found[2].Ready
	if ready.Kind != "close" || ready.Batch != "2026-10" || ready.RawURL != "s3://raw/close/x.csv.zst" || ready.AsOf != found[1].Ready.AsOf {
		t.Errorf("announced is %+v", ready)
	}
}

func TestAMonthThatSomebodyElseHasClosedIsNotClosedAgain(t *testing.T) {
	s := shelf{}
	hash := s.add(1, "0", "rows", "a")
	h := &hurried{shelf: s, between: func() {
		if _, err := Close(t.Context(), s, "s3://raw", 1, october, errTaken); err != nil {
			t.Error(err)
		}
	}}
	if _, err := Close(t.Context(), h, "s3://raw", 1, october, errTaken); !errors.Is(err, ErrClosedMeanwhile) || len(s) != 2 {
		t.Errorf("%d records: %v", len(s), err)
	}
	if _, err := Close(t.Context(), s, "s3://raw", 9, october, errTaken); !errors.Is(err, ErrNoRecord) {
		t.Errorf("behind a record that is not there: %v", err)
	}
	s.add(2, hash, "rows", "b")
	s.add(3, "broken", "rows", "c")
	if _, err := Close(t.Context(), s, "s3://raw", 1, october, errTaken); !errors.Is(err, ErrBroken) {
		t.Errorf("a chain that is broken: %v", err)
	}
}
