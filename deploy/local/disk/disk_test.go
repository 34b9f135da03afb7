package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attached gives a disk, where this machine lets one be mounted.
func attached(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("mounts a file system")
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	root := t.TempDir()
	dir := filepath.Join(root, "a")
	if err := Attach(t.Context(), filepath.Join(root, "disks", "a.img"), dir); err != nil {
		t.Skipf("this machine mounts no images: %v", err)
	}
	t.Cleanup(func() {
		if err := Detach(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskTakesNothingMoreUntilItIsFreed(t *testing.T) {
	dir := attached(t)
	if err := Fill(dir); err != nil {
		t.Fatal(err)
	}
	write := func() error { return os.WriteFile(filepath.Join(dir, "wal"), make([]byte, 8192), 0o600) }
	if err := write(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a write on a full disk ends with %v", err)
	}
	if err := Free(dir); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("a write on a disk that was freed ends with %v", err)
	}
	if err := Free(dir); err != nil {
		t.Errorf("a disk that is not full cannot be freed: %v", err)
	}
}

func TestASlowDiskHoldsBackWritesAndIsAsFastAsBeforeAfterwards(t *testing.T) {
	dir := attached(t)
	if _, err := limitFile(os.Getpid()); err != nil {
		t.Skip(err)
	}
	file, err := os.Create(filepath.Join(dir, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	flushes := func() time.Duration {
		began := time.Now()
		for range 4 {
			if _, err := file.WriteAt(make([]byte, 8192), 0); err != nil {
				t.Fatal(err)
			}
			if err := file.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(began)
	}
	flushes()
	if err := Slow(os.Getpid(), dir, 5); err != nil {
		t.Fatal(err)
	}
	slow := flushes()
	if err := Slow(os.Getpid(), dir, 0); err != nil {
		t.Fatal(err)
	}
	flushes() // what is still held back
	if fast := flushes(); slow < 500*time.Millisecond || fast > slow/2 {
		t.Errorf("4 flushes took %s at 5 writes a second and %s afterwards", slow, fast)
	}
}

// A limit is the loop device's, which another disk gets afterwards, and a ballast is the file system's: both would outlive a drill that was killed and its stack.
func TestAStartTakesBackWhatADrillThatWasKilledHasDoneToADisk(t *testing.T) {
	dir := attached(t)
	image := filepath.Join(filepath.Dir(dir), "disks", "a.img")
	limit, err := limitFile(os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	for _, detached := range []bool{false, true} {
		if err := errors.Join(Fill(dir), Slow(os.Getpid(), dir, 1000)); err != nil {
			t.Fatal(err)
		}
		if detached {
			if err := Detach(dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := Attach(t.Context(), image, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, ballast)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("detached %v: it is still full: %v", detached, err)
		}
		number, err := device(dir)
		if err != nil {
			t.Fatal(err)
		}
		limits, err := os.ReadFile(limit)
		if err != nil || strings.Contains(string(limits), fmt.Sprintf("%d:%d ", unix.Major(number), unix.Minor(number))) {
			t.Errorf("detached %v: it is still slow: %s %v", detached, limits, err)
		}
	}
}

func TestADiskIsAttachedAgainWithWhatItHolds(t *testing.T) {
	dir := attached(t)
	image := filepath.Join(filepath.Dir(dir), "disks", "a.img")
	kept := filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Detach(dir); err != nil || Own(dir) {
		t.Fatalf("detached: %v, still a disk of its own: %v", err, Own(dir))
	}
	for range 2 { // the second finds it attached
		if err := Attach(t.Context(), image, dir); err != nil || !Own(dir) {
			t.Fatalf("attached again: %v, a disk of its own: %v", err, Own(dir))
		}
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestAFolderThatIsNoDiskIsNeitherFilledNorSlowed(t *testing.T) {
	dir := t.TempDir()
	for name, err := range map[string]error{"fill": Fill(dir), "slow": Slow(os.Getpid(), dir, 5)} {
		if err == nil || !strings.Contains(err.Error(), "no disk of its own") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "stack.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Attach(t.Context(), filepath.Join(t.TempDir(), "a.img"), dir); err == nil || !strings.Contains(err.Error(), "stack.json") {
		t.Errorf("a folder with something in it is hidden: %v", err)
	}
}
