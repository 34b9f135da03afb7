package odoo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events/state"
)

func TestTheCanaryIsAskedWhatUsersWouldAskAndToWriteOnlyWhereThatIsAllowed(t *testing.T) {
	var asked []string
	status := 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)))
		w.WriteHeader(status)
	}))
	defer server.Close()
	c := New("a", map[state.Colour]string{state.Green: server.URL, state.Blue: "http://127.0.0.1:1"}, Requests{
		Health: "/web/health", Reads: []string{"/web/health", "/of/ledger?writer=deployer-$region"}, Write: "/of/ledger", Body: `{"seq":$version}`, Each: 2,
	})
	if p := c.Probe(t.Context(), state.Green, 7, true); p.Sent != 5 || p.Failed != 0 || p.Slowest <= 0 {
		t.Errorf("%+v", p)
	}
	want := []string{"GET /web/health", "GET /of/ledger?writer=deployer-a", "GET /web/health", "GET /of/ledger?writer=deployer-a", `POST /of/ledger {"seq":7}`}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
	if p := c.Probe(t.Context(), state.Green, 7, false); p.Sent != 4 {
		t.Errorf("%+v", p)
	}
	status = 503
	if p := c.Probe(t.Context(), state.Green, 7, true); p.Failed != 5 || p.Problem != "GET /web/health answers 503" {
		t.Errorf("%+v", p)
	}
	if alive, ready, reason := c.Ready(t.Context(), state.Green); !alive || ready || reason != "/web/health answers 503" {
		t.Error(alive, ready, reason)
	}
	if alive, ready, reason := c.Ready(t.Context(), state.Blue); alive || ready || reason == "" {
		t.Error(alive, ready, reason)
	}
	status = 200
	if alive, ready, _ := c.Ready(t.Context(), state.Green); !alive || !ready {
		t.Error(alive, ready)
	}
}
