package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// eventually waits for a condition and fails with the last thing seen.
func eventually(t *testing.T, what string, check func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	seen := ""
	for time.Now().Before(deadline) {
		var ok bool
		if ok, seen = check(); ok {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: not within 10 s; last seen: %s", what, seen)
}

func supervisor(t *testing.T) *Supervisor {
	t.Helper()
	s := New(nil)
	t.Cleanup(func() { s.Close() })
	return s
}

func inState(s *Supervisor, id string, want State) func() (bool, string) {
	return func() (bool, string) {
		status, err := s.Status(id)
		return err == nil && status.State == want, fmt.Sprintf("%+v %v", status, err)
	}
}

func TestAProcessThatDiesIsStartedAgain(t *testing.T) {
	s := supervisor(t)
	if err := s.Add(Spec{Name: "sleeper", Region: "a", Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", inState(s, "a/sleeper", Ready))
	before, _ := s.Status("a/sleeper")
	if err := s.Signal("a/sleeper", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process", func() (bool, string) {
		now, _ := s.Status("a/sleeper")
		return now.State == Ready && now.PID != before.PID && now.Restarts == 1, fmt.Sprintf("%+v", now)
	})
}

func TestAStoppedProcessStaysStoppedUntilAStart(t *testing.T) {
	s := supervisor(t)
	if err := s.Add(Spec{Name: "sleeper", Region: "a", Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", inState(s, "a/sleeper", Ready))
	if err := s.Stop(context.Background(), "a/sleeper", 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stopped", inState(s, "a/sleeper", Stopped))
	if err := s.Start("a/sleeper"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready again", inState(s, "a/sleeper", Ready))
}

func TestAStopWhileTheProcessIsPreparedLeavesNothingRunning(t *testing.T) {
	s := supervisor(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	dir := t.TempDir()
	err := s.Add(Spec{Name: "slow", Region: "a", Path: "/bin/sleep", Args: []string{"1000"}, Dir: dir, Before: func(context.Context) error {
		close(entered)
		<-leave
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background(), "a/slow", 0) }()
	eventually(t, "the stop is noticed", func() (bool, string) {
		u, _ := s.unit("a/slow")
		return !u.isWanted(), "still wanted"
	})
	close(leave)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if pids := InFolder(dir); len(pids) != 0 {
		t.Fatalf("processes %v are left", pids)
	}
}

func TestDescendantsThatLeftTheProcessGroupAreKilledWithIt(t *testing.T) {
	s := supervisor(t)
	dir := t.TempDir()
	script := "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & wait"
	err := s.Add(Spec{Name: "parent", Region: "a", Path: "/bin/sh", Args: []string{"-c", script}, Dir: dir, Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child has its own session", func() (bool, string) { return len(InFolder(dir)) >= 2, fmt.Sprint(InFolder(dir)) })
	if err := s.KillRegion(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if pids := InFolder(dir); len(pids) != 0 {
		t.Fatalf("processes %v are left", pids)
	}
}

func TestAHeldProcessIsNotStartedAndSaysWhy(t *testing.T) {
	s := supervisor(t)
	held := true
	err := s.Add(Spec{Name: "postgres", Region: "a", Path: "/bin/sleep", Args: []string{"1000"}, Before: func(context.Context) error {
		if held {
			return fmt.Errorf("%w: rejoin.inprogress is there", ErrHeld)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "held", inState(s, "a/postgres", Held))
	status, _ := s.Status("a/postgres")
	if !strings.Contains(status.Reason, "rejoin.inprogress") || status.PID != 0 {
		t.Fatalf("status %+v", status)
	}
}

func TestReadinessIsWhatTheProbeSays(t *testing.T) {
	s := supervisor(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	err = s.Add(Spec{Name: "server", Region: "a", Path: "/bin/sleep", Args: []string{"1000"}, Ready: func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", inState(s, "a/server", Ready))
	_ = listener.Close()
	eventually(t, "not ready, with the reason", func() (bool, string) {
		status, _ := s.Status("a/server")
		return !status.Ready && strings.Contains(status.Reason, "refused"), fmt.Sprintf("%+v", status)
	})
}

func TestAProcessThatIsWedgedForSecondsIsStartedAnew(t *testing.T) {
	s := supervisor(t)
	var wedged atomic.Bool
	if err := s.Add(Spec{Name: "nats", Region: "a", Path: "/bin/sleep", Args: []string{"1000"}, Ready: func(context.Context) error {
		if wedged.Load() {
			return fmt.Errorf("%w: JetStream is off", ErrWedged)
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", inState(s, "a/nats", Ready))
	first, _ := s.Status("a/nats")
	wedged.Store(true)
	eventually(t, "the reason", func() (bool, string) {
		now, _ := s.Status("a/nats")
		return now.PID == first.PID && strings.Contains(now.Reason, "JetStream is off"), fmt.Sprintf("%+v", now)
	})
	eventually(t, "another process", func() (bool, string) {
		now, _ := s.Status("a/nats")
		return now.PID != 0 && now.PID != first.PID && now.Restarts == 1, fmt.Sprintf("%+v", now)
	})
}

func TestAMissingProgramIsSaidAndTriedAgainWithABackOff(t *testing.T) {
	s := supervisor(t)
	if err := s.Add(Spec{Name: "ghost", Region: "a", Path: "/nonexistent/ghost"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two restarts", func() (bool, string) {
		status, _ := s.Status("a/ghost")
		return status.Restarts >= 2 && strings.Contains(status.Reason, "/nonexistent/ghost"), fmt.Sprintf("%+v", status)
	})
	if _, err := s.Status("a/other"); !errors.Is(err, ErrUnknownUnit) {
		t.Fatalf("error %v", err)
	}
}

func TestWhatAProcessPrintsIsInItsLog(t *testing.T) {
	s := supervisor(t)
	log := filepath.Join(t.TempDir(), "log", "echo.log")
	if err := s.Add(Spec{Name: "echo", Region: "a", Path: "/bin/sh", Args: []string{"-c", "echo out; echo err >&2; sleep 1000"}, LogFile: log}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both lines", func() (bool, string) {
		content, _ := os.ReadFile(log)
		return strings.Contains(string(content), "out") && strings.Contains(string(content), "err"), string(content)
	})
}

func TestTheBackOffDoublesAndEndsAtTenSeconds(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 200 * time.Millisecond, 2: 400 * time.Millisecond, 3: 800 * time.Millisecond, 50: 10 * time.Second} {
		if got := Backoff(n); got != want {
			t.Errorf("restart %d waits %s, want %s", n, got, want)
		}
	}
}
