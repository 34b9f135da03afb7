package chassistest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asService tells the test's binary to be the service.
const asService = "OFITEC_TEST_RUN_AS_SERVICE"

// waitAtMost bounds every wait for a process; starved machines need it long.
const waitAtMost = 30 * time.Second

// Main is for a service's TestMain: the test binary, started anew by Start or Run, is the service; else the tests run.
func Main(m *testing.M, service func()) {
	if os.Getenv(asService) != "" {
		service()
		return
	}
	os.Exit(m.Run())
}

// Process is the service running as a process of its own.
type Process struct {
	URL string // where it serves health and metrics

	command *exec.Cmd
	output  lockedBuffer
	ended   chan struct{} // closed when the process has ended
}

// command is the service with an environment of its own: nothing of the test's but what it needs to run.
func command(args, env []string) *exec.Cmd {
	c := exec.CommandContext(context.Background(), os.Args[0], args...)
	c.Env = append([]string{asService + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return c
}

// Start starts the service in region a on a free port; env is NAME=value and outranks both. The test's end kills it if it still runs.
func Start(t testing.TB, env ...string) *Process {
	t.Helper()
	addr := FreeAddr(t)
	p := &Process{URL: "http://" + addr, ended: make(chan struct{})}
	p.command = command(nil, append([]string{"OFITEC_REGION=a", "OFITEC_HTTP_ADDR=" + addr}, env...))
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	if err := p.command.Start(); err != nil {
		t.Fatalf("start service: %v", err)
	}
	go func() {
		_ = p.command.Wait() // the status is read from ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill() // it has ended when this fails
		<-p.ended
		if t.Failed() {
			t.Logf("output of the service:\n%s", p.Output())
		}
	})
	return p
}

// Get asks the service; status 0 means no answer.
func (p *Process) Get(path string) (status int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(content)
}

// Await asks until the status is the wanted one and gives the body; it fails the test when that takes too long or the process ends.
func (p *Process) Await(t testing.TB, path string, status int) string {
	t.Helper()
	deadline := time.After(waitAtMost)
	for {
		got, body := p.Get(path)
		if got == status {
			return body
		}
		select {
		case <-p.ended:
			t.Fatalf("the service ended with status %d while %s was awaited", p.command.ProcessState.ExitCode(), path)
		case <-deadline:
			t.Fatalf("%s answers %d %q, want %d", path, got, body, status)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Terminate sends SIGTERM and gives the exit status.
func (p *Process) Terminate(t testing.TB) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	return p.AwaitEnd(t)
}

// Signal sends a signal: SIGKILL, or SIGSTOP and SIGCONT for a process that is paused.
func (p *Process) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatalf("send %s: %v", signal, err)
	}
}

// AwaitEnd waits until the process has ended and gives its exit status, -1 when a signal has ended it.
func (p *Process) AwaitEnd(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.command.ProcessState.ExitCode()
	case <-time.After(waitAtMost):
		t.Fatalf("still running after %s", waitAtMost)
		return -1
	}
}

// Output is what the service has written so far, log and all.
func (p *Process) Output() string { return p.output.String() }

// Run runs the service's program to its end and gives its exit status and what it wrote.
func Run(t testing.TB, args []string, env ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	c := command(args, env)
	c.Stdout, c.Stderr = &out, &complaints
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", strings.Join(args, " "), err)
	}
	return c.ProcessState.ExitCode(), out.String(), complaints.String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(data)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
