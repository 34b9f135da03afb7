package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// run executes a program of PostgreSQL as the server's user, in the region's namespace, with nothing of this process's environment.
// The program ends with this process.
func (p Postgres) run(ctx context.Context, program string, args ...string) error {
	done := make(chan error, 1)
	go func() {
		// Both the namespace and the signal at the parent's death hang on the thread that forks.
		runtime.LockOSThread()
		if p.Namespace == "" {
			defer runtime.UnlockOSThread()
		} else if err := enter(p.Namespace); err != nil {
			done <- err
			return // the thread, which is in nobody's namespace now, ends with the goroutine
		}
		done <- p.execute(ctx, program, args)
	}()
	return <-done
}

func (p Postgres) execute(ctx context.Context, program string, args []string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(p.BinDir, program), args...)
	cmd.Dir = filepath.Dir(p.DataDir)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + cmd.Dir}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.User != nil && os.Geteuid() == 0 {
		gid := uint32(p.User.GID)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(p.User.UID), Gid: gid, Groups: []uint32{gid}}
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s for region %s: %w: %s", program, p.Region, err, strings.Join(strings.Fields(output.String()), " "))
	}
	return nil
}

func enter(namespace string) error {
	fd, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", namespace, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return nil
}
