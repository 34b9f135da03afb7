package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// untouched remembers both files and the starts, and complains when any of them is another afterwards.
func (r *rig) untouched(t *testing.T) (still func(why string)) {
	t.Helper()
	look := func() string {
		text := fmt.Sprintf("%d starts", r.starts(t))
		for _, colour := range []state.Colour{state.Blue, state.Green} {
			info, err := os.Lstat(r.envFile(colour))
			if os.IsNotExist(err) {
				text += fmt.Sprintf("; %s has none", colour)
				continue
			}
			must(t, err)
			content, err := os.ReadFile(r.envFile(colour))
			must(t, err)
			text += fmt.Sprintf("; %s %v %s %q", colour, info.Mode(), info.ModTime(), content)
		}
		traffic, err := r.proxy.Traffic(t.Context())
		must(t, err)
		return text + fmt.Sprintf("; %s with all but %d %%", traffic.Hot, traffic.Share)
	}
	before := look()
	return func(why string) {
		t.Helper()
		if after := look(); after != before {
			t.Errorf("%s: before %s; after %s", why, before, after)
		}
	}
}

func TestBadInputIsRefusedWithTheReasonBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	file := r.envFile(state.Green)
	good, err := os.ReadFile(file)
	must(t, err)
	write := func(content string) func(t *testing.T) {
		return func(t *testing.T) { must(t, os.WriteFile(file, []byte(content), 0o600)) }
	}
	for _, c := range []struct {
		name, step, reason string
		spoil              func(t *testing.T)
		env                string
	}{
		{"Windows line ends", "render", "has Windows line ends", write(strings.ReplaceAll(string(good), "\n", "\r\n")), ""},
		{"no line of the user", "render", "has no line POSTGRES_USER=", write(strings.ReplaceAll(string(good), "POSTGRES_USER", "PGUSER")), ""},
		{"no line of the password", "render", "has no line POSTGRES_PASSWORD=", write(strings.ReplaceAll(string(good), "POSTGRES_PASSWORD", "PGPASSWORD")), ""},
		{"a value over several lines", "render", "over several lines", write("POSTGRES_USER=x\nPOSTGRES_PASSWORD='a\nb'\n"), ""},
		{"a read-only file", "render", "is read-only", func(t *testing.T) { must(t, os.Chmod(file, 0o400)) }, ""},
		{"a second name", "render", "second name", func(t *testing.T) { must(t, os.Link(file, r.dir+"/second")) }, ""},
		{"a link", "render", "is a link", func(t *testing.T) {
			must(t, os.Rename(file, r.dir+"/second"))
			must(t, os.Symlink(r.dir+"/second", file))
		}, ""},
		{"nothing", "render", "is not there", func(t *testing.T) { must(t, os.Remove(file)) }, ""},
		{"a query that does not parse", "gate", "the gate's query for p95 does not parse", func(*testing.T) {}, `OFITEC_GATE_P95_QUERY=histogram_quantile(0.95, sum(rate(x{colour="$colour"}[$window]))`},
		{"a query of an unknown function", "gate", "the gate's query for error rate does not parse", func(*testing.T) {}, `OFITEC_GATE_ERROR_RATE_QUERY=errors_of("$colour")`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				_ = os.Remove(r.dir + "/second") // one case makes it
				must(t, os.RemoveAll(file))
				must(t, os.WriteFile(file, good, 0o600))
			})
			c.spoil(t)
			still := r.untouched(t)
			p := r.deployer(t, c.env)
			_, version := r.rotate(t, true)
			s := r.ended(t, version, state.DeploymentRolledBack)
			back, ok := r.saidOnce(t, version).(events.CredentialRolledBack)
			if !ok || back.Step != c.step || !strings.Contains(back.Reason, c.reason) {
				t.Errorf("said %+v", back)
			}
			if s.Previous != 1 {
				t.Errorf("version %d is kept, want 1", s.Previous)
			}
			still(c.name)
			if status := p.Terminate(t); status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
	t.Run("no answer of Prometheus is ever green", r.prometheusSaysNothing)
	t.Run("a credential that does not fit the configuration is refused", r.aCredentialThatDoesNotFit)
}

// prometheusSaysNothing has a Prometheus that answers, and says nothing.
func (r *rig) prometheusSaysNothing(t *testing.T) {
	for _, c := range []struct {
		name, answer, reason string
		status               int
	}{
		{"no series", `{"status":"success","data":{"resultType":"vector","result":[]}}`, "no data", 200},
		{"NaN", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1767268800,"NaN"]}]}}`, `the value is "NaN"`, 200},
		{"an error", `{"status":"error","errorType":"internal","error":"the disk is full"}`, "500 the disk is full", 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.answer)
			}))
			defer server.Close()
			before := r.login(t, state.Blue)
			p := r.deployer(t, "OFITEC_PROMETHEUS_URL="+server.URL, "OFITEC_GATE_INCONCLUSIVE=2")
			_, version := r.rotate(t, true)
			s := r.ended(t, version, state.DeploymentRolledBack)
			back, ok := r.saidOnce(t, version).(events.CredentialRolledBack)
			if !ok || back.Step != "gate" || !strings.Contains(back.Reason, "2 readings without an answer") || !strings.Contains(back.Reason, c.reason) || back.Readings.Green > 0 {
				t.Errorf("said %+v", back)
			}
			if len(s.Samples) != 2 || s.Samples[0].Verdict != "inconclusive" || s.Samples[0].Canary.P95 != nil || s.Samples[0].Canary.Sent == 0 {
				t.Errorf("samples %+v", s.Samples)
			}
			if r.login(t, state.Blue) != before || r.login(t, state.Green) != before {
				t.Error("blue or green is not on the version before")
			}
			if status := p.Terminate(t); status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// cable is a connection to a server that can be cut and mended.
type cable struct {
	mu    sync.Mutex
	cut   bool
	lines []net.Conn
}

func (c *cable) lay(t *testing.T, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close(); c.set(true) })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			c.mu.Lock()
			if err != nil || c.cut {
				_ = client.Close()
				if err == nil {
					_ = server.Close()
				}
				c.mu.Unlock()
				continue
			}
			c.lines = append(c.lines, client, server)
			c.mu.Unlock()
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}()
	return listener.Addr().String()
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for _, line := range c.lines {
			_ = line.Close()
		}
		c.lines = nil
	}
}

func TestWhileTheBusIsAwayARolloutIsFinishedAndItsResultSaidOnceLater(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	bus := &cable{}
	address := ""
	for _, variable := range r.env {
		if url, ok := strings.CutPrefix(variable, "NATS_URL=nats://"); ok {
			address = bus.lay(t, url)
		}
	}
	stop := r.load(t)
	p := r.deployer(t, "NATS_URL=nats://"+address)
	event, version := r.rotate(t, true)
	await(t, 60*time.Second, "the canary is watched", func() bool { return r.state(t).Phase == state.DeploymentWatching })
	bus.set(true)
	if body := p.Await(t, "/readyz", 503); !strings.Contains(body, `"nats"`) {
		t.Errorf("readyz says %s", body)
	}
	r.ended(t, version, state.DeploymentDone)
	if said := r.said(t, version); len(said) > 0 {
		t.Errorf("said without a bus: %v", said)
	}
	bus.set(false)
	if deployed, ok := r.saidOnce(t, version).(events.CredentialDeployed); !ok || deployed.Version != version {
		t.Errorf("said %+v", deployed)
	}
	// Duplicates and the order in which they come change nothing: the version before is let go, the one in use is answered as before.
	starts := r.starts(t)
	older := event
	older.ID = strings.Replace(event.ID, fmt.Sprintf(".%d", version), fmt.Sprintf(".%d", version-1), 1)
	older.Data = bytes.ReplaceAll(event.Data, fmt.Appendf(nil, `"version":%d`, version), fmt.Appendf(nil, `"version":%d`, version-1))
	older.Data = bytes.ReplaceAll(older.Data, fmt.Appendf(nil, `"previous_version":%d`, version-1), []byte(`"previous_version":0`))
	// So does the turn of another region.
	elsewhere := event
	elsewhere.ID = strings.Replace(event.ID, fmt.Sprintf(".%d-a", version), fmt.Sprintf(".%d-b", version+1), 1)
	elsewhere.Data = bytes.Replace(event.Data, []byte(`"region":"a"`), []byte(`"region":"b"`), 1)
	elsewhere.Data = bytes.ReplaceAll(elsewhere.Data, fmt.Appendf(nil, `"version":%d`, version), fmt.Appendf(nil, `"version":%d`, version+1))
	for _, again := range []events.Event{older, event, elsewhere, older, event} {
		r.deliver(t, again)
	}
	await(t, 30*time.Second, "all deliveries are acknowledged", func() bool { return r.heard(t) })
	if more := r.starts(t) - starts; more != 0 {
		t.Errorf("%d more starts", more)
	}
	if s := r.state(t); s.Number != version || s.Phase != state.DeploymentDone {
		t.Errorf("state %+v", s)
	}
	parked, err := r.js.Stream(t.Context(), events.StreamParked)
	must(t, err)
	if info, err := parked.Info(t.Context()); err != nil || info.State.Msgs > 0 {
		t.Errorf("%d deliveries are parked, %v: they were not understood", info.State.Msgs, err)
	}
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
}

var unsealKey = regexp.MustCompile(`Unseal Key: (\S+)`)

func (r *rig) vaultIsSealed(t *testing.T) {
	key := unsealKey.FindStringSubmatch(r.vaultSaid())
	if key == nil {
		t.Fatalf("Vault has not said its key: %s", r.vaultSaid())
	}
	p := r.deployer(t)
	p.Await(t, "/readyz", 200)
	m := r.mint(t)
	version := r.stage(t, m.user, m.password)
	must(t, r.vault.Sys().Seal())
	if body := p.Await(t, "/readyz", 503); !strings.Contains(body, "Vault is sealed") {
		t.Errorf("readyz says %s", body)
	}
	still := r.untouched(t)
	r.say(t, version)
	await(t, 60*time.Second, "it has tried", func() bool { return r.state(t).Number == version && strings.Contains(p.Output(), `"action failed"`) })
	if s := r.state(t); s.Phase != state.DeploymentPlanned {
		t.Errorf("phase %s", s.Phase)
	}
	still("Vault is sealed")
	_, err := r.vault.Sys().Unseal(key[1])
	must(t, err)
	p.Await(t, "/readyz", 200)
	r.ended(t, version, state.DeploymentDone)
	if !strings.Contains(r.login(t, state.Blue), m.user) || r.login(t, state.Blue) != r.login(t, state.Green) {
		t.Errorf("blue has %q, green %q", r.login(t, state.Blue), r.login(t, state.Green))
	}
	r.saidOnce(t, version)
}
