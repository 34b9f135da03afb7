package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// ledgerWriter writes entries one after the other and remembers which were acknowledged, and for how long none was.
type ledgerWriter struct {
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	acked  map[int]bool
	failed int
	last   time.Time
	outage time.Duration // longest time between two acknowledgements since the last reset
}

func (s *stack) startWriter(name string) *ledgerWriter {
	ctx, cancel := context.WithCancel(context.Background())
	w := &ledgerWriter{name: name, cancel: cancel, acked: map[int]bool{}, last: time.Now()}
	w.done.Go(func() {
		for seq := 1; ctx.Err() == nil; seq++ {
			err := s.write(layout.A, name, seq)
			w.mu.Lock()
			if err == nil {
				w.acked[seq] = true
				w.outage = max(w.outage, time.Since(w.last))
				w.last = time.Now()
			} else {
				w.failed++
			}
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return w
}

// lap gives the longest outage since the last lap, the present one included, and begins a new one.
func (w *ledgerWriter) lap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	outage := max(w.outage, time.Since(w.last)) // the one that goes on counts too
	w.outage, w.last = 0, time.Now()
	return outage
}

func (w *ledgerWriter) stop() {
	w.cancel()
	w.done.Wait()
}

// missing lists acknowledged entries that the database does not have.
func (s *stack) missing(t *testing.T, w *ledgerWriter) []int {
	t.Helper()
	_, body, err := get(s.url(layout.A, layout.PortWebProxy, "/of/ledger?writer="+w.name))
	if err != nil {
		t.Fatal(err)
	}
	var entries []struct{ Seq int }
	if err := json.Unmarshal([]byte(body), &entries); err != nil {
		t.Fatalf("ledger: %v: %.200s", err, body)
	}
	there := map[int]bool{}
	for _, entry := range entries {
		there[entry.Seq] = true
	}
	var lost []int
	for seq := range w.acked {
		if !there[seq] {
			lost = append(lost, seq)
		}
	}
	return lost
}

// TestStackDrills does harm to the running stack for minutes while a writer counts its acknowledged entries, and writes down what happened.
// make drills runs it; it is too long for make test.
func TestStackDrills(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes minutes; make drills runs it")
	}
	s := newStack(t)
	s.start(15 * time.Minute)
	var report strings.Builder
	fmt.Fprintf(&report, "# Drills of the ground: one region holds the mandate\n\n%s\n\n| drill | longest time without an acknowledged write |\n|---|---|\n", machine())
	writer := s.startWriter("drill")
	s.drillKills(t, writer, &report)
	s.drillStoppedArbiter(t, writer, &report)
	s.drillEtcdWithoutQuorum(t, writer, &report)
	writer.stop()
	lost := s.missing(t, writer)
	if len(lost) > 0 {
		t.Errorf("%d acknowledged writes are lost: %v", len(lost), lost[:min(10, len(lost))])
	}
	fmt.Fprintf(&report, "\n%d writes acknowledged, %d refused or unanswered, %d acknowledged ones lost.\n", len(writer.acked), writer.failed, len(lost))
	writeEvidence(t, "ground-drills", report.String())
}

// TestStackSoak kills components at random for OFITEC_SOAK (a duration) while a writer counts.
func TestStackSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("OFITEC_SOAK"))
	if err != nil {
		t.Skip("takes hours; make soak runs it, OFITEC_SOAK says for how long")
	}
	s := newStack(t)
	s.start(15 * time.Minute)
	writer := s.startWriter("soak")
	random := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for end := time.Now().Add(duration); time.Now().Before(end); kills++ {
		region := layout.Regions[random.IntN(len(layout.Regions))]
		components := s.status().Regions[string(region)].Components
		victim := components[random.IntN(len(components))]
		if victim.PID != 0 {
			_ = syscall.Kill(victim.PID, syscall.SIGKILL)
		}
		s.eventually(fmt.Sprintf("all is ready after %s/%s was killed", region, victim.Name), 2*time.Minute, s.allReady)
	}
	writer.stop()
	if lost := s.missing(t, writer); len(lost) > 0 {
		t.Errorf("%d acknowledged writes are lost", len(lost))
	}
	writeEvidence(t, "ground-soak", fmt.Sprintf("# Soak of the ground\n\n%s\n\n%s, %d components killed one after the other, %d writes acknowledged, %d refused or unanswered, longest outage %s, none lost: %v.\n",
		machine(), duration, kills, len(writer.acked), writer.failed, writer.lap().Round(10*time.Millisecond), !t.Failed()))
}

func (s *stack) allReady() error {
	if out, code := s.run("status"); code != exitDone {
		return fmt.Errorf("%s", out)
	}
	return nil
}

// drillKills kills each component of the active region.
func (s *stack) drillKills(t *testing.T, w *ledgerWriter, report *strings.Builder) {
	for _, c := range s.status().Regions["a"].Components {
		w.lap()
		s.kill(t, layout.A, c.Name)
		s.eventually("all is ready after "+c.Name+" was killed", 90*time.Second, s.allReady)
		s.eventually("writes go through", 15*time.Second, func() error { return s.write(layout.A, "probe", 1) })
		fmt.Fprintf(report, "| kill -9 of %s in region a | %s |\n", c.Name, w.lap().Round(10*time.Millisecond))
	}
}

// drillStoppedArbiter stops the arbiter of the active region: the proxy must close by itself, and open again when it goes on.
func (s *stack) drillStoppedArbiter(t *testing.T, w *ledgerWriter, report *strings.Builder) {
	w.lap()
	arbiter := s.pid("a", "failover-arbiter")
	if err := syscall.Kill(arbiter, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	s.eventually("writes are refused", 5*time.Second, func() error {
		if err := s.write(layout.A, "fenced", 1); err == nil {
			return fmt.Errorf("a write was acknowledged %s after the arbiter stopped", time.Since(stopped).Round(time.Millisecond))
		}
		return nil
	})
	closed := time.Since(stopped)
	time.Sleep(3 * time.Second) // well past the fence: any write that is acknowledged now was acknowledged without a mandate
	for seq := 2; seq < 12; seq++ {
		if s.write(layout.A, "fenced", seq) == nil {
			t.Error("a write was acknowledged behind the fence")
		}
	}
	_ = syscall.Kill(arbiter, syscall.SIGCONT)
	s.eventually("writes go through again", 20*time.Second, func() error { return s.write(layout.A, "reopened", 1) })
	fmt.Fprintf(report, "| SIGSTOP of the arbiter of region a for 3 s past the fence; refused %s after the stop | %s |\n", closed.Round(10*time.Millisecond), w.lap().Round(10*time.Millisecond))
}

// drillEtcdWithoutQuorum stops two members: nobody can renew, the active region fences itself, and reopens at the same epoch.
func (s *stack) drillEtcdWithoutQuorum(t *testing.T, w *ledgerWriter, report *strings.Builder) {
	w.lap()
	epoch := s.status().Epoch
	members := []int{s.pid("b", "etcd"), s.pid("c", "etcd")}
	for _, pid := range members {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	s.eventually("the region fences itself", 15*time.Second, func() error {
		if s.write(layout.A, "quorumless", 1) == nil {
			return fmt.Errorf("writes still go through")
		}
		return nil
	})
	for _, pid := range members {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.eventually("writes go through again", 30*time.Second, func() error { return s.write(layout.A, "quorum", 1) })
	if now := s.status(); now.Epoch != epoch {
		t.Errorf("the epoch moved from %d to %d without a failover", epoch, now.Epoch)
	}
	fmt.Fprintf(report, "| etcd without quorum until the region had fenced itself; reopened at the same epoch | %s |\n", w.lap().Round(10*time.Millisecond))
}

func (s *stack) pid(region, name string) int {
	for _, c := range s.status().Regions[region].Components {
		if c.Name == name {
			return c.PID
		}
	}
	return 0
}

// machine says on what the evidence was taken.
func machine() string {
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	return fmt.Sprintf("%s, commit %s, %d cores, %s, %s.", time.Now().UTC().Format("2006-01-02 15:04"), strings.TrimSpace(string(commit)), runtime.NumCPU(), runtime.Version(), runtime.GOARCH)
}

func writeEvidence(t *testing.T, name, content string) {
	t.Helper()
	dir := filepath.Join("..", "..", "docs", "evidence")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, time.Now().UTC().Format("2006-01-02")+"-"+name+".md")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("evidence: %s\n%s", path, content)
}
