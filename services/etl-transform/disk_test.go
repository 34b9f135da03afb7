package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
)

func TestAFullDiskUnderTheWarehouseIsToldAndItGoesOnByItselfWhenThereIsRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	folder, env := alone(t)
	small := filepath.Join(folder, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url, "OFITEC_RAW_URL=file://"+s.root, "OFITEC_WAREHOUSE="+small, "OFITEC_SNAPSHOT_DIR="+filepath.Join(folder, "readers"), "OFITEC_DATA_DIR="+filepath.Join(folder, "own"), "OFITEC_BATCH_FILES=1")
	p := chassistest.Start(t, env...)
	p.Await(t, "/readyz", 200)
	s.announce("project", projects)
	waitFor(t, "first load", func() bool { return len(s.facts(events.TypeWarehouseLoaded)) == 1 })

	balloon := filepath.Join(small, "balloon")
	fillUp(t, balloon, small)
	for f := range 3 {
		var invoice strings.Builder
		invoice.WriteString(invoiceHeader)
		for i := range 8000 {
			fmt.Fprintf(&invoice, "%d,42,%d,out_invoice,2026-02-01,2026-03-01,%d.%02d,%d.00,0,CLP,posted,2026-02-%02dT10:00:%02dZ\n", 8000*f+i+1, i%97, 1000+i*7%9999, i%100, i%190, i%28+1, i%60)
		}
		s.announce("invoice", invoice.String())
	}
	p.Await(t, "/readyz", 503)
	if _, body := p.Get("/readyz"); !strings.Contains(strings.ToLower(body), "no space left") {
		t.Errorf("readiness does not say why:\n%s", body)
	}
	if out := must(t, 1, env, "rebuild"); !strings.Contains(strings.ToLower(out), "no space left") {
		t.Errorf("a rebuild does not say why it ends:\n%s", out)
	}
	if loaded := len(s.facts(events.TypeWarehouseLoaded)); loaded != 1 {
		t.Fatalf("%d loads on a full disk: it was not full", loaded)
	}
	if err := os.Remove(balloon); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all loads", func() bool { return len(s.facts(events.TypeWarehouseLoaded)) >= 4 })
	p.Await(t, "/readyz", 200)
	p.Signal(t, syscall.SIGTERM)
	if status := p.AwaitEnd(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	must(t, 0, env, "verify", "--rebuild")
	if !strings.Contains(p.Output(), "raw files are not loaded") {
		t.Error("the log does not say it")
	}
}

// fillUp leaves almost nothing on a file system.
func fillUp(t *testing.T, balloon, root string) {
	t.Helper()
	file, err := os.Create(balloon)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var free syscall.Statfs_t
	if err := syscall.Statfs(root, &free); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for left := int64(free.Bavail)*free.Bsize - 128<<10; left > 0; left -= int64(len(block)) {
		if _, err := file.Write(block); err != nil {
			return
		}
	}
}
