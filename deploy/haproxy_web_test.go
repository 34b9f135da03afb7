package deploy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// site is one region as its web proxy sees it.
type site struct {
	proxy       HAProxyWeb
	active      atomic.Bool
	blue, green *httptest.Server
}

// sites starts two regions, each with an arbiter, two colours and a web proxy that knows the other's.
func sites(t *testing.T) (a, b *site) {
	t.Helper()
	a, b = &site{}, &site{}
	for region, s := range map[string]*site{"a": a, "b": b} {
		serve := func(handler http.HandlerFunc) *httptest.Server {
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			return server
		}
		colour := func(name string) *httptest.Server {
			return serve(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				fmt.Fprintf(w, "%s-%s", region, name)
			})
		}
		s.blue, s.green = colour("blue"), colour("green")
		arbiter := serve(func(w http.ResponseWriter, r *http.Request) {
			if !s.active.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		s.proxy = HAProxyWeb{
			HAProxyProcess: HAProxyProcess{Metrics: freeAddress(t)},
			Region:         region, Bind: freeAddress(t), Arbiter: arbiter.Listener.Addr().String(),
			Blue: s.blue.Listener.Addr().String(), Green: s.green.Listener.Addr().String(),
		}
	}
	a.proxy.Peer, a.proxy.PeerArbiter = b.proxy.Bind, b.proxy.Arbiter
	b.proxy.Peer, b.proxy.PeerArbiter = a.proxy.Bind, a.proxy.Arbiter
	for _, s := range []*site{a, b} {
		dir := shortDir(t)
		s.proxy.Socket = dir + "/s"
		content, err := s.proxy.Render()
		startHAProxy(t, dir, write(t, dir, "haproxy.cfg", content, err), s.proxy.Socket)
	}
	return a, b
}

var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

func (s *site) post() (int, string) {
	response, err := once.Post("http://"+s.proxy.Bind+"/of/ledger", "application/json", strings.NewReader(`{"writer":"w1","seq":7}`))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func (s *site) answers(want string) func() bool {
	return func() bool { _, got := s.post(); return got == want }
}

func TestBothWebProxiesServeTheActiveRegion(t *testing.T) {
	a, b := sites(t)
	a.active.Store(true)
	within(t, 3*time.Second, "a serves itself", a.answers("a-blue"))
	within(t, 3*time.Second, "b forwards to a", b.answers("a-blue"))

	response, err := once.Get("http://" + b.proxy.Bind + "/web/health")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if string(body) != "b-blue" {
		t.Errorf("b's health came from %q, want b's own Odoo", body)
	}

	a.active.Store(false)
	within(t, 3*time.Second, "nobody is active", func() bool { code, _ := a.post(); return code == http.StatusServiceUnavailable })
	b.active.Store(true)
	within(t, 3*time.Second, "a forwards to b", a.answers("b-blue"))
	within(t, 3*time.Second, "b serves itself", b.answers("b-blue"))
}

func TestAReaderMayHaveTheCopyOfTheRegionWhoseDoorItComesTo(t *testing.T) {
	a, b := sites(t)
	a.active.Store(true)
	within(t, 3*time.Second, "b forwards to a", b.answers("a-blue"))
	ask := func(s *site, method, read string) string {
		t.Helper()
		request, err := http.NewRequest(method, "http://"+s.proxy.Bind+"/of/ledger?writer=w1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if read != "" {
			request.Header.Set("X-Ofitec-Read", read)
		}
		response, err := once.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return fmt.Sprintf("%d %s by %s", response.StatusCode, body, response.Header.Get("X-Ofitec-Region"))
	}
	for _, c := range []struct {
		from         *site
		method, read string
		want         string
	}{
		{b, "GET", "", "200 a-blue by a"},
		{b, "GET", "anywhere", "200 a-blue by a"},
		{b, "POST", "local", "200 a-blue by a"}, // a write is no read, whatever it says of itself
		{a, "GET", "local", "200 a-blue by a"},  // beside the writes there is no copy
	} {
		if got := ask(c.from, c.method, c.read); got != c.want {
			t.Errorf("%s, read %q, answers %s, want %s", c.method, c.read, got, c.want)
		}
	}
	both := map[string]bool{}
	for range 4 {
		both[ask(b, "GET", "local")] = true
	}
	if len(both) != 2 || !both["200 b-blue by b"] || !both["200 b-green by b"] {
		t.Errorf("readers of b's copy get %v, want both colours of b", both)
	}
	a.active.Store(false) // nobody is: the copy can be read all the same
	within(t, 3*time.Second, "nobody is active", func() bool { code, _ := b.post(); return code == http.StatusServiceUnavailable })
	if got := ask(b, "GET", "local"); !strings.HasSuffix(got, "by b") {
		t.Errorf("with no region active a reader of the copy gets %s", got)
	}
}

func TestARequestIsNotPassedBackAndForth(t *testing.T) {
	a, b := sites(t)
	a.active.Store(true)
	within(t, 3*time.Second, "b forwards to a", b.answers("a-blue"))
	request, _ := http.NewRequest(http.MethodGet, "http://"+b.proxy.Bind+"/web", nil)
	request.Header.Set("X-Ofitec-Forwarded-By", "a")
	response, err := once.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("a forwarded request was answered %d, want 503 with Retry-After", response.StatusCode)
	}
}

func TestNoRequestFailsWhenTheColourIsSwitchedAndTheOldOneStops(t *testing.T) {
	a, _ := sites(t)
	a.active.Store(true)
	within(t, 3*time.Second, "a serves itself", a.answers("a-blue"))
	var served, failed atomic.Int64
	var wrong sync.Map
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := client.Post("http://"+a.proxy.Bind+"/of/ledger", "application/json", strings.NewReader("{}"))
				if err != nil {
					failed.Add(1)
					wrong.Store(err.Error(), true)
					continue
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					failed.Add(1)
					wrong.Store(response.Status, true)
				}
				served.Add(1)
			}
		})
	}
	command(t, a.proxy.Socket, "set weight odoo/green 100")
	command(t, a.proxy.Socket, "set weight odoo/blue 0")
	within(t, 3*time.Second, "green serves", a.answers("a-green"))
	a.blue.Close() // waits for its open requests, as a drained Odoo does
	before := served.Load()
	within(t, 10*time.Second, "500 more requests are answered", func() bool { return served.Load() > before+500 })
	close(stop)
	writers.Wait()
	if n := failed.Load(); n > 0 {
		wrong.Range(func(key, _ any) bool { t.Log(key); return true })
		t.Errorf("%d requests failed", n)
	}
}
