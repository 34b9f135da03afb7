package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type shelf map[string][]byte

func (s shelf) Read(_ context.Context, name string) ([]byte, bool, error) {
	content, found := s[name]
	return content, found, nil
}

// add seals a record as etl-ingest does and gives its hash.
func (s shelf) add(sequence int64, previous, kind, path string) string {
	body := fmt.Sprintf(`{"version":1,"sequence":%d,"previous":"%s","kind":"%s","dataset":"invoice","region":"a","batch":"b%d","path":"%s","format":"csv","sha256":"%s","rows":1,"bytes":9,`+
		`"asof":{"epoch":1,"source_clock":"2026-11-01T00:00:00Z"},"at":"","cursor_from":null,"cursor_to":null,"event_id":"x","event_time":"2026-11-01T00:00:01Z"}`, sequence, previous, kind, sequence, path, strings.Repeat("a", 64))
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	s[Name(sequence)] = []byte(body[:len(body)-1] + hashField + hash + "\"}\n")
	return hash
}

func TestRecordsAreReadInOrderAndThoseOfOtherKindsArePassedOver(t *testing.T) {
	s := shelf{}
	hash := s.add(1, "0", "rows", "invoice/dt=2026-11-01/a.csv.zst")
	hash = s.add(2, hash, "note", "")
	hash = s.add(3, hash, "rows", "")
	s.add(4, hash, "absent", "invoice/b.csv.zst")
	found, next, err := From(t.Context(), s, "s3://raw", 1, 2)
	if err != nil || next != 4 || len(found) != 2 {
		t.Fatalf("found %d up to %d: %v", len(found), next, err)
	}
	if found[0].Ready.RawURL != "s3://raw/invoice/dt=2026-11-01/a.csv.zst" || found[1].Ready.RawURL != "s3://raw/invoice" || found[0].Event.ID != "export.ready.invoice.b1" {
		t.Errorf("announced are %+v", found)
	}
	found, next, err = From(t.Context(), s, "s3://raw", next, 10)
	if err != nil || next != 5 || len(found) != 1 || found[0].Ready.Kind != "absent" {
		t.Errorf("found %+v up to %d: %v", found, next, err)
	}
}

func TestARecordSaysWhatCausedItsEvent(t *testing.T) {
	s := shelf{}
	s.add(1, "0", "rows", `x","correlation_id":"the job","causation_id":"ofitec://a/console#j1","more":"`)
	found, _, err := From(t.Context(), s, "s3://raw", 1, 2)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d: %v", len(found), err)
	}
	if e := found[0].Event; e.CorrelationID != "the job" || e.CausationID != "ofitec://a/console#j1" {
		t.Errorf("correlation %q, causation %q", e.CorrelationID, e.CausationID)
	}
}

func TestABrokenChainIsTold(t *testing.T) {
	for sentence, damage := range map[string]func(shelf){
		"a byte was changed":                   func(s shelf) { s[Name(2)] = []byte(strings.Replace(string(s[Name(2)]), `"rows":1`, `"rows":2`, 1)) },
		"a record follows on another":          func(s shelf) { s.add(2, "f", "rows", "x") },
		"a record stands under another's name": func(s shelf) { s[Name(2)] = s[Name(1)] },
		"a line is cut off":                    func(s shelf) { s[Name(2)] = s[Name(2)][:40] },
	} {
		s := shelf{}
		s.add(2, s.add(1, "0", "rows", "x"), "rows", "y")
		damage(s)
		if found, next, err := From(t.Context(), s, "s3://raw", 1, 10); !errors.Is(err, ErrBroken) || len(found) != 1 || next != 2 {
			t.Errorf("%s: found %d up to %d: %v", sentence, len(found), next, err)
		}
	}
}
