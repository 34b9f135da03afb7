package local

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestOnlyTheOldestSnapshotsAreRemovedAndNoFileOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"vault-20261125T120000Z.snap", "vault-20261125T100000Z.snap", "vault-20261124T230000Z.snap", "vault-old.snap", "mine.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if ended, err := endSnapshots(dir, 0); err != nil || ended != nil {
		t.Errorf("keeping all removes %v, %v", ended, err)
	}
	ended, err := endSnapshots(dir, 2)
	if want := []string{filepath.Join(dir, "vault-20261124T230000Z.snap")}; err != nil || !slices.Equal(ended, want) {
		t.Errorf("removed %v, %v; want %v", ended, err, want)
	}
	if left, _ := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("%d files are left", len(left))
	}
}
