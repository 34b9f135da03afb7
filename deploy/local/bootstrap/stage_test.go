package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// stage is a data folder with identities, on loopback addresses that no other stack on the machine uses.
type stage struct {
	layout layout.Layout
	set    *identity.Set
	owners identity.Owners
	tls    *tls.Config
}

var stages atomic.Int32

func newStage(t *testing.T) *stage {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "of")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil { // the database's user passes through
		t.Fatal(err)
	}
	net := fmt.Sprintf("127.%d.%d.", 64+os.Getpid()%64, stages.Add(1))
	s := &stage{layout: layout.Layout{Root: filepath.Join(root, "d"), Addressing: layout.Addressing{
		Region:      map[layout.Region]string{layout.A: net + "11", layout.B: net + "12", layout.C: net + "13"},
		ProxySource: map[layout.Region]string{layout.A: net + "111", layout.B: net + "112"},
		Outside:     net + "1", Console: net + "1",
	}}}
	if os.Geteuid() == 0 {
		if account, err := user.Lookup("postgres"); err == nil {
			uid, _ := strconv.Atoi(account.Uid)
			gid, _ := strconv.Atoi(account.Gid)
			s.owners = identity.Owners{"postgres": {UID: uid, GID: gid}, "failover-arbiter": {UID: uid, GID: gid}}
		}
	}
	if s.set, err = identity.Ensure(s.layout, s.owners); err != nil {
		t.Fatal(err)
	}
	s.tls = s.clientTLS(t, s.layout.OperatorIdentityDir())
	return s
}

func (s *stage) clientTLS(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(dir+"/tls.crt", dir+"/tls.key")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(dir + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func (s *stage) serverTLS(r layout.Region, name string) deploy.TLSFiles {
	dir := s.layout.IdentityDir(r, name)
	return deploy.TLSFiles{Cert: dir + "/tls.crt", Key: dir + "/tls.key", CA: dir + "/ca.crt"}
}

func find(t *testing.T, server servers.Server) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a real server is started")
	}
	path, ok := server.Find(t.Context())
	if !ok {
		t.Skipf("%s is not built yet (ofitec setup builds it)", server.Name)
	}
	return path
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a server until the test ends, or until stop is called.
func start(t *testing.T, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Signal(syscall.SIGINT)
			killer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			killer.Stop()
		})
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			text := out.String()
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), text[max(0, len(text)-4000):])
		}
	})
	return stop
}

func (s *stage) write(t *testing.T, path string, render func() ([]byte, error)) string {
	t.Helper()
	content, err := render()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually repeats a step as the stack does.
func eventually(t *testing.T, what string, step func(ctx context.Context) error) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		err := step(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func listening(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
}
