package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// switcher is a command that toggles, as a one-shot switcher may: what has the traffic stands in the file "traffic", each run in "runs".
func switcher(t *testing.T, script string) (s Switch, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range map[string]string{
		"traffic": "blue\n", "active": "blue\n", "runs": "",
		"switcher": "cd " + dir + "; echo \"$COLOUR $*\" >> runs\n" + script,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Switch{Command: Command{Args: []string{"sh", dir + "/switcher", "--one-shot"}, Timeout: 10 * time.Second}, Active: active.File(dir + "/active")}, dir
}

const toggle = `if grep -q blue traffic; then echo green > traffic; else echo blue > traffic; fi`

func content(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func hot(t *testing.T, s Switch, want state.Colour) {
	t.Helper()
	if now, err := s.Traffic(t.Context()); err != nil || now != (rollout.Traffic{Hot: want, Open: -1}) {
		t.Errorf("%+v, %v; want %s", now, err, want)
	}
}

func TestASwitchCommandIsRunOnceForASwitch(t *testing.T) {
	s, dir := switcher(t, toggle)
	for range 3 {
		if err := s.Give(t.Context(), state.Green, 100); err != nil {
			t.Fatal(err)
		}
	}
	hot(t, s, state.Green)
	if runs := content(t, dir, "runs"); runs != "green --one-shot\n" {
		t.Errorf("it was run as %q", runs)
	}
	if traffic := content(t, dir, "traffic"); traffic != "green\n" {
		t.Errorf("the traffic is on %s", traffic)
	}
	if err := s.Give(t.Context(), state.Blue, 50); err == nil {
		t.Error("it gave a share")
	}
}

func TestACommandThatSaysNoHasSwitchedNothing(t *testing.T) {
	s, dir := switcher(t, "echo gates are red >&2; exit 3")
	err := s.Give(t.Context(), state.Green, 100)
	if err == nil || !strings.Contains(err.Error(), "switch to green: sh: exit status 3: gates are red") {
		t.Errorf("%v", err)
	}
	hot(t, s, state.Blue)
	if kept := content(t, dir, "active"); kept != "blue\n" {
		t.Errorf("kept %q", kept)
	}
}

func TestACommandWhoseEndNobodySawIsNotRunAgain(t *testing.T) {
	s, dir := switcher(t, toggle+"; kill -9 $$")
	if err := s.Give(t.Context(), state.Green, 100); err == nil {
		t.Error("it has ended well")
	}
	for range 2 {
		if _, err := s.Traffic(t.Context()); err == nil || !strings.Contains(err.Error(), "a switch to green was begun") || !strings.Contains(err.Error(), dir+"/active") {
			t.Errorf("%v", err)
		}
		if err := s.Give(t.Context(), state.Green, 100); err == nil {
			t.Error("it has run it again")
		}
	}
	if runs := content(t, dir, "runs"); strings.Count(runs, "\n") != 1 {
		t.Errorf("it was run as %q", runs)
	}
	// A status command knows what is, and what was begun is finished.
	s.Status = []string{"cat", dir + "/traffic"}
	hot(t, s, state.Green)
	if err := s.Give(t.Context(), state.Green, 100); err != nil {
		t.Error(err)
	}
	s.Status = nil
	hot(t, s, state.Green)
	if runs := content(t, dir, "runs"); strings.Count(runs, "\n") != 1 {
		t.Errorf("it was run as %q", runs)
	}
}

func TestWhatTheStatusCommandSaysOutranksTheFile(t *testing.T) {
	s, dir := switcher(t, toggle)
	s.Status = []string{"cat", dir + "/traffic"}
	if err := os.WriteFile(dir+"/traffic", []byte("green\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hot(t, s, state.Green)
	for _, status := range [][]string{{"echo", "purple"}, {"false"}, {"true"}} {
		s.Status = status
		if now, err := s.Traffic(t.Context()); err == nil || now.Hot != "" {
			t.Errorf("%v: %+v, %v", status, now, err)
		}
	}
}

func TestWithoutFileAndStatusNobodyKnows(t *testing.T) {
	s, dir := switcher(t, toggle)
	if err := os.Remove(dir + "/active"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Traffic(t.Context()); err == nil || !s.Forgotten() {
		t.Errorf("%v, forgotten %v", err, s.Forgotten())
	}
	if err := s.Give(t.Context(), state.Green, 100); err == nil || content(t, dir, "runs") != "" {
		t.Errorf("it was run: %v", err)
	}
}
