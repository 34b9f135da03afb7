package route53

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

func credentials(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const good = "[default]\naws_access_key_id = " + keyID + "\naws_secret_access_key = " + secret + "\n"

func (z *recordSets) provider(t *testing.T) *Zone {
	t.Helper()
	return New(Options{ZoneID: zoneID, Credentials: credentials(t, good), Authority: dns.NewAuthority(z.server.Address), URL: z.url})
}

func TestItDoesWhatEveryProviderMust(t *testing.T) {
	z := hostedZoneAt(t)
	p := z.provider(t)
	dnstest.Conform(t, p)
	before := z.writes
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.9", 9)); err != nil || z.writes != before {
		t.Errorf("what stands there already was written: %v", err)
	}
	dnstest.Race(t, p)
}

func TestOneWhoWritesInBetweenIsNotOverwritten(t *testing.T) {
	z := hostedZoneAt(t)
	p := z.provider(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	z.between = func() { must(z.provider(t).Set(context.Background(), dnstest.Record("192.0.2.13", 3))) }
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.12", 2)); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("a name that was made in between gives %v", err)
	}
	z.between = func() { must(z.provider(t).Set(context.Background(), dnstest.Record("192.0.2.15", 5))) }
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.14", 4)); !errors.Is(err, dns.ErrChanged) || !strings.Contains(err.Error(), "do not match the current values") {
		t.Errorf("an epoch that was changed in between gives %v", err)
	}
	z.between = func() {
		z.mu.Lock()
		delete(z.sets, "_epoch.erp.ofitec.test. TXT")
		z.mu.Unlock()
	}
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.16", 6)); !errors.Is(err, dns.ErrChanged) || !strings.Contains(err.Error(), "not found") {
		t.Errorf("an epoch that was deleted in between gives %v", err)
	}
	if got, err := p.Lookup(t.Context(), dnstest.Name); err != nil || got != dnstest.Record("192.0.2.15", 5) {
		t.Errorf("the name is %+v, %v", got, err)
	}
}

func TestWhatTheNameServersDoNotAnswerYetIsNotTakenForDone(t *testing.T) {
	z := hostedZoneAt(t)
	p := z.provider(t)
	for what, lie := range map[string]*bool{"the servers lag": &z.lag, "the servers have half of it": &z.half, "nothing is done": &z.swallow} {
		epoch := z.epoch() + 1
		*lie = true
		want := dnstest.Record(fmt.Sprintf("192.0.2.%d", epoch), epoch)
		if err := p.Set(t.Context(), want); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := p.Lookup(t.Context(), dnstest.Name); err == nil && got.Agrees(want) {
			t.Errorf("%s, and the name is %+v", what, got)
		}
		*lie = false
		if err := p.Set(t.Context(), want); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		z.mu.Lock()
		z.publish()
		z.mu.Unlock()
		if got, err := p.Lookup(t.Context(), dnstest.Name); err != nil || got != want {
			t.Errorf("%s, then not: %+v, %v", what, got, err)
		}
	}
}

func TestEachRefusalIsSaidForWhatItIs(t *testing.T) {
	z := hostedZoneAt(t)
	post := func(answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				answer(w, r)
			}
			return r.Method == http.MethodPost
		}
	}
	for want, answer := range map[string]http.HandlerFunc{
		"left alone for 2s": func(w http.ResponseWriter, _ *http.Request) { problem(w, 400, "Throttling", "Rate exceeded") },
		"PriorRequestNotComplete": func(w http.ResponseWriter, _ *http.Request) {
			problem(w, 400, "PriorRequestNotComplete", "The request was rejected because Route 53 was still processing a prior request.")
		},
		"AccessDenied: User: arn": func(w http.ResponseWriter, _ *http.Request) {
			problem(w, 403, "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized to perform: route53:ChangeResourceRecordSets")
		},
		"route 53 refuses: [Invalid Resource Record": func(w http.ResponseWriter, _ *http.Request) {
			problem(w, 400, "InvalidChangeBatch", "[Invalid Resource Record: FATAL problem: ARRDATAIllegalIPv4Address]")
		},
		"changed by somebody else meanwhile (ChangeBatch errors occurred; Tried to create": func(w http.ResponseWriter, _ *http.Request) { // the other form that the reference knows
			w.WriteHeader(400)
			fmt.Fprintf(w, `<?xml version="1.0"?><InvalidChangeBatch %s><Messages><Message>Tried to create resource record set erp.ofitec.test. type A, but it already exists</Message></Messages><RequestId>b25f48e8</RequestId></InvalidChangeBatch>`, spaces)
		},
		"answers 502": func(w http.ResponseWriter, _ *http.Request) { // a balancer in front of it
			w.WriteHeader(502)
			fmt.Fprint(w, "<html>Bad Gateway</html>")
		},
	} {
		z.fail = post(answer)
		err := z.provider(t).Set(t.Context(), dnstest.Record("192.0.2.11", 1))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("want %q, got %v", want, err)
		}
		busy, changed := errors.As(err, new(*dns.BusyError)), errors.Is(err, dns.ErrChanged)
		if busy != (strings.Contains(want, "alone") || strings.Contains(want, "Prior")) || changed != strings.Contains(want, "changed") {
			t.Errorf("%v: busy %t, changed %t", err, busy, changed)
		}
	}
}

func TestOneThatKeepsSilentIsAskedOnceAndNotWaitedFor(t *testing.T) {
	asked, end := make(chan struct{}, 10), make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}))
	defer silent.Close()
	defer close(end)
	z := &recordSets{server: dnstest.Serve(t), url: silent.URL}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := z.provider(t).Set(ctx, dnstest.Record("192.0.2.11", 1))
	if err == nil || time.Since(began) > 5*time.Second || len(asked) > 1 {
		t.Errorf("asked %d times in %s: %v", len(asked), time.Since(began), err)
	}
}

func TestCredentialsAreReadAtEachRequest(t *testing.T) {
	z := hostedZoneAt(t)
	path := credentials(t, strings.Replace(good, keyID, "AKIDOFYESTERDAY", 1))
	p := New(Options{ZoneID: zoneID, Credentials: path, Authority: dns.NewAuthority(z.server.Address), URL: z.url})
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.11", 1)); err == nil || !strings.Contains(err.Error(), "InvalidClientTokenId") {
		t.Errorf("an old key gives %v", err)
	}
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(t.Context(), dnstest.Record("192.0.2.11", 1)); err != nil {
		t.Error(err)
	}
	for _, content := range []string{"", "[other]\n" + strings.TrimPrefix(good, "[default]"), strings.Replace(good, "aws_secret", "secret", 1)} {
		if err := CheckCredentials(credentials(t, content)); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q gives %v", content, err)
		}
	}
}
