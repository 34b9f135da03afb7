package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// A closing is written by etl-transform, as its internal/manifest does; it stands in the one chain, and is announced before anything else is recorded.
func TestAClosingThatEtlTransformHasWrittenIsAnnouncedBeforeTheNextRecord(t *testing.T) {
	folder, states, heard := t.TempDir(), memoryStates{}, &hearing{}
	l := ledgerOf(t, "a", folder, states, heard)
	if _, _, err := l.commit(t.Context(), record(1)); err != nil {
		t.Fatal(err)
	}
	closing := record(1)
	closing.Kind, closing.Dataset, closing.Path = events.KindClose, "close", "close/dt=2026-11-05/x.csv.zst"
	other := manifest.NewChain(openFolder(t, folder))
	if _, err := other.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	written, err := other.Append(t.Context(), closing, func(r *manifest.Record) error {
		r.Batch = "2026-10"
		r.EventID = events.ID(r.Ready(l.root))
		r.EventTime = monday
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if line, _, err := openFolder(t, folder).Read(t.Context(), manifest.Name(written.Sequence)); err != nil || !bytes.Contains(line, []byte(`"kind":"close"`)) {
		t.Fatalf("the record is %s: %v", line, err)
	}
	if _, next, err := l.commit(t.Context(), record(1)); err != nil || next.Sequence != written.Sequence+1 {
		t.Fatalf("the record behind it is %d: %v", next.Sequence, err)
	}
	var ids []string
	for _, e := range heard.all {
		ids = append(ids, e.ID)
	}
	if len(ids) != 3 || ids[1] != "export.ready.close.2026-10" {
		t.Errorf("announced are %s", strings.Join(ids, ", "))
	}
}
