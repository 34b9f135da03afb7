package chassistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Drill says whether long proofs are asked for, as make drills does.
func Drill() bool { return os.Getenv("OFITEC_DRILLS") != "" }

// Evidence writes down under docs/evidence what a drill has shown, with day, commit, machine, and whether every check held. The short form of a test shows less: it leaves no file.
func Evidence(t testing.TB, name, title, text string) {
	t.Helper()
	if !Drill() {
		return
	}
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output() //nolint:noctx // an instant
	if err != nil {
		t.Errorf("write evidence: find the checkout: %v", err)
		return
	}
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output() //nolint:noctx // an instant, and it has just answered
	now := time.Now().UTC()
	content := fmt.Sprintf("# %s\n\n%s, commit %s, %d cores, %s, %s.\n\n%s\n\nEvery check held: %v.\n", title, now.Format("2006-01-02 15:04"), strings.TrimSpace(string(commit)),
		runtime.NumCPU(), runtime.Version(), runtime.GOARCH, text, !t.Failed())
	path := filepath.Join(strings.TrimSpace(string(root)), "docs/evidence", now.Format(time.DateOnly)+"-"+name+".md")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // a document of the repository
		t.Errorf("write evidence: %v", err)
	}
}
