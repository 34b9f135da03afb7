// Package disk gives a region a disk of its own: a file system in an image file on a loop device, so that a drill can fill it or slow it down and no other
// region feels it.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Size is that of a disk. The image is sparse: what a region does not write, and the ballast of a drill, take no space.
const Size = 4 << 30

// Attach mounts the image on dir. It is made when it is not there, for which dir must hold nothing: what is in it would be hidden. One that is mounted already,
// by a start that was killed, stays. What a drill that was killed has done to it is taken back.
func Attach(ctx context.Context, image, dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("disks of the regions' own need root: nobody else may mount them")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // users of the components enter it
		return fmt.Errorf("attach disk: %w", err)
	}
	if Own(dir) {
		return heal(dir)
	}
	if _, err := os.Stat(image); errors.Is(err, fs.ErrNotExist) {
		if err := format(ctx, image, dir); err != nil {
			return err
		}
	}
	if err := run(ctx, "mount", "-o", "loop,noatime", image, dir); err != nil {
		return fmt.Errorf("attach disk: %w", err)
	}
	_ = os.Remove(filepath.Join(dir, "lost+found")) // a region's folder holds what the region wrote
	return heal(dir)
}

// heal takes back what a drill has left: its ballast, and its limit, which stays with the loop device whatever is mounted on it. A machine that cannot slow a disk down has none.
func heal(dir string) error {
	_ = Slow(os.Getpid(), dir, 0)
	return Free(dir)
}

// format makes a file system. Root has no reserve: it is full for everybody at once.
func format(ctx context.Context, image, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("make disk: %s holds %s and more from a start without disks; choose another data folder with --data", dir, entries[0].Name())
	}
	if err := os.MkdirAll(filepath.Dir(image), 0o700); err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	unfinished := image + ".new"
	file, err := os.Create(unfinished)
	if err == nil {
		err = errors.Join(file.Truncate(Size), file.Close())
	}
	if err == nil {
		err = run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", unfinished)
	}
	if err == nil {
		err = os.Rename(unfinished, image)
	}
	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	return nil
}

// Detach takes the disk away from dir; where none is, nothing happens. Whatever still uses it keeps it until it ends.
func Detach(dir string) error {
	if !Own(dir) {
		return nil
	}
	err := unix.Unmount(dir, 0)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(dir, unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("detach disk of %s: %w", dir, err)
	}
	return nil
}

// Own says whether dir is a disk of its own.
func Own(dir string) bool {
	here, err := device(dir)
	above, other := device(filepath.Dir(dir))
	return err == nil && other == nil && here != above
}

// device is the number of the device that a path is on.
func device(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("find device: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("find device of %s: the system does not say", path)
	}
	return stat.Dev, nil
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
