package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// stack is the real stack of three regions, started like a newcomer does, by the built command.
type stack struct {
	t       *testing.T
	program string
	data    string
	layout  layout.Layout
	up      *exec.Cmd
	output  lockedBuffer
	ended   chan error

	webhookBefore string // what Odoo signed with before it was replaced
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newStack finds the built command. The stack needs the machine for itself, so it runs only where OFITEC_STACK_TEST says so: make stack-test.
func newStack(t *testing.T) *stack {
	t.Helper()
	if os.Getenv("OFITEC_STACK_TEST") == "" {
		t.Skip("starts the real stack, which needs the machine for itself; make stack-test runs it")
	}
	program, err := filepath.Abs("../../bin/ofitec")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v; make build makes it", err)
	}
	data, err := os.MkdirTemp("/var/tmp", "ofitec-stack-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, program: program, data: filepath.Join(data, "state")}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the data folder is kept: %s\n%s", s.data, tail(s.output.String(), 60))
			return
		}
		_ = os.RemoveAll(data)
	})
	return s
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// start runs `ofitec up`, with more flags such as --netns, and waits until `ofitec status` exits 0.
func (s *stack) start(within time.Duration, flags ...string) {
	s.t.Helper()
	s.up = exec.Command(s.program, append([]string{"up", "--data", s.data, "--odoo", "ODOO_LONG_TRANSACTION=4s,ODOO_LONG_TRANSACTION_EVERY=10s"}, flags...)...)
	s.up.Stdout, s.up.Stderr = &s.output, &s.output
	s.up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.up.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.up.Wait() }()
	deadline := time.Now().Add(within)
	for time.Now().Before(deadline) {
		select {
		case err := <-s.ended:
			s.up = nil
			s.t.Fatalf("ofitec up ended: %v\n%s", err, tail(s.output.String(), 40))
		case <-time.After(500 * time.Millisecond):
		}
		if _, code := s.run("status"); code == exitDone {
			l, err := local.Open(s.data)
			if err != nil {
				s.t.Fatal(err)
			}
			s.layout = l
			return
		}
	}
	status, _ := s.run("status")
	s.t.Fatalf("not ready within %s\n%s\n%s", within, status, tail(s.output.String(), 40))
}

// stop sends Ctrl-C and waits for the end.
func (s *stack) stop() {
	if s.up == nil {
		return
	}
	_ = s.up.Process.Signal(syscall.SIGINT)
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Log(err)
		}
	case <-time.After(90 * time.Second):
		s.t.Errorf("ofitec up does not end after Ctrl-C")
		_ = s.up.Process.Kill()
		s.t.Log(<-s.ended)
	}
	s.up = nil
}

// run runs the command and gives its output, both streams, and exit status.
func (s *stack) run(args ...string) (string, int) {
	s.t.Helper()
	return s.runWithin(time.Minute, args...)
}

// runWithin is run for commands that take their time.
func (s *stack) runWithin(within time.Duration, args ...string) (string, int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.program, append(args, "--data", s.data)...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out), 0
}

func (s *stack) status() status {
	s.t.Helper()
	out, _ := s.run("status", "-o", "json")
	var now status
	if err := json.Unmarshal([]byte(out), &now); err != nil {
		s.t.Fatalf("status -o json: %v: %s", err, out)
	}
	return now
}

// eventually waits for a condition.
func (s *stack) eventually(what string, within time.Duration, check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %s: %v", what, within, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *stack) url(r layout.Region, port int, path string) string {
	return "http://" + s.layout.Addressing.Addr(r, port) + path
}

// write puts a ledger entry through a region's web proxy; nil only when it was acknowledged.
func (s *stack) write(r layout.Region, writer string, seq int) error {
	body := fmt.Sprintf(`{"writer":%q,"seq":%d}`, writer, seq)
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Post(s.url(r, layout.PortWebProxy, "/of/ledger"), "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("POST /of/ledger: %d %s", response.StatusCode, answer)
	}
	return nil
}

func get(address string) (int, string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// TestStackIsWhatItSays starts the stack on an empty folder and looks at it like a newcomer, an operator and somebody who means harm; the parts
// share one start, because a start takes its time.
func TestStackIsWhatItSays(t *testing.T) {
	s := newStack(t)
	s.start(15 * time.Minute)
	t.Run("region a is primary, b its standby, c the quorum", s.rolesAreRight)
	t.Run("doctor finds nothing", s.doctorIsClean)
	t.Run("DNS answers region a", s.dnsAnswersA)
	t.Run("a write by either region's web proxy is in both databases", s.writesReplicate)
	t.Run("the gates are computed in both regions", s.gatesAreThere)
	t.Run("no identity may do what is not its own", s.identitiesAreBounded)
	t.Run("no secret is in a log, a metric, an argument or a stream", s.secretsAreKept)
	t.Run("a second up and a used port are refused in one line", s.secondStartIsRefused)
	t.Run("wrong use exits with 2", s.wrongUseExits2)
	t.Run("every component that is killed comes back", s.killedComponentsReturn)
	t.Run("Ctrl-C leaves nothing behind, and a second start goes on", s.restartGoesOn)
	t.Run("credentials are replaced under load without a failed request, while region c is lost", s.credentialsAreReplacedUnderLoad)
	t.Run("credentials of all kinds are made and replaced, also those that no deployer brings", s.credentialsOfAllKinds)
	t.Run("the warehouse agrees with the source, and a second run reads what changed", s.theWarehouseAgreesWithTheSource)
	t.Run("a region dies with its disks and the business goes on", s.aRegionDiesAndTheBusinessGoesOn)
	t.Run("the planned way back loses nothing", s.theReturnIsPlanned)
	t.Run("what Odoo signed with before is refused when its time is over", s.theWebhookBeforeIsRefused)
	t.Run("after all of that no secret is where it must not be", s.secretsAreKept)
	t.Run("a stop and a new start keep all of this", s.aRestartKeepsAll)
}

func (s *stack) rolesAreRight(t *testing.T) {
	now := s.status()
	if now.Active == nil || *now.Active != "a" || now.Epoch != 1 || now.Phase != "steady" {
		t.Errorf("active %v, epoch %d, phase %s; want a, 1, steady", now.Active, now.Epoch, now.Phase)
	}
	for region, role := range map[string]string{"a": "primary", "b": "standby", "c": "quorum"} {
		if got := now.Regions[region]; got.Role != role || got.Health != "up" {
			t.Errorf("region %s is %s, %s; want %s, up", region, got.Role, got.Health, role)
		}
	}
	names := map[string]bool{}
	for _, c := range now.Regions["a"].Components {
		names[c.Name] = true
	}
	for _, want := range []string{"nats", "etcd", "postgres", "haproxy-db", "haproxy-web", "prometheus", "vault", "odoo-blue", "odoo-green", "failover-arbiter", "health-probe", "rotator", "deployer", "etl-ingest", "etl-transform"} {
		if !names[want] {
			t.Errorf("region a has no component %s", want)
		}
	}
}

func (s *stack) doctorIsClean(t *testing.T) {
	// Right after a start Prometheus has no window of samples yet, and a stream's replica may be catching up.
	s.eventually("doctor finds nothing", 60*time.Second, func() error {
		if out, code := s.run("doctor"); code != exitDone {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	})
}

func (s *stack) dnsAnswersA(t *testing.T) {
	got, err := lookup(context.Background(), fmt.Sprintf("%s:%d", s.layout.Addressing.Outside, layout.PortDNS))
	if err != nil || got != s.layout.Addressing.Region[layout.A] {
		t.Errorf("%s is %s, %v; want %s", layout.Name, got, err, s.layout.Addressing.Region[layout.A])
	}
}

func (s *stack) writesReplicate(t *testing.T) {
	if err := s.write(layout.A, "by-a", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.write(layout.B, "by-b", 1); err != nil {
		t.Errorf("region b's web proxy does not forward to the active region: %v", err)
	}
	s.eventually("both entries are read in region b", 10*time.Second, func() error {
		for _, writer := range []string{"by-a", "by-b"} {
			code, body, err := get(s.url(layout.B, layout.PortOdooBlue, "/of/ledger?writer="+writer))
			if err != nil || code != http.StatusOK || !strings.Contains(body, writer) {
				return fmt.Errorf("%s: %d %s %w", writer, code, body, err)
			}
		}
		return nil
	})
}

func (s *stack) gatesAreThere(t *testing.T) {
	for _, r := range layout.DataRegions {
		s.eventually("gate:healthy is 1 in region "+string(r), 90*time.Second, func() error {
			code, body, err := get(s.url(r, layout.PortPrometheus, "/api/v1/query?query=gate:healthy"))
			if err != nil || code != http.StatusOK || !strings.Contains(body, `"1"]`) {
				return fmt.Errorf("%d %s %w", code, body, err)
			}
			return nil
		})
	}
}

func (s *stack) secondStartIsRefused(t *testing.T) {
	out, code := s.run("up")
	if code != exitFailed || strings.Count(strings.TrimSpace(out), "\n") != 0 || !strings.Contains(out, "in use by another ofitec up") {
		t.Errorf("a second up exits %d and says: %s", code, out)
	}
	other := filepath.Join(filepath.Dir(s.data), "other")
	command := exec.Command(s.program, "up", "--data", other)
	answer, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(answer), "127.0.0.11:4222, wanted by nats, is in use by process") {
		t.Errorf("a start on used ports says: %s", answer)
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused start leaves %s: %v", other, err)
	}
}

func (s *stack) wrongUseExits2(t *testing.T) {
	for _, args := range [][]string{{"status", "-o", "xml"}, {"nonsense"}, {"events", "replay", "--stream", "NOISE"}, {"up", "--no-such-flag"}, {"status", "extra"}} {
		if out, code := s.run(args...); code != exitUsage {
			t.Errorf("%v exits %d: %s", args, code, out)
		}
	}
}

// restartBudget is how long a database may take to come back by itself before the other region takes over (protocol.md, "Boot, promotion, return").
const restartBudget = 3 * time.Second

// killedComponentsReturn kills each process of region b, then the writing side of a, and waits until all is ready and writes go through. None of it moves the
// mandate, unless the machine is so slow that a database needs longer than its budget: then moving is right.
func (s *stack) killedComponentsReturn(t *testing.T) {
	slow := false
	for _, r := range []layout.Region{layout.B, layout.A} {
		for _, c := range s.status().Regions[string(r)].Components {
			killed := time.Now()
			s.kill(t, r, c.Name)
			s.eventually(fmt.Sprintf("%s/%s is ready again", r, c.Name), 60*time.Second, func() error {
				for _, now := range s.status().Regions[string(r)].Components {
					if now.Name == c.Name && now.Ready && now.PID != c.PID {
						return nil
					}
				}
				return errors.New("not yet")
			})
			if took := time.Since(killed); c.Name == "postgres" && took > restartBudget-500*time.Millisecond {
				slow = true
				t.Logf("starved: the database of region %s needed %s", r, took)
			}
		}
	}
	s.eventually("everything is ready", 90*time.Second, func() error {
		if out, code := s.run("status"); code != exitDone {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	s.eventually("writes go through", 15*time.Second, func() error { return s.write(layout.A, "after-kills", 1) })
	if slow { // a cooldown would hold the drills that follow
		s.run("failover", "acknowledge", "--reason", "the machine was slow, not the region")
	}
	if now := s.status(); !slow && (now.Epoch != 1 || now.Active == nil || *now.Active != "a") {
		t.Errorf("killed processes moved the mandate: epoch %d, active %s", now.Epoch, s.active(t))
	}
}

// kill ends a component's present process. One that has just been replaced, by a rollout say, is asked for again.
func (s *stack) kill(t *testing.T, r layout.Region, name string) {
	t.Helper()
	var err error
	for range 10 {
		for _, c := range s.status().Regions[string(r)].Components {
			if c.Name != name || c.PID == 0 {
				continue
			}
			if err = syscall.Kill(c.PID, syscall.SIGKILL); err == nil {
				return
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("kill %s/%s: %v", r, name, err)
}

func (s *stack) restartGoesOn(t *testing.T) {
	before, active := s.status(), s.active(t)
	s.stop()
	if left := processesIn(s.layout.Root); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if _, err := os.Stat(s.layout.SocketRoot()); err == nil {
		t.Errorf("%s is left", s.layout.SocketRoot())
	}
	for _, r := range layout.DataRegions {
		if conn, err := net.DialTimeout("tcp", s.layout.Addressing.Addr(r, layout.PortPostgres), time.Second); err == nil {
			_ = conn.Close()
			t.Errorf("region %s still serves PostgreSQL", r)
		}
	}
	s.start(5 * time.Minute)
	if now := s.status(); now.Epoch != before.Epoch || s.active(t) != active {
		t.Errorf("after a restart: active %s, epoch %d; want %s, %d", s.active(t), now.Epoch, active, before.Epoch)
	}
	_, body, err := get(s.url(layout.A, layout.PortWebProxy, "/of/ledger?writer=by-a"))
	if err != nil || !strings.Contains(body, "by-a") {
		t.Errorf("an acknowledged write is gone after a restart: %s %v", body, err)
	}
	s.eventually("writes go through", 15*time.Second, func() error { return s.write(layout.A, "after-restart", 1) })
}

// processesIn lists processes whose command line names the folder.
func processesIn(dir string) []string {
	var found []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		content, err := os.ReadFile(line)
		if err == nil && bytes.Contains(content, []byte(dir+"/")) {
			found = append(found, strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}
