package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/health"
)

func ready(t *testing.T, h *health.Health) (int, health.Report) {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeReady(recorder, httptest.NewRequest("GET", "/readyz", nil))
	var r health.Report
	if err := json.Unmarshal(recorder.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return recorder.Code, r
}

func passes(context.Context) error { return nil }

func TestOneFailingCheckMakesTheServiceNotReadyAndIsNamed(t *testing.T) {
	h := health.New(time.Second)
	h.Register("nats", passes)
	h.Register("etcd", func(context.Context) error { return errors.New("no leader") })
	status, report := ready(t, h)
	if status != 503 || report.Status != "not ready" || report.Checks["etcd"] != "no leader" || report.Checks["nats"] != "ok" {
		t.Errorf("%d %+v", status, report)
	}
}

func TestAServiceIsReadyWhenAllChecksPass(t *testing.T) {
	h := health.New(time.Second)
	h.Register("nats", passes)
	if status, report := ready(t, h); status != 200 || report.Status != "ready" {
		t.Errorf("%d %+v", status, report)
	}
}

func TestChecksRunTogetherAndOneThatHangsIsCutOffAtTheDeadline(t *testing.T) {
	h := health.New(200 * time.Millisecond)
	for _, name := range []string{"a", "b", "c"} {
		h.Register(name, func(context.Context) error { <-t.Context().Done(); return nil })
	}
	h.Register("d", passes)
	start := time.Now()
	status, report := ready(t, h)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if status != 503 || report.Checks["a"] != "no answer within 200ms" || report.Checks["d"] != "ok" {
		t.Errorf("%d %+v", status, report)
	}
}

func TestANoteIsSaidAndDoesNotMakeTheServiceNotReady(t *testing.T) {
	h := health.New(time.Second)
	h.Register("nats", passes)
	h.Note("region a", func() string { return "Prometheus has no data" })
	h.Note("region b", func() string { return "" })
	status, report := ready(t, h)
	if _, silent := report.Notes["region b"]; status != 200 || report.Status != "ready" || report.Notes["region a"] != "Prometheus has no data" || silent {
		t.Errorf("%d %+v", status, report)
	}
}

func TestADrainingServiceIsNotReadyButAlive(t *testing.T) {
	h := health.New(time.Second)
	h.Drain()
	if status, report := ready(t, h); status != 503 || report.Status != "draining" {
		t.Errorf("%d %+v", status, report)
	}
	recorder := httptest.NewRecorder()
	h.ServeLive(recorder, httptest.NewRequest("GET", "/healthz", nil))
	if recorder.Code != 200 {
		t.Errorf("healthz %d", recorder.Code)
	}
}
