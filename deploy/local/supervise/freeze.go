package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// FreezeFolder stops every process of InFolder with SIGSTOP until all of them stand still: one that forks meanwhile is found again.
func FreezeFolder(ctx context.Context, dir string) error {
	for {
		var running []int
		for _, pid := range InFolder(dir) {
			if !standsStill(pid) {
				running = append(running, pid)
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
		if len(running) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("freeze processes in %s: %d still run, the first is %d", dir, len(running), running[0])
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// ThawFolder lets every process of InFolder go on.
func ThawFolder(dir string) error {
	var all []error
	for _, pid := range InFolder(dir) {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			all = append(all, fmt.Errorf("thaw process %d: %w", pid, err))
		}
	}
	return errors.Join(all...)
}

// standsStill says whether a process is stopped, or gone.
func standsStill(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, ok := strings.Cut(string(stat), ") ")
	return ok && strings.IndexAny(after, "TtZX") == 0
}
