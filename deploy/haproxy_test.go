package deploy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// echo answers each connection with the peer's address and then repeats what it is sent: a database for a proxy's purposes.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintln(conn, conn.RemoteAddr())
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// session opens a connection through a proxy and returns it with the address from which the database saw it; nil when refused.
func session(address string) (net.Conn, string) {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return nil, ""
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		conn.Close()
		return nil, ""
	}
	_ = conn.SetReadDeadline(time.Time{})
	return conn, strings.TrimSpace(line)
}

func reachable(address string) bool {
	conn, _ := session(address)
	if conn != nil {
		conn.Close()
	}
	return conn != nil
}

// command sends one line to a runtime socket.
func command(t *testing.T, socket, line string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, line)
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func startHAProxy(t *testing.T, dir, file string, socket string) {
	t.Helper()
	haproxy := program(t, "haproxy")
	run(t, haproxy, "-c", "-f", file)
	start(t, exec.Command(haproxy, "-db", "-f", file))
	within(t, 5*time.Second, "haproxy has a runtime socket", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	info, _ := os.Stat(socket)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("runtime socket has mode %v, want 0600", info.Mode().Perm())
	}
}

func databaseProxy(t *testing.T, arbiter string) (h HAProxyDB) {
	t.Helper()
	dir := shortDir(t)
	h = HAProxyDB{
		HAProxyProcess: HAProxyProcess{Socket: dir + "/s", Metrics: freeAddress(t)},
		Bind:           freeAddress(t), ReadBind: freeAddress(t),
		Server: echo(t), Source: "127.0.0.111", Arbiter: arbiter,
	}
	content, err := h.Render()
	startHAProxy(t, dir, write(t, dir, "haproxy.cfg", content, err), h.Socket)
	return h
}

func TestTheDatabaseProxyIsClosedUntilTheArbiterOpensIt(t *testing.T) {
	arbiter := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer arbiter.Close()
	h := databaseProxy(t, arbiter.Listener.Addr().String())

	// The arbiter answers 200 all the time; only its word on the socket may open.
	for began := time.Now(); time.Since(began) < time.Second; {
		if reachable(h.Bind) || reachable(h.ReadBind) {
			t.Fatal("a proxy that just started let a session in")
		}
	}
	command(t, h.Socket, "set server db/local state ready")
	within(t, time.Second, "the database is reachable", func() bool { return reachable(h.Bind) })
	if reachable(h.ReadBind) {
		t.Error("opening the database opened the read pool too")
	}
	conn, seen := session(h.Bind)
	if conn == nil || !strings.HasPrefix(seen, "127.0.0.111:") {
		t.Fatalf("the database saw %q, want the proxy's own address 127.0.0.111", seen)
	}
	defer conn.Close()

	command(t, h.Socket, "set server db/local state maint")
	if reachable(h.Bind) {
		t.Error("a proxy in maintenance let a session in")
	}
	command(t, h.Socket, "shutdown sessions server db/local")
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("the open session got %v, want its end", err)
	}

	response, err := http.Get("http://" + h.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if !strings.Contains(string(body), `haproxy_server_status{proxy="db",server="local"`) {
		t.Error("the metrics do not tell the server's status")
	}
}

func isReset(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection reset")
}

func TestAStoppedArbiterCutsOpenSessionsWithinTheDetectionTime(t *testing.T) {
	address := freeAddress(t)
	arbiter := exec.Command(os.Args[0])
	arbiter.Env = append(os.Environ(), "OFITEC_TEST_ARBITER="+address)
	start(t, arbiter)
	within(t, 5*time.Second, "the arbiter answers", func() bool {
		response, err := http.Get("http://" + address + "/mandate")
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	})
	h := databaseProxy(t, address)
	command(t, h.Socket, "set server db/local state ready")
	within(t, time.Second, "the database is reachable", func() bool { return reachable(h.Bind) })
	within(t, time.Second, "a check has passed", func() bool {
		return strings.Contains(command(t, h.Socket, "show servers conn"), "db/local") && checkPassed(t, h.Socket)
	})
	conn, _ := session(h.Bind)
	if conn == nil {
		t.Fatal("no session")
	}
	defer conn.Close()

	if err := arbiter.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = arbiter.Process.Signal(syscall.SIGCONT) }()
	stopped := time.Now()
	limit := LocalCheck.Detection()
	_ = conn.SetReadDeadline(stopped.Add(limit + 2*time.Second))
	_, err := conn.Read(make([]byte, 1))
	if took := time.Since(stopped); took > limit || (!errors.Is(err, io.EOF) && !isReset(err)) {
		t.Errorf("the session got %v after %v, want its end within %v", err, took, limit)
	} else {
		t.Logf("cut %v after the arbiter stopped, limit %v", took, limit)
	}
	if reachable(h.Bind) {
		t.Error("the proxy let a session in after the cut")
	}
}

func checkPassed(t *testing.T, socket string) bool {
	for _, line := range strings.Split(command(t, socket, "show stat"), "\n") {
		if strings.HasPrefix(line, "db,local,") {
			return strings.Contains(line, "L7OK")
		}
	}
	return false
}

func TestAnArbiterThatHungBeforeTheProxyOpenedIsFoundToo(t *testing.T) {
	block := make(chan struct{})
	arbiter := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	defer arbiter.Close()
	defer close(block)
	h := databaseProxy(t, arbiter.Listener.Addr().String())
	command(t, h.Socket, "set server db/local state ready")
	limit := LocalCheck.Detection()
	took := within(t, limit, "the database is closed", func() bool { return !reachable(h.Bind) })
	t.Logf("closed %v after it was opened against a hung arbiter, limit %v", took, limit)
}

func TestTheDatabaseProxyClosesWhenTheArbiterAnswersNo(t *testing.T) {
	var mandate atomic.Bool
	mandate.Store(true)
	arbiter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mandate" && !mandate.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer arbiter.Close()
	h := databaseProxy(t, arbiter.Listener.Addr().String())
	command(t, h.Socket, "set server db/local state ready")
	command(t, h.Socket, "set server read/local state ready")
	within(t, time.Second, "both are reachable", func() bool { return reachable(h.Bind) && reachable(h.ReadBind) })
	mandate.Store(false)
	within(t, LocalCheck.Detection(), "the database is closed", func() bool { return !reachable(h.Bind) })
	if !reachable(h.ReadBind) {
		t.Error("the read pool follows /standby, and was closed by /mandate")
	}
	mandate.Store(true)
	within(t, LocalCheck.Detection(), "the database is open again", func() bool { return reachable(h.Bind) })
}
