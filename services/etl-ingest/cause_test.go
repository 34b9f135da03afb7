package main

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

func TestTheNewOwnerReadsFromThePromotionOnAndNobodyBeforeIt(t *testing.T) {
	for _, test := range []struct {
		phase  state.Phase
		active events.Region
		reads  events.Region // empty: nobody
	}{
		{state.PhaseSteady, "a", "a"}, {state.PhaseIntent, "a", ""}, {state.PhaseFenced, "a", ""}, {state.PhasePromoted, "b", "b"}, {state.PhaseSwitched, "b", "b"}, {state.PhaseSteady, "b", "b"},
	} {
		for _, region := range events.DataRegions {
			epoch, err := permitted(state.Failover{Epoch: 5, Active: test.active, Phase: test.phase}, true, region)
			if (err == nil) != (region == test.reads) || err == nil && epoch != 5 || err != nil && !isFenced(err) {
				t.Errorf("phase %s, active %s: region %s reads in epoch %d, %v", test.phase, test.active, region, epoch, err)
			}
		}
	}
	if _, err := permitted(state.Failover{}, false, "a"); !isFenced(err) {
		t.Errorf("without a state: %v", err)
	}
}

func TestAReconciliationThatFailsIsMadeAgainWithTheNextRunAsDeepAsTheFirst(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.erp.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/summary") {
			return false
		}
		w.WriteHeader(500)
		return true
	})
	// Both moments are within the look-back, which only the first reconciliation of an epoch compares.
	before, later := monday.Add(3*time.Hour), monday.Add(3*time.Hour+time.Second)
	s.erp.put("invoice", 70, later, "not replicated")
	p := s.start(t)
	eventually(t, "the row that goes away again", func() bool { return s.has(t, "invoice", 70) })
	p.Await(t, "/readyz", 503)
	s.erp.put("invoice", 70, before, "what it was")
	s.erp.breaks(nil)
	eventually(t, "the row as it was", func() bool {
		raw := filepath.Join(s.config.Warehouse, "raw")
		return replay(t, openFolder(t, raw), recordsOf(t, raw), "invoice")[70].name == "what it was"
	})
	p.Await(t, "/readyz", 200)
}

// hearing keeps what is published.
type hearing struct{ all []events.Event }

func (h *hearing) Publish(_ context.Context, e events.Event) (bus.Receipt, error) {
	h.all = append(h.all, e)
	return bus.Receipt{Stream: events.StreamFacts, Sequence: uint64(len(h.all))}, nil
}

func TestARecordThatIsAnnouncedAfterACrashStillNamesWhatCausedIt(t *testing.T) {
	folder, states := t.TempDir(), memoryStates{}
	cause, err := events.New(events.Origin{Region: "a", Service: events.ServiceConsole}, monday, events.JobExport{
		Dataset: "invoice", Act: events.Act{Actor: "ana", Reason: "month end", Request: "r1", At: monday},
	})
	if err != nil {
		t.Fatal(err)
	}
	dying := ledgerOf(t, "a", folder, states, deaf{})
	if _, err := dying.chain.Append(t.Context(), record(1), dying.complete(events.CausedBy(cause))); err != nil {
		t.Fatal(err)
	}
	if _, err := dying.chain.Append(t.Context(), record(1), dying.complete()); err != nil {
		t.Fatal(err)
	}
	heard := &hearing{}
	if err := ledgerOf(t, "b", folder, states, heard).settle(t.Context(), []string{"invoice"}); err != nil {
		t.Fatal(err)
	}
	if len(heard.all) != 2 {
		t.Fatalf("%d events, want 2", len(heard.all))
	}
	if e := heard.all[0]; e.CorrelationID != cause.CorrelationID || e.CausationID != cause.MsgID() {
		t.Errorf("correlation %q, causation %q, want those of %s", e.CorrelationID, e.CausationID, cause.MsgID())
	}
	if e := heard.all[1]; e.CorrelationID != e.MsgID() || e.CausationID != e.MsgID() {
		t.Errorf("correlation %q, causation %q of what nothing caused", e.CorrelationID, e.CausationID)
	}
}
