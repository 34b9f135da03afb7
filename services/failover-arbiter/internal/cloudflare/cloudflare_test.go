package cloudflare

import (
	"context"
	"errors"
	"fmt"
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

func (z *zone) provider(t *testing.T) *Zone {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return New(Options{ZoneID: zoneID, TokenFile: path, Authority: dns.NewAuthority(z.server.Address), URL: z.url})
}

func TestItDoesWhatEveryProviderMust(t *testing.T) {
	z := zoneAt(t)
	p := z.provider(t)
	dnstest.Conform(t, p)
	before := z.writes
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.9", 9)); err != nil || z.writes != before {
		t.Errorf("what stands there already was written: %v", err)
	}
	dnstest.Race(t, p)
}

func TestTwoWhoBothFindNothingAreNotKeptApartAndTheNextSetPutsItRight(t *testing.T) {
	z := zoneAt(t)
	p := z.provider(t)
	z.between = func() { _ = z.provider(t).Set(context.Background(), dnstest.Record("192.0.2.13", 3)) }
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.12", 2)); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Lookup(t.Context(), dnstest.Name); err == nil || !strings.Contains(err.Error(), "it has 2 addresses") {
		t.Errorf("the name is %+v, %v", got, err)
	}
	var smaller *dns.SmallerError
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.12", 2)); !errors.As(err, &smaller) || smaller.Seen != 3 {
		t.Errorf("the stale one writes again: %v", err)
	}
	want := dnstest.Record("192.0.2.13", 3)
	if err := p.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Lookup(t.Context(), dnstest.Name); err != nil || got != want {
		t.Errorf("the name is %+v, %v", got, err)
	}
}

func TestARecordThatIsGoneMakesAllOfItFail(t *testing.T) {
	z := zoneAt(t)
	p := z.provider(t)
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.11", 1)); err != nil {
		t.Fatal(err)
	}
	z.between = func() { _ = z.provider(t).Set(context.Background(), dnstest.Record("192.0.2.13", 3)) }
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.12", 2)); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("an epoch that was replaced in between gives %v", err)
	}
	if got, err := p.Lookup(t.Context(), dnstest.Name); err != nil || got != dnstest.Record("192.0.2.13", 3) {
		t.Errorf("the name is %+v, %v", got, err)
	}
}

func TestWhatSomebodyElseHasMadeOfTheNameIsPutRight(t *testing.T) {
	z := zoneAt(t)
	p := z.provider(t)
	z.put(record{Type: "A", Name: "ERP.ofitec.test", Content: "192.0.2.77", TTL: 1, Proxied: true})
	z.put(record{Type: "A", Name: dnstest.Name, Content: "192.0.2.78", TTL: 300})
	z.put(record{Type: "TXT", Name: "_epoch." + dnstest.Name, Content: "4", TTL: 300}) // without quotes, as older records are
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.13", 3)); !errors.As(err, new(*dns.SmallerError)) {
		t.Errorf("below an epoch without quotes: %v", err)
	}
	want := dnstest.Record("192.0.2.15", 5)
	if err := p.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Lookup(t.Context(), dnstest.Name); err != nil || got != want || len(z.records) != 2 {
		t.Errorf("the name is %+v, %v, of %d records", got, err, len(z.records))
	}
	for _, r := range z.records {
		if r.Proxied {
			t.Errorf("%s %s is proxied: clients would not get the region's address", r.Type, r.Name)
		}
	}
}

func TestOneThatLiesOrDoesHalfIsFoundOutAndPutRight(t *testing.T) {
	z := zoneAt(t)
	p := z.provider(t)
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.11", 1)); err != nil {
		t.Fatal(err)
	}
	want := dnstest.Record("192.0.2.12", 2)
	for what, lie := range map[string]*bool{"half is done": &z.half, "nothing is done": &z.swallow} {
		*lie = true
		if err := p.Set(t.Context(), want); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := p.Lookup(t.Context(), dnstest.Name); err == nil && got.Agrees(want) {
			t.Errorf("%s, and the name is %+v", what, got)
		}
		*lie = false
		if err := p.Set(t.Context(), want); err != nil {
			t.Errorf("%s, then not: %v", what, err)
		}
		if got, err := p.Lookup(t.Context(), dnstest.Name); err != nil || got != want {
			t.Errorf("%s, then not: %+v, %v", what, got, err)
		}
		want.Epoch++
	}
}

func TestEachRefusalIsSaidForWhatItIs(t *testing.T) {
	z := zoneAt(t)
	for want, answer := range map[string]http.HandlerFunc{
		"left alone for 7s": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			refuse(w, 429, `{"code":971,"message":"More than 1200 requests per 300 seconds reached. Please wait and consider throttling your request speed"}`)
		},
		"left alone for 30s": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429); fmt.Fprint(w, "error code: 1015") },
		"403 Forbidden: Authentication error (10000)": func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, 403, `{"code":10000,"message":"Authentication error"}`)
		},
		"DNS Validation Error (1004), TTL must be between 60 and 86400 seconds, or 1 for Automatic. (9021)": func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, 400, `{"code":1004,"message":"DNS Validation Error","error_chain":[{"code":9021,"message":"TTL must be between 60 and 86400 seconds, or 1 for Automatic."}]}`)
		},
		"502 Bad Gateway, and nothing": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			fmt.Fprint(w, "<html>Bad Gateway</html>")
		},
		"200 OK: ": func(w http.ResponseWriter, _ *http.Request) { refuse(w, 200, "") },
		"307 Temporary Redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
	} {
		z.fail = func(w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true }
		err := z.provider(t).Set(t.Context(), dnstest.Record("192.0.2.11", 1))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("want %q, got %v", want, err)
		}
		if busy := errors.As(err, new(*dns.BusyError)); busy != strings.Contains(want, "alone") {
			t.Errorf("%v: busy %t", err, busy)
		}
	}
}

func TestOneThatKeepsSilentIsNotWaitedFor(t *testing.T) {
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer silent.Close()
	defer close(end)
	z := &zone{server: dnstest.Serve(t), url: silent.URL}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := z.provider(t).Set(ctx, dnstest.Record("192.0.2.11", 1)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}
