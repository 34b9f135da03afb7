package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/board/boardtest"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

func TestItBehavesLikeEveryService(t *testing.T) {
	chassistest.Conduct(t, name, "ETCD_ENDPOINTS="+etcdtest.Start(t))
}

func TestItSaysWhichBuildItIsAndWhereItIsConnected(t *testing.T) {
	addr := chassistest.FreeAddr(t)
	p := chassistest.Start(t, "NATS_URL=nats://"+addr, "ETCD="+chassistest.FreeAddr(t))
	if before := askVersion(t, p); before.Service != name || before.Build.Version == "" || before.Bus.Connected || before.Bus.Server != "" {
		t.Errorf("without a bus %+v", before)
	}
	chassistest.NATSAt(t, addr)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		after := askVersion(t, p)
		if after.Bus.Connected && after.Bus.Server == "nats://"+addr {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a bus %+v", after)
		}
	}
}

func askVersion(t *testing.T, p *chassistest.Process) version {
	t.Helper()
	var v version
	if err := json.Unmarshal([]byte(p.Await(t, "/api/version", 200)), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsWrongIsNamedTogether(t *testing.T) {
	status, _, complaints := chassistest.Run(t, nil, "NATS_URL=nats://127.0.0.1:4222", "OFITEC_HTTP_ADDR=0.0.0.0:8080", "OFITEC_ARBITERS=a=127.0.0.11:8702,d=x:1",
		"OFITEC_TRANSFORMS=c=127.0.0.13:8706", "OFITEC_ANALYTICS_DSN_FILES=/etc/dsn", "OFITEC_CONSOLE_HISTORY=-1h")
	if status != 2 {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{"ETCD_ENDPOINTS is not set", `OFITEC_HTTP_ADDR="0.0.0.0:8080"`, "ssh -L", `OFITEC_ARBITERS="d=x:1"`, `OFITEC_TRANSFORMS="c=127.0.0.13:8706"`, `OFITEC_ANALYTICS_DSN_FILES="/etc/dsn"`, `OFITEC_CONSOLE_HISTORY="-1h0m0s"`} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no %s in %q", want, complaints)
		}
	}
}

// ground is a real bus with its streams and a real etcd.
type ground struct {
	t         *testing.T
	nats      string
	endpoints string
	bus       *bus.JetStream
	etcd      *clientv3.Client
}

func newGround(t *testing.T) *ground {
	t.Helper()
	g := &ground{t: t, nats: chassistest.NATS(t), endpoints: etcdtest.Start(t)}
	conn, err := nats.Connect(g.nats)
	must(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(t, err)
	for _, stream := range events.Streams {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream.Name, Subjects: stream.Subjects})
		must(t, err)
	}
	g.bus = bus.NewJetStream(js, nil)
	g.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{g.endpoints}, DialTimeout: 5 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = g.etcd.Close() })
	return g
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *ground) put(key string, doc state.Document) {
	g.t.Helper()
	data, err := state.Encode(doc)
	must(g.t, err)
	_, err = g.etcd.Put(g.t.Context(), key, string(data))
	must(g.t, err)
}

func (g *ground) publish(fact board.Fact) {
	g.t.Helper()
	_, err := g.bus.Publish(g.t.Context(), fact.Event)
	must(g.t, err)
}

func TestThePageShowsWhatEtcdAndTheBusHaveAndThenWhatComes(t *testing.T) {
	g := newGround(t)
	now := time.Now().UTC()
	g.put(state.KeyFailover, state.Failover{Epoch: 2, Active: "b", Phase: state.PhaseSteady, Since: now})
	g.put(state.CredentialKey("odoo-app"), state.Credential{Name: "odoo-app", Method: "database", Versions: []state.CredentialVersion{{Number: 3, Stage: state.StageCurrent, User: "v-odoo-3", MintedAt: now}}})
	for _, input := range boardtest.Day(now) {
		if fact, ok := input.(board.Fact); ok {
			g.publish(fact)
		}
	}
	dir := t.TempDir()
	p := chassistest.Start(t, "NATS_URL="+g.nats, "ETCD_ENDPOINTS="+g.endpoints, "OFITEC_DATA_DIR="+dir, "OFITEC_REGION=outside", "OFITEC_ARBITERS=a="+chassistest.FreeAddr(t))
	p.Await(t, "/readyz", 200)
	link := strings.TrimSpace(await(t, filepath.Join(dir, "link")))
	stream := enter(t, p, link)
	stream.await(t, "writer", `"region":"b"`)
	stream.await(t, "credentials", "v-odoo-3")
	stream.await(t, "failover", `"state":"completed"`)
	stream.await(t, "events", "credential.deployed")
	stream.await(t, "regions", "refused")
	stream.await(t, "money", "unconfigured")

	g.publish(boardtest.Fact(0, "a", "etl-ingest", now, events.ExportFailed{Dataset: "invoice", Region: "a", Batch: "late", FailedAt: now, Attempts: 1, Code: "truncated", Reason: "half a body", RetryTime: now}))
	stream.await(t, "warehouse", "half a body")
	g.put(state.KeyFailover, state.Failover{Epoch: 3, Active: "a", Phase: state.PhaseSteady, Since: now})
	stream.await(t, "writer", `"epoch":3`)

	if strings.Contains(p.Output(), strings.TrimPrefix(link[strings.Index(link, "token="):], "token=")) {
		t.Error("the link's token stands in the log")
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("with an open stream it ends with status %d", status)
	}
	if _, err := os.Stat(filepath.Join(dir, "link")); err == nil {
		t.Error("the link's file is still there")
	}
}

func await(t *testing.T, file string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if content, err := os.ReadFile(file); err == nil {
			return string(content)
		}
	}
	t.Fatalf("no %s after 20 s", file)
	return ""
}

// sections is the page's stream; the newest of each section is kept.
type sections struct {
	lines *bufio.Scanner
	have  map[string]string
}

func enter(t *testing.T, p *chassistest.Process, link string) *sections {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	client := &http.Client{Jar: jar}
	response, err := client.Get(link)
	must(t, err)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the link answers %s", response.Status)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/stream", nil)
	must(t, err)
	response, err = client.Do(request)
	must(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &sections{lines, map[string]string{}}
}

// await reads until a section has a text; what came before counts.
func (s *sections) await(t *testing.T, section, text string) {
	t.Helper()
	name := ""
	for !strings.Contains(s.have[section], text) {
		if !s.lines.Scan() {
			t.Fatalf("the stream ended before %s had %s; it has %s", section, text, s.have[section])
		}
		if rest, ok := strings.CutPrefix(s.lines.Text(), "event: "); ok {
			name = rest
		}
		if rest, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			s.have[name] = rest
		}
	}
}
