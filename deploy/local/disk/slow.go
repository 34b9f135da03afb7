package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// blkio is where the kernel's controller of block devices is mounted.
const blkio = "/sys/fs/cgroup/blkio"

// Slow lets the disk of dir take so many writes a second from the control group that a process is in, and with it from all that the process has started: the kernel
// holds the others back. Where that is the first group, those of the file system's own journal are among them. 0 takes that back.
func Slow(pid int, dir string, writes int) error {
	if !Own(dir) {
		return fmt.Errorf("slow disk: %s is no disk of its own: the whole machine's would be slow", dir)
	}
	limit, err := limitFile(pid)
	if err != nil {
		return err
	}
	number, err := device(dir)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("%d:%d %d\n", unix.Major(number), unix.Minor(number), writes)
	if err := os.WriteFile(limit, []byte(line), 0o600); err != nil {
		return fmt.Errorf("slow disk: %w", err)
	}
	return nil
}

// limitFile is the setting of a process's group.
func limitFile(pid int) (string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("slow disk: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if _, group, ok := strings.Cut(strings.TrimSpace(line), ":blkio:"); ok {
			path := filepath.Join(blkio, group, "blkio.throttle.write_iops_device")
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				path = filepath.Join(blkio, filepath.Base(path)) // a container sees its own group as the root
			}
			return path, nil
		}
	}
	return "", errors.New("slow disk: this machine has no blkio controller (cgroup v1), with which the kernel slows a device down")
}
