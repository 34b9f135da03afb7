package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

// spoiler stands between the rotator and Vault, and spoils answers that hold a user: each time in the next of its ways.
type spoiler struct {
	mu    sync.Mutex
	ways  []func(body string) string
	count int // answers spoiled so far
}

func (s *spoiler) start(t *testing.T, vault string) string {
	t.Helper()
	target, err := url.Parse(vault)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Request.URL.Path != "/v1/database/creds/odoo-app" || r.StatusCode != http.StatusOK || len(s.ways) == 0 {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		way := s.ways[s.count%len(s.ways)]
		s.count++
		spoiled := way(string(body))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader([]byte(spoiled))), int64(len(spoiled))
		r.Header.Set("Content-Length", fmt.Sprint(len(spoiled)))
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// set says how answers are spoiled from now on, and gives how many were.
func (s *spoiler) set(ways ...func(body string) string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ways = ways
	return s.count
}

func (s *spoiler) spoiled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// TestAMalformedLeaseAnswerIsRefusedAndWhatIsInUseStays has a real Vault whose answers are spoiled on their way, for so long that people must be told.
func TestAMalformedLeaseAnswerIsRefusedAndWhatIsInUseStays(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "30s", "30s")
	between := &spoiler{}
	address := "VAULT_ADDR=" + between.start(t, r.vault.addr)
	p := r.rotator(t, events.RegionA, address, "OFITEC_ROLLOUT_TIME=1s")
	first := r.settled(t, 1)
	for time.Until(first.ExpiresAt) < 20*time.Second { // a starved machine was late: the next attempt must not be under way
		first = r.settled(t, first.Number)
	}
	without := func(field string) func(string) string {
		return func(body string) string { return strings.Replace(body, `"`+field+`"`, `"`+field+`_"`, 1) }
	}
	cut := false
	between.set(
		func(string) string { return "<html><body>bad gateway</body></html>" },
		func(body string) string {
			if !cut {
				cut = true
				panic(http.ErrAbortHandler) // the answer is lost with the connection, and its lease is known to nobody
			}
			return body[:len(body)/2]
		},
		func(body string) string {
			return strings.Replace(body, `"lease_duration":30`, `"lease_duration":"30"`, 1)
		},
		without("password"), without("renewable"),
	)
	var told []events.CredentialExpiring
	await(t, 60*time.Second, "it was tried, and people are told why", func() bool {
		told = nil
		for _, e := range r.facts(t, events.TypeCredentialExpiring) {
			payload, err := events.PayloadOf[events.CredentialExpiring](e)
			must(t, err)
			if payload.Version == first.Number {
				told = append(told, payload)
			}
		}
		return between.spoiled() >= 4 && slices.ContainsFunc(told, func(e events.CredentialExpiring) bool {
			return strings.Contains(e.Reason, "Vault's answer is malformed: ")
		})
	}, func() string { return fmt.Sprintf("%d answers spoiled, told %+v", between.spoiled(), told) })
	if gone := ended(r.sessions[first.Number]); gone && time.Now().Before(first.ExpiresAt) {
		t.Error("what is in use was ended")
	}
	s, _ := r.state(t)
	if now := current(s); now.Number != first.Number || s.Versions[len(s.Versions)-1].Number != first.Number {
		t.Errorf("a malformed answer has changed the book: %+v", s.Versions)
	}
	for _, e := range r.facts(t, events.TypeCredentialRotated) {
		if payload, err := events.PayloadOf[events.CredentialRotated](e); err != nil || payload.Version > first.Number {
			t.Errorf("published: %+v, %v", payload, err)
		}
	}
	between.set()
	// The stray of the page for people is ended by the comparison: one lease and one user are left.
	r.settled(t, first.Number)
	if !strings.Contains(p.Output(), `"again_in"`) || !strings.Contains(p.Output(), "is malformed") {
		t.Error("the log says nothing of it")
	}
	r.checkSecrets(t, p.Output())
}
