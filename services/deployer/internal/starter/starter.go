// Package starter starts a colour anew by a command of the operator's: make -C infra canary, docker compose, systemctl.
package starter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// Command is a program and its arguments; $colour in them is replaced, and COLOUR is in its environment beside PATH and HOME. It must return when the colour was
// started with its environment file read anew; status 0 is success. It must be idempotent.
type Command struct {
	Args    []string
	Timeout time.Duration
}

// Restart runs the command for a colour. With the end of ctx or the timeout, it and all that it has started are killed.
func (c Command) Restart(ctx context.Context, colour state.Colour) error {
	if len(c.Args) == 0 {
		return errors.New("start a colour: no command is configured")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	args := make([]string, len(c.Args))
	for i, arg := range c.Args {
		args[i] = strings.ReplaceAll(arg, "$colour", string(colour))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "COLOUR=" + string(colour)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("start %s: %s has not ended within %s", colour, args[0], c.Timeout)
	}
	// A process that the command has left running may hold its output open; the command itself has succeeded.
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("start %s: %s: %w: %s", colour, args[0], err, lastLine(out))
	}
	return nil
}

// lastLine is what people look at first.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	return last[:min(len(last), 200)]
}
