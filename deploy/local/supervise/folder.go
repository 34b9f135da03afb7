package supervise

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// InFolder lists the processes whose working folder is dir or below, the caller excepted. Processes that end meanwhile are left out.
func InFolder(dir string) []int {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err != nil {
			continue
		}
		cwd = strings.TrimSuffix(cwd, " (deleted)")
		if (cwd == dir || strings.HasPrefix(cwd, dir+"/")) && !isZombie(pid) {
			found = append(found, pid)
		}
	}
	return found
}

func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, ok := strings.Cut(string(stat), ") ")
	return ok && strings.HasPrefix(after, "Z")
}

// KillFolder kills every process of InFolder until none is left: a busy backend can commit after its postmaster is gone.
// It fails when some still live at the deadline of ctx.
func KillFolder(ctx context.Context, dir string) error {
	for {
		pids := InFolder(dir)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill processes in %s: %d still live, the first is %d", dir, len(pids), pids[0])
		case <-time.After(20 * time.Millisecond):
		}
	}
}
