package epochfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTheHighestEpochSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	if err != nil || f.Seen() != 0 {
		t.Fatalf("a new folder has epoch %d, %v", f.Seen(), err)
	}
	if err := f.Raise(3); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(dir); err != nil || f.Seen() != 3 {
		t.Errorf("after a restart: epoch %d, %v", f.Seen(), err)
	}
	if info, _ := os.Stat(filepath.Join(dir, name)); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestASmallerEpochIsRefused(t *testing.T) {
	f, _ := Open(t.TempDir())
	if err := errors.Join(f.Raise(4), f.Raise(4)); err != nil {
		t.Fatal(err)
	}
	var smaller *SmallerError
	if err := f.Raise(3); !errors.As(err, &smaller) || smaller.Seen != 4 || f.Seen() != 4 {
		t.Errorf("got %v", err)
	}
}

func TestADamagedFileIsNotTakenForAnEmptyOne(t *testing.T) {
	for _, content := range []string{"", "4", "0000000000000000000x"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%q was read", content)
		}
	}
}
