package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk is a folder on a disk of its own, of so many bytes; a test without the right to mount is skipped.
func smallDisk(t *testing.T, size string) (dir string, grow func(size string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts a small disk, which only root may")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, func(size string) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskLosesNothingAndTheNextRunGoesOnWhenThereIsRoom(t *testing.T) {
	disk, grow := smallDisk(t, "256k")
	s := newSite(t)
	s.config.Warehouse = disk
	fill(s.erp)
	s.mustOnce(t)
	before := len(s.records(t))
	for id := int64(100); id < 400; id++ { // more than fits
		s.erp.put("invoice", id, monday.Add(time.Duration(id)*time.Second), strings.Repeat("x", 10)+time.Duration(id*7919).String())
	}
	said, err := s.once(t)
	if err == nil {
		t.Fatalf("a full disk was not noticed: %s", said)
	}
	if !strings.Contains(said+err.Error(), "no space left on device") {
		t.Errorf("it says %v: %s", err, said)
	}
	if len(s.records(t)) < before {
		t.Errorf("%d records, %d before the disk was full", len(s.records(t)), before)
	}
	grow("16m")
	s.mustOnce(t)
	s.mustMatch(t, "invoice")
	s.mustMatch(t, "partner")
	s.mustAnnounce(t)
}
