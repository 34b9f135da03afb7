package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

func TestItBehavesLikeEveryService(t *testing.T) {
	chassistest.Conduct(t, name, "OFITEC_ODOO_URL="+startERP(t).url, "OFITEC_WAREHOUSE="+t.TempDir())
}

// start starts the service on the site.
func (s *site) start(t *testing.T, env ...string) *chassistest.Process {
	t.Helper()
	return chassistest.Start(t, append([]string{
		"NATS_URL=" + s.natsURL, "OFITEC_ODOO_URL=" + s.erp.url, "OFITEC_WAREHOUSE=" + s.config.Warehouse, "OFITEC_EXPORT_PAGE_ROWS=7", "OFITEC_EXPORT_ATTEMPTS=1", "OFITEC_INTERVAL=1s",
	}, env...)...)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// has says whether the raw files show a row.
func (s *site) has(t *testing.T, dataset string, id int64) bool {
	store := openFolder(t, filepath.Join(s.config.Warehouse, "raw"))
	_, has := replay(t, store, s.records(t), dataset)[id]
	return has
}

func TestAServerThatFailsIsSaidInReadinessMetricsAndOneLogLineAndThenItGoesOn(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	p := s.start(t)
	eventually(t, "the first run", func() bool { return s.has(t, "invoice", 60) })
	s.erp.breaks(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	body := p.Await(t, "/readyz", 503)
	if !strings.Contains(body, "status 500") {
		t.Errorf("readyz says %s", body)
	}
	eventually(t, "metrics that say how much fails", func() bool {
		_, metrics := p.Get("/metrics")
		return strings.Contains(metrics, "ofitec_etl_ingest_failing_parts "+fmt.Sprint(len(mustModels(t).Datasets()))+"\n")
	})
	before := s.erp.asked()
	eventually(t, "several attempts", func() bool { return s.erp.asked() > before+30 })
	if lines := strings.Count(p.Output(), "export does not work"); lines != 1 {
		t.Errorf("%d log lines about it", lines)
	}
	s.erp.put("invoice", 900, time.Now(), "written meanwhile")
	s.erp.breaks(nil)
	p.Await(t, "/readyz", 200)
	eventually(t, "the row that was written meanwhile", func() bool { return s.has(t, "invoice", 900) })
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	s.mustAnnounce(t)
}

func TestAShortCutIsOverInReadinessLongBeforeTheNextRunIsDue(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.erp.breaks(func(w http.ResponseWriter, _ *http.Request) bool {
		if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = connection.Close()
		}
		return true
	})
	p := s.start(t, "OFITEC_INTERVAL=1h")
	p.Await(t, "/readyz", 503)
	eventually(t, "the failed run", func() bool { return strings.Contains(p.Output(), "export does not work") })
	s.erp.breaks(nil)
	eventually(t, "the next run", func() bool { return s.has(t, "invoice", 60) }) // a minute later it would be too late
	p.Await(t, "/readyz", 200)
}

func (s *site) publish(t *testing.T, payload events.Payload) {
	t.Helper()
	conn, err := nats.Connect(s.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	event, err := events.New(events.Origin{Region: "a", Service: events.ServiceConsole}, time.Now().UTC(), payload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.NewJetStream(js, nil).Publish(t.Context(), event); err != nil {
		t.Fatal(err)
	}
}

func TestACommandPullsNowAndReconciles(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	p := s.start(t, "OFITEC_INTERVAL=1h")
	p.Await(t, "/readyz", 200)
	eventually(t, "the first run", func() bool { return s.has(t, "invoice", 60) && s.has(t, "partner", 5) })
	s.erp.remove("invoice", 8)
	s.erp.put("invoice", 901, time.Now(), "new")
	act := events.Act{Actor: "ana", Reason: "month end", Request: "r1", At: time.Now().UTC()}
	s.publish(t, events.JobExport{Dataset: "invoice", Reconcile: true, Act: act})
	eventually(t, "what the command asks for", func() bool { return s.has(t, "invoice", 901) && !s.has(t, "invoice", 8) })
	s.publish(t, events.JobExport{Dataset: "nonsense", Act: events.Act{Actor: "ana", Reason: "typo", Request: "r2", At: time.Now().UTC()}})
	eventually(t, "the unknown dataset in the log", func() bool { return strings.Contains(p.Output(), "there is no dataset") })
}
