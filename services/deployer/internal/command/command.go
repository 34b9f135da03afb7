// Package command does by commands of the operator's what a technology of its own would do elsewhere: it starts a colour anew (make -C infra canary, docker compose,
// systemctl) and moves the traffic (python3 infra/autoscaler/switcher.py --one-shot).
package command

import (
	"bytes"
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

// Command is a program and its arguments; $colour in them is replaced, and COLOUR is in its environment beside PATH and HOME. Status 0 is success.
type Command struct {
	Args    []string
	Timeout time.Duration
}

// Restart runs a command that starts a colour. It must return when the colour was started with its environment file read anew, and must be idempotent.
func (c Command) Restart(ctx context.Context, colour state.Colour) error {
	_, err := c.run(ctx, "start "+string(colour), colour)
	return err
}

// run gives what the command printed. With the end of ctx or the timeout, it and all that it has started are killed.
func (c Command) run(ctx context.Context, what string, colour state.Colour) (printed string, err error) {
	if len(c.Args) == 0 {
		return "", errors.New(what + ": no command is configured")
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
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: %s has not ended within %s", what, args[0], c.Timeout)
	}
	// A process that the command has left running may hold its output open; the command itself has succeeded.
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return "", fmt.Errorf("%s: %s: %w: %s", what, args[0], err, lastLine(append(out.Bytes(), complaints.Bytes()...)))
	}
	return strings.TrimSpace(out.String()), nil
}

// lastLine is what people look at first.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	return last[:min(len(last), 200)]
}
