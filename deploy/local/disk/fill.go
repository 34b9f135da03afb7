package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ballast is the file that fills a disk.
const ballast = ".ballast"

// Fill leaves not one block free on the disk of dir. Blocks that are freed later are not taken again.
func Fill(dir string) error {
	if !Own(dir) {
		return fmt.Errorf("fill disk: %s is no disk of its own: the whole machine's would be full", dir)
	}
	file, err := os.OpenFile(filepath.Join(dir, ballast), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	at := info.Size()
	for chunk := int64(1 << 30); chunk >= 4096; {
		err := unix.Fallocate(int(file.Fd()), 0, at, chunk)
		switch {
		case err == nil:
			at += chunk
		case errors.Is(err, unix.ENOSPC):
			chunk /= 2
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("fill disk: %w", err)
		}
	}
	return nil
}

// Free takes back what Fill has taken; where it has taken nothing, nothing happens.
func Free(dir string) error {
	if err := os.Remove(filepath.Join(dir, ballast)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free disk: %w", err)
	}
	return nil
}
