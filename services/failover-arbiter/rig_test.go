package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(pointsVariable); folder != "" {
		tread(folder)
	}
	chassistest.Main(m, main)
}

// noNATS is a bus that never answers: an arbiter that hears nobody still holds its mandate.
const noNATS = "nats://127.0.0.1:1"

// region is what an arbiter works on: real servers, each of its own process but etcd, which is one member inside the test.
type region struct {
	etcd     *etcdServer
	database *database
	proxy    deploy.HAProxyDB
	haproxy  *exec.Cmd
	address  string // the arbiter's
	dir      string
}

// startRegion starts everything but the arbiter.
func startRegion(t *testing.T) *region {
	t.Helper()
	return startRegionOn(t, startDatabase(t))
}

func startRegionOn(t *testing.T, d *database) *region {
	t.Helper()
	r := &region{etcd: newEtcd(t), database: d, address: freeAddr(t), dir: shortDir(t)}
	r.etcd.start(t)
	r.proxy = deploy.HAProxyDB{
		HAProxyProcess: deploy.HAProxyProcess{Socket: r.dir + "/s", Metrics: freeAddr(t)},
		Bind:           freeAddr(t), ReadBind: freeAddr(t), Server: r.database.Listen, Source: "127.0.0.111", Arbiter: r.address,
	}
	content, err := r.proxy.Render()
	must(t, err)
	must(t, os.WriteFile(r.dir+"/haproxy.cfg", content, 0o600))
	r.startProxy(t)
	return r
}

func (r *region) startProxy(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/usr/sbin/haproxy"); err != nil {
		t.Skip("HAProxy is not installed: the fence is tested where it is")
	}
	r.haproxy = exec.Command("/usr/sbin/haproxy", "-db", "-f", r.dir+"/haproxy.cfg")
	start(t, r.haproxy)
	await(t, 5*time.Second, "the proxy has a runtime socket", func() bool {
		conn, err := net.Dial("unix", r.proxy.Socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// arbiter starts the service as a process; its name is that of its data folder. More variables outrank the others.
func (r *region) arbiter(t *testing.T, name, address string, more ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(r.database.environment(), "OFITEC_TEST_RUN_AS_SERVICE=1", "OFITEC_REGION=a", "OFITEC_HTTP_ADDR="+address,
		"OFITEC_DATA_DIR="+filepath.Join(r.dir, name), "ETCD_ENDPOINTS="+r.etcd.client.String(), "NATS_URL="+noNATS, "OFITEC_DATABASE_PROXY_SOCKET="+r.proxy.Socket)
	cmd.Env = append(cmd.Env, more...)
	start(t, cmd)
	return cmd
}

// says asks /mandate or /standby; status 0 is no answer.
func says(address, path string) (status int, body answer) {
	client := http.Client{Timeout: time.Second}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, body
	}
	defer response.Body.Close()
	_ = json.NewDecoder(response.Body).Decode(&body) // an empty body is told by the status
	return response.StatusCode, body
}

func (r *region) open() bool {
	conn, err := r.database.login(context.Background(), r.proxy.Bind)
	if err == nil {
		conn.Close(context.Background())
	}
	return err == nil
}

// etcdServer is a member that can be stopped and started again with its data.
type etcdServer struct {
	dir          string
	client, peer url.URL
	running      *embed.Etcd
}

func newEtcd(t *testing.T) *etcdServer {
	e := &etcdServer{dir: t.TempDir(), client: url.URL{Scheme: "http", Host: freeAddr(t)}, peer: url.URL{Scheme: "http", Host: freeAddr(t)}}
	t.Cleanup(e.stop)
	return e
}

func (e *etcdServer) start(t *testing.T) {
	t.Helper()
	config := embed.NewConfig()
	config.Dir, config.LogLevel = e.dir, "error"
	config.UnsafeNoFsync = true // it is stopped and started again, never cut off
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{e.client}, []url.URL{e.client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{e.peer}, []url.URL{e.peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	must(t, err)
	e.running = server
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(20 * time.Second):
		t.Fatal("etcd is not ready after 20 s")
	}
}

func (e *etcdServer) stop() {
	if e.running != nil {
		e.running.Close()
		e.running = nil
	}
}

// start runs a program until the test ends, and shows its output if the test failed.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, out)
		}
	})
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await polls until the condition holds and says how long that took.
func await(t *testing.T, limit time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !condition() {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

func freeAddr(t *testing.T) string { return chassistest.FreeAddr(t) }

// shortDir is short enough for Unix sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "of")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func readAll(response *http.Response) string {
	body, _ := io.ReadAll(response.Body) // what is missing is not found in it
	return string(body)
}
