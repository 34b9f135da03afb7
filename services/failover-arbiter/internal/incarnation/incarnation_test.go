package incarnation

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestAFolderHasOneProcessAtATimeAndItsNameStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "arbiter")
	first, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(dir); !errors.Is(err, ErrTaken) {
		t.Errorf("a second process got %v", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if second.Folder != first.Folder || second.Process == first.Process {
		t.Errorf("first %s, then %s: want the same folder and another process", first, second)
	}
	other, err := Claim(t.TempDir())
	if err != nil || other.Folder == first.Folder {
		t.Errorf("another folder has the name %s too (%v)", other, err)
	}
}
