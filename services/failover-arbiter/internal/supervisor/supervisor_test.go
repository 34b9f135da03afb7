package supervisor

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve stands in for deploy/local/control.RegionHandler.
func serve(t *testing.T, status int) (s *Supervisor, asked *[]string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "of")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked = &[]string{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":"no such unit","state":"back-off","reason":"ended: exit status 1"}`)
	}))
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return New(socket), asked
}

func TestItAsksAsTheRegionsSocketWants(t *testing.T) {
	s, asked := serve(t, 200)
	if err := s.StopImmediately(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.StopFast(context.Background()); err != nil {
		t.Error(err)
	}
	want := []string{`POST /v1/units/postgres/stop {"mode":"immediate"}`, "POST /v1/units/postgres/start null", `POST /v1/units/postgres/stop {"mode":"fast"}`}
	if strings.Join(*asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked %q, want %q", *asked, want)
	}
}

func TestARefusalIsAnErrorThatSaysWhy(t *testing.T) {
	s, _ := serve(t, 404)
	if err := s.StopImmediately(context.Background()); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "no such unit") {
		t.Errorf("got %v", err)
	}
	if err := New("/nonexistent/socket").Start(context.Background()); err == nil {
		t.Error("no error without a supervisor")
	}
}

func TestTheStatusSaysWhetherItComesBackByItself(t *testing.T) {
	s, _ := serve(t, 200)
	status, err := s.Status(context.Background())
	if err != nil || !status.Restarting() || status.Down() || status.Reason != "ended: exit status 1" {
		t.Errorf("got %+v, %v", status, err)
	}
	for state, want := range map[string][2]bool{"stopped": {false, true}, "held": {false, true}, "starting": {true, false}, "ready": {false, false}} {
		if status := (Status{State: state}); status.Restarting() != want[0] || status.Down() != want[1] {
			t.Errorf("%s: restarting %t, down %t", state, status.Restarting(), status.Down())
		}
	}
}
