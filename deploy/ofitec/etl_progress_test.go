package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

var etlNow = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

func etlFact(t *testing.T, region events.Region, service string, payload events.Payload, options ...events.Option) events.Event {
	t.Helper()
	event, err := events.New(events.Origin{Region: region, Service: service}, etlNow, payload, options...)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func etlFile(t *testing.T, job events.Event, dataset, batch string, sequence, rows int64) events.Event {
	t.Helper()
	return etlFact(t, "a", "etl-ingest", events.ExportReady{
		Dataset: dataset, Region: "a", Batch: batch, RawURL: "s3://ofitec-raw/raw/" + dataset, Format: "csv", Kind: "rows", SHA256: strings.Repeat("0", 64), Rows: rows, Bytes: 10 * rows,
		AsOf: events.AsOf{Epoch: 1, SourceClock: etlNow}, Sequence: sequence,
	}, events.CausedBy(job))
}

func etlLoaded(t *testing.T, region events.Region, load, sequence int64, files ...events.Event) events.Event {
	t.Helper()
	p := events.WarehouseLoaded{Load: events.Load{Region: region, Load: load, Sequence: sequence}, Loaded: etlNow}
	for _, f := range files {
		p.Batches = append(p.Batches, f.ID)
	}
	return etlFact(t, region, "etl-transform", p)
}

func etlPublished(t *testing.T, region events.Region, load, sequence int64) events.Event {
	t.Helper()
	return etlFact(t, region, "etl-transform", events.WarehousePublished{
		Load: events.Load{Region: region, Load: load, Sequence: sequence}, Published: etlNow, AsOf: events.AsOf{Epoch: 1, SourceClock: etlNow},
	})
}

func TestARunEndsWhenReadersSeeAllThatItHasExported(t *testing.T) {
	job := etlFact(t, "a", "operator", events.JobExport{Dataset: "all", Act: events.Act{Actor: "operator:ana", Reason: "why", Request: "r1", At: etlNow}})
	other := etlFact(t, "a", "operator", events.JobExport{Dataset: "all", Act: events.Act{Actor: "operator:ana", Reason: "why", Request: "r2", At: etlNow}})
	first, second, strange := etlFile(t, job, "invoice", "b1", 1, 7), etlFile(t, job, "partner", "b2", 2, 0), etlFile(t, other, "invoice", "b3", 3, 100)
	p := newETLProgress(job.CorrelationID)
	steps := []struct {
		event events.Event
		ended bool
	}{
		{etlLoaded(t, "b", 500, 1, first), false}, // faster than its announcement was read
		{first, false},
		{strange, false},
		{second, false},
		{etlLoaded(t, "b", 501, 2, second), false},
		{etlLoaded(t, "a", 7, 2, first, second, strange), false},
		{etlPublished(t, "a", 6, 1), false}, // a load before
		{etlPublished(t, "a", 8, 3), true},  // a later one has ours in it
	}
	for n, s := range steps {
		p.exported = n > 3
		p.observe(s.event)
		if p.ended() != s.ended {
			t.Fatalf("after step %d the run's end is %t, want %t: %s", n+1, p.ended(), s.ended, p.waitsFor())
		}
	}
	r := p.result("r1", nil)
	if r.Region != "a" || r.Published != 8 || r.Datasets["invoice"].Rows != 7 || r.Datasets["partner"].Rows != 0 || len(r.Datasets) != 2 {
		t.Errorf("result is %+v", r)
	}
	var out strings.Builder
	p.print(&out)
	if !strings.Contains(out.String(), "invoice  7         1      70") {
		t.Errorf("printed is\n%s", out.String())
	}
}

func TestARunThatFindsNothingNewEndsWithTheAnswerToTheCommand(t *testing.T) {
	p := newETLProgress("x")
	if p.ended() || !strings.Contains(p.waitsFor(), "etl-ingest") {
		t.Error("it ended before ingest has answered")
	}
	p.exported = true
	if !p.ended() {
		t.Error("it did not end")
	}
}
