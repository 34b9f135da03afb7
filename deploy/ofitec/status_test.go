package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestARoleIsWhatTheArbiterSaysAndUnknownWhenItSaysNothing(t *testing.T) {
	saying := func(mandate, standby int) string {
		mux := http.NewServeMux()
		for path, status := range map[string]int{"/mandate": mandate, "/standby": standby} {
			mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		}
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return server.URL
	}
	refusing := httptest.NewServer(http.NotFoundHandler())
	refusing.Close()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // as of a process that is stopped
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	o := &operator{http: &http.Client{Timeout: 200 * time.Millisecond}}
	for arbiter, want := range map[string]string{
		saying(200, 503): "primary", saying(503, 200): "standby", saying(503, 503): "fenced",
		refusing.URL: "unknown", "http://" + silent.Addr().String(): "unknown",
	} {
		if role := o.role(t.Context(), arbiter); role != want {
			t.Errorf("role %s, want %s", role, want)
		}
	}
	var text bytes.Buffer
	if err := (status{Regions: map[string]regionStatus{"a": {Role: "unknown", Health: "up"}}}).print(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "region a: no answer from its arbiter") || strings.Contains(text.String(), "fenced") {
		t.Errorf("people read:\n%s", text.String())
	}
}
