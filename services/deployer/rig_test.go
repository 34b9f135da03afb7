package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/haproxy"
)

const credentialName = "odoo-app"

// rig is everything that a deployer stands on. HAProxy with the stack's own configuration, Prometheus, NATS, etcd, PostgreSQL and Vault with its database engine are
// real, Odoo is two small processes on that PostgreSQL, the arbiter a switch, and the rotator the test.
type rig struct {
	database      *postgrestest.Database
	databaseProxy string
	made          []minted // by the test as the rotator
	dir, web      string
	odoo          map[state.Colour]string // addresses
	proxy         haproxy.Proxy
	etcd          *clientv3.Client
	js            jetstream.JetStream
	vault         *api.Client
	vaultPID      int
	vaultSaid     func() string
	prometheus    string
	env           []string
	standby       atomic.Bool
	secrets       []string // that must be found nowhere
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await polls until something holds.
func await(t *testing.T, limit time.Duration, what string, holds func() bool, why ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, explain := range why {
				what += ": " + explain()
			}
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// program finds a server that is installed or that the local stack has built.
func program(t *testing.T, name string) string {
	t.Helper()
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	found, _ := filepath.Glob(filepath.Join(cache, "servers", name+"-*", name)) // the pattern is well formed
	for _, path := range append(found, "/usr/sbin/"+name, "/usr/bin/"+name) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not there (ofitec setup brings it): rollouts are tested where it is", name)
	}
	return path
}

type lockedOutput struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lockedOutput) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *lockedOutput) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// start runs a server until the test's end.
func start(t *testing.T, name string, args ...string) (pid int, said func() string) {
	t.Helper()
	out := &lockedOutput{}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			text := out.String()
			t.Logf("%s said:\n%s", name, text[max(0, len(text)-2000):])
		}
	})
	return cmd.Process.Pid, out.String
}

func startRig(t *testing.T) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("real servers are started")
	}
	programs := map[string]string{}
	for _, name := range []string{"haproxy", "prometheus", "vault"} {
		programs[name] = program(t, name)
	}
	dir, err := os.MkdirTemp("", "of") // a socket's path must be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{dir: dir, secrets: []string{postgrestest.Password}}
	r.startDatabase(t)
	blue, green := chassistest.FreeAddr(t), chassistest.FreeAddr(t)
	r.odoo = map[state.Colour]string{state.Blue: blue, state.Green: green}
	r.startOdoo(t, blue, green)
	arbiter := r.startArbiter(t)
	r.startProxy(t, programs["haproxy"], blue, green, arbiter)
	r.startPrometheus(t, programs["prometheus"], blue, green)
	vaultURL := r.startVault(t, programs["vault"])
	endpoint, address := etcdtest.Start(t), chassistest.NATS(t)
	r.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = r.etcd.Close() })
	conn, err := nats.Connect(address)
	must(t, err)
	t.Cleanup(conn.Close)
	r.js, err = jetstream.New(conn)
	must(t, err)
	_, err = bus.Provision(t.Context(), r.js, bus.Setup{Replicas: 1, MaxBytes: map[string]int64{events.StreamHealth: 16 << 20}, Durables: events.AllDurables()})
	must(t, err)
	durable, err := r.js.Consumer(t.Context(), events.StreamFacts, "deployer-a")
	must(t, err)
	config := durable.CachedInfo().Config
	config.AckWait = 3 * time.Second // what a killed deployer had in hand comes again sooner than in the stack
	_, err = r.js.UpdateConsumer(t.Context(), events.StreamFacts, config)
	must(t, err)
	r.env = []string{
		"NATS_URL=" + address, "ETCD_ENDPOINTS=" + endpoint, "VAULT_ADDR=" + vaultURL, "OFITEC_VAULT_ROLE_ID_FILE=" + dir + "/role", "OFITEC_VAULT_SECRET_ID_FILE=" + dir + "/secret",
		"OFITEC_ARBITER_URL=" + arbiter, "OFITEC_PROMETHEUS_URL=" + r.prometheus, "OFITEC_WEB_PROXY_SOCKET=" + r.proxy.Socket, "OFITEC_ACTIVE_COLOUR_FILE=" + string(r.proxy.Active),
		"OFITEC_ODOO_BLUE_URL=http://" + blue, "OFITEC_ODOO_GREEN_URL=http://" + green, "OFITEC_ODOO_BLUE_ENV_FILE=" + r.envFile(state.Blue), "OFITEC_ODOO_GREEN_ENV_FILE=" + r.envFile(state.Green),
		"OFITEC_START_COMMAND=sh " + dir + "/start", "OFITEC_CANARY_READS=/web/health,/of/ledger?writer=deployer-$region", "OFITEC_CANARY_WRITE=/of/ledger",
		`OFITEC_CANARY_WRITE_BODY={"writer":"deployer-$region","seq":$version}`, "OFITEC_LEADER_TTL=2s", "OFITEC_START_WITHIN=30s", "OFITEC_DRAIN_WITHIN=10s",
		"OFITEC_GATE_DELAY=700ms", "OFITEC_GATE_INTERVAL=200ms", "OFITEC_GATE_WINDOW=2s",
		// A starved machine is no bad canary.
		"OFITEC_GATE_P95=8s", "OFITEC_GATE_FAILURES=5", "OFITEC_GATE_INCONCLUSIVE=50",
	}
	return r
}

func (r *rig) envFile(c state.Colour) string { return filepath.Join(r.dir, string(c), ".env") }

func (r *rig) startOdoo(t *testing.T, blue, green string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	must(t, os.WriteFile(r.dir+"/start", []byte(scriptFor(r.dir, blue, green, self, "postgres://"+r.databaseProxy+"/ofitec_prod?sslmode=verify-full&sslrootcert="+r.database.TLS.CA)), 0o700))
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		must(t, os.MkdirAll(filepath.Dir(r.envFile(colour)), 0o700))
		must(t, os.WriteFile(r.envFile(colour), []byte("# "+string(colour)+"\nPOSTGRES_USER=odoo_bootstrap\nPOSTGRES_PASSWORD="+r.secrets[0]+"\nLAST=1\n"), 0o600))
		cmd := exec.Command("sh", r.dir+"/start")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "COLOUR=" + string(colour)}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("start %s: %v: %s", colour, err, out)
		}
	}
	t.Cleanup(func() {
		for _, colour := range []string{"blue", "green"} {
			text, _ := os.ReadFile(filepath.Join(r.dir, colour+".pid"))
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
	})
}

// slow says how many milliseconds each colour dawdles.
func (r *rig) slow(t *testing.T, colours map[state.Colour]int) {
	t.Helper()
	content, err := json.Marshal(colours)
	must(t, err)
	file := filepath.Join(r.dir, slowFile)
	must(t, os.WriteFile(file+".new", content, 0o600))
	must(t, os.Rename(file+".new", file))
}

func (r *rig) startArbiter(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if want := map[bool]string{false: "/mandate", true: "/standby"}[r.standby.Load()]; q.URL.Path != want {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func (r *rig) startProxy(t *testing.T, haproxyProgram, blue, green, arbiter string) {
	t.Helper()
	r.web = chassistest.FreeAddr(t)
	address := strings.TrimPrefix(arbiter, "http://")
	r.proxy = haproxy.Proxy{Socket: r.dir + "/s", Active: active.File(r.dir + "/active")}
	config, err := deploy.HAProxyWeb{
		HAProxyProcess: deploy.HAProxyProcess{Socket: r.proxy.Socket, Metrics: chassistest.FreeAddr(t)}, Region: "a", Bind: r.web, Blue: blue, Green: green,
		Arbiter: address, Peer: chassistest.FreeAddr(t), PeerArbiter: chassistest.FreeAddr(t),
		Check:     deploy.HAProxyCheck{Inter: 500 * time.Millisecond, Connect: 5 * time.Second, Timeout: 5 * time.Second, Fall: 3}, // as slow as a starved machine
		OdooCheck: deploy.HAProxyCheck{Inter: 500 * time.Millisecond, Connect: 5 * time.Second, Timeout: 5 * time.Second, Fall: 3},
	}.Render()
	must(t, err)
	must(t, os.WriteFile(r.dir+"/haproxy.cfg", config, 0o600))
	start(t, haproxyProgram, "-db", "-f", r.dir+"/haproxy.cfg")
	await(t, 10*time.Second, "the web proxy serves", func() bool { return r.get("/web/health") == 200 })
}

func (r *rig) get(path string) int {
	response, err := http.Get("http://" + r.web + path)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// upgrade upgrades a module on a colour, beside the proxy.
func (r *rig) upgrade(t *testing.T, on state.Colour, n int) {
	t.Helper()
	response, err := http.Post(fmt.Sprintf("http://%s/upgrade?n=%d", r.odoo[on], n), "", nil)
	must(t, err)
	defer response.Body.Close()
	if said, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Errorf("upgrade of module %d on %s: %d %s", n, on, response.StatusCode, said)
	}
}

func (r *rig) startPrometheus(t *testing.T, prometheusProgram, blue, green string) {
	t.Helper()
	address := chassistest.FreeAddr(t)
	r.prometheus = "http://" + address
	target := func(address, colour string) string {
		return fmt.Sprintf("      - targets: [%q]\n        labels: {region: a, colour: %s}\n", address, colour)
	}
	config := "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n  - job_name: odoo\n    static_configs:\n" + target(blue, "blue") + target(green, "green")
	must(t, os.WriteFile(r.dir+"/prometheus.yml", []byte(config), 0o600))
	start(t, prometheusProgram, "--config.file="+r.dir+"/prometheus.yml", "--storage.tsdb.path="+r.dir+"/tsdb", "--web.listen-address="+address, "--log.level=warn")
	await(t, 20*time.Second, "Prometheus is ready", func() bool {
		response, err := http.Get(r.prometheus + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == 200
	})
}

// startVault runs a Vault with the deployer's policy and login, and no more.
func (r *rig) startVault(t *testing.T, vaultProgram string) string {
	t.Helper()
	address := chassistest.FreeAddr(t)
	r.vaultPID, r.vaultSaid = start(t, vaultProgram, "server", "-dev", "-dev-root-token-id=root", "-dev-listen-address="+address, "-dev-no-store-token")
	settings := api.DefaultConfig()
	settings.Address = "http://" + address
	var err error
	r.vault, err = api.NewClient(settings)
	must(t, err)
	r.vault.SetToken("root")
	await(t, 30*time.Second, "Vault is active", func() bool {
		health, err := r.vault.Sys().Health()
		if err != nil || health.Sealed {
			return false
		}
		mounts, err := r.vault.Sys().ListMounts()
		return err == nil && mounts["secret/"] != nil
	})
	policies, err := deploy.VaultPolicies()
	must(t, err)
	must(t, r.vault.Sys().PutPolicy("deployer", policies["deployer"]))
	must(t, r.vault.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}))
	_, err = r.vault.Logical().Write("auth/approle/role/deployer", map[string]any{"token_policies": []string{"deployer"}, "token_ttl": "1h"})
	must(t, err)
	id, err := r.vault.Logical().Read("auth/approle/role/deployer/role-id")
	must(t, err)
	secret, err := r.vault.Logical().Write("auth/approle/role/deployer/secret-id", nil)
	must(t, err)
	for name, content := range map[string]any{"role": id.Data["role_id"], "secret": secret.Data["secret_id"]} {
		must(t, os.WriteFile(filepath.Join(r.dir, name), []byte(content.(string)), 0o600))
	}
	r.startEngine(t)
	r.stage(t, "odoo_bootstrap", r.secrets[0])
	return "http://" + address
}

func (r *rig) stage(t *testing.T, user, secret string) int64 {
	t.Helper()
	return r.stageOf(t, credentialName, map[string]any{"username": user, "password": secret})
}

func (r *rig) stageOf(t *testing.T, credential string, fields map[string]any) int64 {
	t.Helper()
	answer, err := r.vault.Logical().Write("secret/data/ofitec/credentials/"+credential, map[string]any{"data": fields})
	must(t, err)
	version, err := answer.Data["version"].(json.Number).Int64()
	must(t, err)
	return version
}

// deployer starts one; more variables outrank the others.
func (r *rig) deployer(t *testing.T, more ...string) *chassistest.Process {
	t.Helper()
	return chassistest.Start(t, append(slices.Clone(r.env), more...)...)
}

// rotate does what the rotator does: a user, a version, an event. Known says whether the user may log in.
func (r *rig) rotate(t *testing.T, known bool) (events.Event, int64) {
	t.Helper()
	m := r.mint(t)
	r.made = append(r.made, m)
	if !known {
		r.super(t, fmt.Sprintf(`ALTER ROLE "%s" NOLOGIN`, m.user))
	}
	return r.publish(t, m.user, m.password)
}

// stageMinted makes a user and stages its login without a word.
func (r *rig) stageMinted(t *testing.T) int64 {
	t.Helper()
	m := r.mint(t)
	r.made = append(r.made, m)
	return r.stage(t, m.user, m.password)
}

// publish stages a login and says so.
func (r *rig) publish(t *testing.T, user, secret string) (events.Event, int64) {
	t.Helper()
	version := r.stage(t, user, secret)
	return r.say(t, version), version
}

// say tells the deployer of a version that is staged.
func (r *rig) say(t *testing.T, version int64) events.Event {
	t.Helper()
	return r.sayOf(t, credentialName, events.CredentialDatabase, version)
}

// sayOf tells it of any credential's.
func (r *rig) sayOf(t *testing.T, credential string, kind events.CredentialKind, version int64) events.Event {
	t.Helper()
	now := time.Now().UTC()
	event, err := events.New(events.Origin{Region: events.RegionA, Service: events.ServiceRotator}, now, events.CredentialRotated{
		Credential: events.Credential{Name: credential, Kind: kind, Version: version, Path: "ofitec/credentials/" + credential, Fingerprint: strings.Repeat("ab", 32)},
		Region:     events.RegionA, Lease: events.Lease{TTLSeconds: 3600, ExpiresAt: now.Add(time.Hour), DeadlineAt: now.Add(24 * time.Hour)}, Previous: version - 1, Trigger: "schedule",
	})
	must(t, err)
	r.deliver(t, event)
	return event
}

// heard says that the deployer has acknowledged everything.
func (r *rig) heard(t *testing.T) bool {
	t.Helper()
	durable, err := r.js.Consumer(t.Context(), events.StreamFacts, "deployer-a")
	must(t, err)
	info, err := durable.Info(t.Context())
	must(t, err)
	return info.NumPending == 0 && info.NumAckPending == 0
}

// deliver publishes without a message id, so that the stream takes it however often.
func (r *rig) deliver(t *testing.T, event events.Event) {
	t.Helper()
	data, err := event.Encode()
	must(t, err)
	_, err = r.js.Publish(t.Context(), event.Subject, data)
	must(t, err)
}

// state is what stands in etcd.
func (r *rig) state(t *testing.T) (s state.Deployment) {
	t.Helper()
	return r.stateOf(t, credentialName)
}

func (r *rig) stateOf(t *testing.T, credential string) (s state.Deployment) {
	t.Helper()
	answer, err := r.etcd.Get(t.Context(), state.DeploymentKey(events.RegionA, credential))
	must(t, err)
	if len(answer.Kvs) == 0 {
		return s
	}
	s, err = state.Decode[state.Deployment](answer.Kvs[0].Value)
	must(t, err)
	return s
}

// ended waits for a version's end and for both colours to be settled.
func (r *rig) ended(t *testing.T, version int64, phase state.DeploymentPhase) state.Deployment {
	t.Helper()
	return r.endedOf(t, credentialName, version, phase)
}

func (r *rig) endedOf(t *testing.T, credential string, version int64, phase state.DeploymentPhase) state.Deployment {
	t.Helper()
	var s state.Deployment
	await(t, 90*time.Second, fmt.Sprintf("version %d of %s is %s and settled", version, credential, phase), func() bool {
		s = r.stateOf(t, credential)
		return s.Number == version && s.Phase == phase && s.Settled
	}, func() string { return fmt.Sprintf("%+v", s) })
	return s
}

// said lists what the deployer has said of a version, in order.
func (r *rig) said(t *testing.T, version int64) (results []events.Event) {
	t.Helper()
	return r.saidOf(t, credentialName, version)
}

func (r *rig) saidOf(t *testing.T, credential string, version int64) (results []events.Event) {
	t.Helper()
	stream, err := r.js.Stream(t.Context(), events.StreamFacts)
	must(t, err)
	info, err := stream.Info(t.Context())
	must(t, err)
	for n := info.State.FirstSeq; n <= info.State.LastSeq; n++ {
		message, err := stream.GetMsg(t.Context(), n)
		must(t, err)
		for _, secret := range r.secrets {
			if bytes.Contains(message.Data, []byte(secret)) {
				t.Errorf("a secret is in message %d of FACTS", n)
			}
		}
		event, err := events.Decode(message.Data)
		must(t, err)
		if event.Type != events.TypeCredentialRotated && strings.HasSuffix(event.ID, fmt.Sprintf(".%s.%d-a", credential, version)) {
			results = append(results, event)
		}
	}
	return results
}

// saidOnce waits for the one word about a version.
func (r *rig) saidOnce(t *testing.T, version int64) events.Payload {
	t.Helper()
	return r.saidOnceOf(t, credentialName, version)
}

func (r *rig) saidOnceOf(t *testing.T, credential string, version int64) events.Payload {
	t.Helper()
	var results []events.Event
	await(t, 20*time.Second, fmt.Sprintf("something is said of version %d of %s", version, credential), func() bool { results = r.saidOf(t, credential, version); return len(results) > 0 })
	if len(results) != 1 {
		t.Fatalf("said of version %d: %v", version, results)
	}
	payload, err := results[0].Payload()
	must(t, err)
	return payload
}

func (r *rig) login(t *testing.T, colour state.Colour) (content string) {
	t.Helper()
	text, err := os.ReadFile(r.envFile(colour))
	must(t, err)
	_, after, _ := strings.Cut(string(text), "\n") // behind the comment with the colour
	return after
}

// starts counts the starts of colours so far.
func (r *rig) starts(t *testing.T) int {
	t.Helper()
	content, err := os.ReadFile(r.dir + "/starts")
	must(t, err)
	return bytes.Count(content, []byte("\n"))
}

// load asks the proxy for reads and writes, at least 30 a second, until stop is called, which gives the number of requests and those that failed.
func (r *rig) load(t *testing.T) (stop func() (sent int64, failures []string)) {
	t.Helper()
	var sent atomic.Int64
	var mu sync.Mutex
	var failures []string
	ctx, cancel := context.WithCancel(context.Background())
	var loaders sync.WaitGroup
	for worker := range 10 {
		loaders.Go(func() {
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
			for n := 0; ctx.Err() == nil; n++ {
				method, path := http.MethodGet, "/of/ledger?writer=w"
				if n%2 == 0 {
					method, path = http.MethodPost, "/of/ledger"
				}
				request, _ := http.NewRequest(method, "http://"+r.web+path, strings.NewReader(fmt.Sprintf(`{"writer":"w%d","seq":%d}`, worker, n))) // well formed
				response, err := client.Do(request)
				var said []byte
				if err == nil {
					said, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				if err == nil && response.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s %s %s by %q: %s", time.Now().Format(time.StampMilli), method, response.Status, response.Header.Get("X-User"), strings.TrimSpace(string(said)))
				}
				sent.Add(1)
				if err != nil {
					mu.Lock()
					failures = append(failures, err.Error())
					mu.Unlock()
				}
				time.Sleep(150 * time.Millisecond)
			}
		})
	}
	return func() (int64, []string) {
		cancel()
		loaders.Wait()
		return sent.Load(), failures
	}
}

// switches counts how often the traffic changes its colour, until stop is called.
func (r *rig) switches(t *testing.T) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan int)
	go func() {
		count, last := 0, state.Colour("")
		for ctx.Err() == nil {
			if servers, err := r.proxy.Servers(ctx); err == nil {
				hot := state.Blue
				if servers[state.Green].Weight > 0 {
					hot = state.Green
				}
				if last != "" && hot != last {
					count++
				}
				last = hot
			}
			time.Sleep(10 * time.Millisecond)
		}
		result <- count
	}()
	return func() int { cancel(); return <-result }
}
