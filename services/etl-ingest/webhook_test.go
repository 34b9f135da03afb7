package main

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/webhook"
)

func TestAnAnnouncementByOdooIsPulledAtOnceAndAForgedOneIsNot(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	const secret, previous = "the present secret", "the previous secret"
	p := s.start(t, "OFITEC_INTERVAL=1h", "OFITEC_WEBHOOK_SECRET="+secret, "OFITEC_WEBHOOK_SECRET_PREVIOUS="+previous)
	p.Await(t, "/readyz", 200)
	eventually(t, "the first run", func() bool { return s.has(t, "invoice", 60) && s.has(t, "partner", 5) })
	announce := func(body, secret string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/v1/announce", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(webhook.Header, webhook.Sign([]byte(body), secret, time.Now()))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // only its status counts
		return response.StatusCode
	}
	s.erp.put("invoice", 901, time.Now(), "announced")
	if status := announce(`{"dataset":"invoice"}`, secret); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	eventually(t, "the invoice that was announced", func() bool { return s.has(t, "invoice", 901) })
	s.erp.put("partner", 902, time.Now(), "announced with the secret before")
	if status := announce(`{"datasets":["partner"]}`, previous); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	eventually(t, "the partner that was announced", func() bool { return s.has(t, "partner", 902) })
	before := s.erp.asked()
	for body, want := range map[string]int{`{"dataset":"invoice"}`: http.StatusUnauthorized} {
		if status := announce(body, "a secret of somebody"); status != want {
			t.Errorf("forged: status %d, want %d", status, want)
		}
	}
	if status := announce(`{"dataset":"nonsense"}`, secret); status != http.StatusBadRequest {
		t.Errorf("an unknown dataset: status %d", status)
	}
	if s.erp.asked() != before {
		t.Error("a forged announcement made it ask the server")
	}
}
