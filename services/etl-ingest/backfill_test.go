package main

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// fillYears puts many rows over years, some without a write_date and many of one moment.
func fillYears(e *erp) {
	for id := int64(1); id <= 600; id++ {
		e.put("invoice", id, monday.Add(-time.Duration(id)*20*time.Hour), "old")
	}
	for id := int64(601); id <= 650; id++ {
		e.put("invoice", id, monday.Add(-5000*time.Hour), "tie")
	}
	for id := int64(651); id <= 660; id++ {
		e.put("invoice", id, time.Time{}, "written by SQL")
	}
}

func TestALargeDatasetIsReadInWindowsSeveralAtATimeAndStandsInOrder(t *testing.T) {
	s := newSite(t)
	fillYears(s.erp)
	s.config.Export.Connections = 4
	var under, most atomic.Int64
	s.erp.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		now := under.Add(1)
		defer under.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		if r.URL.Path == "/of/export/invoice" {
			time.Sleep(5 * time.Millisecond) // a server that takes its time
		}
		return false
	})
	s.mustOnce(t)
	if most.Load() < 3 || most.Load() > 4 {
		t.Errorf("%d requests at the same time, want up to 4", most.Load())
	}
	s.mustMatch(t, "invoice")
	s.mustAnnounce(t)
	s.mustGoForward(t)
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
}

// mustGoForward fails when a cursor or the source's clock goes back along the chain.
func (s *site) mustGoForward(t *testing.T) {
	t.Helper()
	var clock, cursor time.Time
	windows := 0
	for _, r := range s.records(t) {
		if r.Dataset != "invoice" {
			continue
		}
		if r.AsOf.SourceClock.Before(clock) {
			t.Errorf("record %d: the clock goes back", r.Sequence)
		}
		clock = r.AsOf.SourceClock
		if r.To != nil && r.To.WriteDate.Before(cursor) {
			t.Errorf("record %d: the cursor goes back", r.Sequence)
		}
		if r.To != nil {
			cursor = r.To.WriteDate
		}
		if r.Kind == manifest.KindRows && r.At != "start" && !strings.Contains(r.At, "#") {
			windows++
		}
	}
	if windows < 3 {
		t.Errorf("%d windows", windows)
	}
}

func TestAWindowThatFailsLosesNothing(t *testing.T) {
	s := newSite(t)
	fillYears(s.erp)
	s.config.Export.Connections = 3
	var asked atomic.Int64
	s.erp.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/of/export/invoice" || asked.Add(1) < 40 {
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	if said, err := s.once(t); err == nil {
		t.Fatalf("it went well:\n%s", said)
	}
	s.mustAnnounce(t)
	s.erp.breaks(nil)
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
	s.mustAnnounce(t)
}
