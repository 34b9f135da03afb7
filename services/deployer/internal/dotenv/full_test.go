package dotenv

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAFullDiskChangesNothingAndTheNextAttemptGoesThrough has a disk of some pages, which root may mount.
func TestAFullDiskChangesNothingAndTheNextAttemptGoesThrough(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32k,mode=0700"); err != nil {
		t.Skipf("no disk can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	const before, bak = "A=1\nPOSTGRES_USER=old\nPOSTGRES_PASSWORD=old\n", "POSTGRES_USER=older\n"
	file, filler := filepath.Join(dir, ".env"), filepath.Join(dir, "filler")
	for name, content := range map[string]string{file: before, file + ".bak": bak} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filler, make([]byte, 64<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	for room, wantBak := range []string{bak, before} { // for nothing, and for a first copy of what was there
		if room == 1 && os.Remove(file+".bak") != nil {
			t.Fatal("the previous file cannot be removed")
		}
		changed, err := Apply(file, "", Edit{Set: login})
		var refused *Refused
		if changed || !errors.Is(err, syscall.ENOSPC) || errors.As(err, &refused) { // it is tried again
			t.Errorf("with room for %d: changed %v, %v", room, changed, err)
		}
		if content, err := os.ReadFile(file); err != nil || string(content) != before {
			t.Errorf("with room for %d: the file holds %q, %v", room, content, err)
		}
		if content, err := os.ReadFile(file + ".bak"); err != nil || string(content) != wantBak {
			t.Errorf("with room for %d: the previous file holds %q, %v", room, content, err)
		}
		if left, _ := filepath.Glob(file + "*.new"); len(left) > 0 { // the pattern is well formed
			t.Errorf("with room for %d: left behind: %v", room, left)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if changed, err := Apply(file, "", Edit{Set: login}); err != nil || !changed {
		t.Errorf("with room again: changed %v, %v", changed, err)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "A=1\nPOSTGRES_USER=new\nPOSTGRES_PASSWORD=word\n" {
		t.Errorf("the file holds %q, %v", content, err)
	}
}
