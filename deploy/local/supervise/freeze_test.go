package supervise

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestAFrozenFolderStandsStillUntilItIsThawed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ticks")
	command := exec.Command("/bin/sh", "-c", `(while :; do echo x >> ticks; sleep 0.02; done) & wait`)
	command.Dir = dir
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := KillFolder(ctx, dir); err != nil {
			t.Error(err)
		}
		_ = command.Wait()
	})
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	grows := func(from int64) bool {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if size() > from {
				return true
			}
		}
		return false
	}
	if !grows(0) {
		t.Fatal("nothing is written")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := FreezeFolder(ctx, dir); err != nil {
		t.Fatal(err)
	}
	frozen := size()
	time.Sleep(200 * time.Millisecond)
	if now := size(); now != frozen {
		t.Errorf("a frozen process wrote %d bytes", now-frozen)
	}
	if err := ThawFolder(dir); err != nil {
		t.Fatal(err)
	}
	if !grows(frozen) {
		t.Error("it does not go on")
	}
}
