package clock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ticker is a process of its own that says on each line what its clocks read, in milliseconds: the wall clock, CLOCK_BOOTTIME as the kernel tells it, and the monotonic
// clock as it reads it in its own memory, which is where the wall clock is changed.
type ticker struct {
	ask   io.Writer
	lines *bufio.Scanner
}

func (k ticker) read(t *testing.T) (wall, boot, own time.Duration) {
	t.Helper()
	if _, err := fmt.Fprintln(k.ask); err != nil {
		t.Fatal(err)
	}
	if !k.lines.Scan() {
		t.Fatalf("the process has ended: %v", k.lines.Err())
	}
	fields := strings.Fields(k.lines.Text())
	if len(fields) != 3 {
		t.Fatalf("it says %q", k.lines.Text())
	}
	var read [3]time.Duration
	for n, field := range fields {
		milliseconds, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		read[n] = time.Duration(milliseconds) * time.Millisecond
	}
	return read[0], read[1], read[2]
}

// start runs a program in a folder.
func start(t *testing.T, dir, path string, args ...string) ticker {
	t.Helper()
	command := exec.Command(path, args...)
	command.Dir, command.Env = dir, append(os.Environ(), "OFITEC_CLOCK_TEST=1")
	ask, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return ticker{ask, bufio.NewScanner(out)}
}

// TestMain is also the Go program whose clock jumps: it has goroutines that read the clock all the time.
func TestMain(m *testing.M) {
	if os.Getenv("OFITEC_CLOCK_TEST") == "" {
		os.Exit(m.Run())
	}
	go func() {
		for time.Now().Unix() > 0 {
			time.Sleep(time.Microsecond)
		}
	}()
	began := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var boot unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
		fmt.Println(time.Now().UnixMilli(), boot.Nano()/1e6, time.Since(began).Milliseconds())
	}
	os.Exit(0)
}

// shell is a C program (bash) that says the same: its wall clock by gettimeofday, and what the kernel says of the others.
const shell = `while read -r line; do read -r up rest < /proc/uptime; w=${EPOCHREALTIME/[.,]/}; u=${up/./}; echo "${w%???} ${u}0 ${u}0"; done`

func TestAllProcessesOfAFolderJumpAndTheirMonotonicClocksGoOn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("writing into the memory of a process needs root")
	}
	if _, err := functions(); err != nil {
		t.Skip(err)
	}
	here, elsewhere := t.TempDir(), t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	jumping := map[string]ticker{"Go": start(t, here, program), "C": start(t, here, "/bin/bash", "-c", shell)}
	staying := start(t, elsewhere, program)
	wall, boot, own := map[string]time.Duration{}, map[string]time.Duration{}, map[string]time.Duration{}
	for name, process := range jumping {
		wall[name], boot[name], own[name] = process.read(t)
	}
	staying.read(t)
	for _, offset := range []time.Duration{time.Hour, -time.Hour, 0} {
		n, err := Jump(t.Context(), here, offset)
		if err != nil || n != len(jumping) {
			t.Fatalf("%d processes jumped by %s: %v", n, offset, err)
		}
		for name, process := range jumping {
			nowWall, nowBoot, nowOwn := process.read(t)
			passed := nowBoot - boot[name]
			if off := nowWall - wall[name] - passed - offset; passed < 0 || passed > time.Minute || off.Abs() > time.Second {
				t.Errorf("%s, to %s: its wall clock went by %s while %s passed by the other", name, offset, nowWall-wall[name], passed)
			}
			if went := nowOwn - own[name]; (went - passed).Abs() > time.Second {
				t.Errorf("%s, to %s: its monotonic clock went by %s while %s passed", name, offset, went, passed)
			}
		}
		if stayed, _, _ := staying.read(t); (stayed - time.Duration(time.Now().UnixNano())).Abs() > time.Second {
			t.Errorf("to %s: a process of another folder jumped, too", offset)
		}
	}
}

func TestAProgramThatStartsMeanwhileJumpsToo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("writing into the memory of a process needs root")
	}
	if _, err := functions(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan error, 1)
	go func() { followed <- Follow(t.Context(), dir, time.Hour) }()
	late := start(t, dir, program)
	for deadline := time.Now().Add(10 * time.Second); ; {
		wall, _, _ := late.read(t)
		if off := wall - time.Duration(time.Now().UnixNano()) - time.Hour; off.Abs() < time.Second {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it still reads %s", time.Unix(0, int64(wall)).UTC().Format(time.TimeOnly))
		}
	}
	select {
	case err := <-followed:
		t.Fatalf("it does not follow any more: %v", err)
	default:
	}
}
