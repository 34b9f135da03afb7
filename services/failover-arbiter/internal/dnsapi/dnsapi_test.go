package dnsapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns/dnstest"
)

func TestItPostsTheAddressAsTheEarlierDeliveryDidAndAsksTheAuthoritativeServer(t *testing.T) {
	server := dnstest.Serve(t)
	lies := false
	var got []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Authorization")+" "+string(body))
		if !lies {
			server.Hold(dnstest.Name, "A", 45, strings.Split(string(body), `"`)[3])
		}
	}))
	defer api.Close()
	p := New(Options{URL: api.URL + "/set", Authority: dns.NewAuthority(server.Address)})
	want := dnstest.Record("192.0.2.12", 2)
	if err := p.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != `POST /set application/json  {"ip":"192.0.2.12"}` {
		t.Errorf("sent %q", got)
	}
	found, err := p.Lookup(t.Context(), dnstest.Name)
	if err != nil || !found.Agrees(want) || found.TTL != 45*time.Second || found.Epoch != 0 {
		t.Errorf("the name is %+v, %v", found, err)
	}
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.11", 1)); err != nil { // it cannot know better
		t.Error(err)
	}
	if found, err := p.Lookup(t.Context(), dnstest.Name); err != nil || found.Agrees(want) {
		t.Errorf("after a stale leader: %+v, %v", found, err)
	}
	lies = true
	if err := p.Set(t.Context(), want); err != nil {
		t.Error(err)
	}
	if found, err := p.Lookup(t.Context(), dnstest.Name); err != nil || found.Agrees(want) {
		t.Errorf("it lies and is believed: %+v, %v", found, err)
	}
	if err := p.Set(t.Context(), dns.Record{Name: dnstest.Name, Address: "erp"}); err == nil || len(got) != 3 {
		t.Errorf("an address that is none was sent: %v, %q", err, got)
	}
}

func TestItsTokenIsSentAndNeverShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("s3cr3t-t0k3n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, header := http.StatusUnauthorized, ""
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("Authorization")
		w.Header().Set("Retry-After", "9")
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, header)
	}))
	defer api.Close()
	p := New(Options{URL: api.URL, TokenFile: path})
	for code, want := range map[int]string{401: "answers 401", 500: "answers 500", 308: "answers 308", 429: "left alone for 9s"} {
		status = code
		err := p.Set(t.Context(), dnstest.Record("192.0.2.12", 2))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") || header != "Bearer s3cr3t-t0k3n" {
			t.Errorf("%d with header %q gives %v", code, header, err)
		}
	}
}

func TestOneThatKeepsSilentIsNotWaitedForAndItsURLIsNotShown(t *testing.T) {
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer silent.Close()
	defer close(end)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := New(Options{URL: silent.URL + "/?key=s3cr3t"}).Set(ctx, dnstest.Record("192.0.2.12", 2))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}
