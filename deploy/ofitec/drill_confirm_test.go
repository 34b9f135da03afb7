package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ofitec/ofitec/deploy/local/control"
)

// terminalPair is a pseudo terminal: what is typed at the one end is read at the other.
func terminalPair(t *testing.T) (typing, reading *os.File) {
	t.Helper()
	typing, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo terminals: %v", err)
	}
	t.Cleanup(func() { _ = typing.Close() })
	if err := unix.IoctlSetPointerInt(int(typing.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("unlock the pseudo terminal: %v", err)
	}
	number, err := unix.IoctlGetInt(int(typing.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("number of the pseudo terminal: %v", err)
	}
	reading, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("open the pseudo terminal: %v", err)
	}
	t.Cleanup(func() { _ = reading.Close() })
	return typing, reading
}

func confirmed(input io.Reader, yes bool, how control.LossRequest) (said string, err error) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetIn(input)
	cmd.SetErr(&out)
	err = confirm(cmd, yes, lossOptions{region: "a", how: how})
	return out.String(), err
}

func TestADrillGoesOnWithoutATerminalAndSaysWhatItDoes(t *testing.T) {
	null, err := os.Open(os.DevNull) // a character device, and no terminal
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = pipe.Close(), other.Close() }()
	for name, input := range map[string]io.Reader{"/dev/null": null, "a pipe": pipe, "nothing": strings.NewReader("")} {
		said, err := confirmed(input, false, control.LossRequest{Destroy: true, BlackHole: true})
		if err != nil || said != "Every process of region a will be killed, its network cut off first, its folders removed.\n" {
			t.Errorf("%s: it says %q, %v", name, said, err)
		}
	}
}

func TestADrillAsksAtATerminal(t *testing.T) {
	for _, c := range []struct {
		typed, says string
		yes         bool
	}{
		{typed: "a\n"},
		{typed: "b\n", says: "nothing was done"},
		{typed: "\n", says: "nothing was done"},
		{yes: true},
	} {
		typing, reading := terminalPair(t)
		if _, err := typing.WriteString(c.typed); err != nil {
			t.Fatal(err)
		}
		type answer struct {
			said string
			err  error
		}
		answers := make(chan answer, 1)
		go func() {
			said, err := confirmed(reading, c.yes, control.LossRequest{})
			answers <- answer{said, err}
		}()
		select {
		case got := <-answers:
			if question := strings.Contains(got.said, "Type the region's name"); question == c.yes {
				t.Errorf("typed %q, --yes %v: it says %q", c.typed, c.yes, got.said)
			}
			if (got.err == nil) != (c.says == "") || got.err != nil && !strings.Contains(got.err.Error(), c.says) {
				t.Errorf("typed %q: %v", c.typed, got.err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("typed %q: no answer", c.typed)
		}
	}
}
