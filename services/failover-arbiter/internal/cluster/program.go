package cluster

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
)

// run executes a program of PostgreSQL as the owner of the cluster, with nothing of this process's environment, and gives all that it printed. It ends with this
// process: the signal at the parent's death hangs on the thread that forks, so that thread is kept until the program has ended.
func (c *Cluster) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	type outcome struct {
		output []byte
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		output, err := c.execute(ctx, program, args)
		done <- outcome{output, err}
	}()
	o := <-done
	return o.output, o.err
}

func (c *Cluster) execute(ctx context.Context, program string, args []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.binDir, program), args...)
	cmd.Dir = filepath.Dir(c.dataDir)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + cmd.Dir}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if owner, other := c.owner(); other && os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid, Groups: []uint32{owner.Gid}}
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", program, err, strings.Join(strings.Fields(output.String()), " "))
	}
	return output.Bytes(), nil
}

// owner is whom the folder around the cluster belongs to, and whether that is somebody else than this process's user.
func (c *Cluster) owner() (*syscall.Stat_t, bool) {
	info, err := os.Stat(filepath.Dir(c.dataDir))
	if err != nil {
		return nil, false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return owner, ok && int(owner.Uid) != os.Geteuid()
}
