package main

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestARoleIsWhatTheArbiterSaysAndASilentOneIsSaidBesideIt(t *testing.T) {
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
	for arbiter, want := range map[string]regionStatus{
		saying(200, 503): {Role: "primary"}, saying(503, 200): {Role: "standby"}, saying(503, 503): {Role: "fenced"},
		refusing.URL: {Role: "fenced", ArbiterSilent: true}, "http://" + silent.Addr().String(): {Role: "fenced", ArbiterSilent: true},
	} {
		if role, silent := o.role(t.Context(), arbiter); role != want.Role || silent != want.ArbiterSilent {
			t.Errorf("role %s, silent %t, want %s, %t", role, silent, want.Role, want.ArbiterSilent)
		}
	}
	now := status{Regions: map[string]regionStatus{"a": {Role: "fenced", Health: "up", ArbiterSilent: true}, "b": {Role: "fenced", Health: "down"}}}
	var people, programs bytes.Buffer
	if err := errors.Join(now.print(&people), writeJSON(&programs, now)); err != nil {
		t.Fatal(err)
	}
	if text := people.String(); !strings.Contains(text, "region a: fenced (no answer from its arbiter), up\n") || !strings.Contains(text, "region b: fenced, down\n") {
		t.Errorf("people read:\n%s", text)
	}
	if text := programs.String(); strings.Count(text, `"role": "fenced"`) != 2 || strings.Count(text, `"arbiter_silent": true`) != 1 {
		t.Errorf("programs read:\n%s", text)
	}
}
