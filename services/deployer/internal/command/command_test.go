package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

func TestTheCommandIsToldTheColour(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRET_OF_THIS_PROCESS", "x")
	c := Command{Args: []string{"sh", "-c", `echo "$0 $COLOUR $SECRET_OF_THIS_PROCESS" > ` + file, "$colour"}, Timeout: time.Minute}
	if err := c.Restart(t.Context(), state.Green); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(file); string(content) != "green green \n" {
		t.Errorf("the command saw %q", content)
	}
}

func TestACommandThatFailsSaysItsLastLine(t *testing.T) {
	err := Command{Args: []string{"sh", "-c", "echo first; echo no such container >&2; exit 3"}, Timeout: time.Minute}.Restart(t.Context(), state.Blue)
	if err == nil || !strings.Contains(err.Error(), "exit status 3: no such container") || strings.Contains(err.Error(), "first") {
		t.Errorf("%v", err)
	}
	if err := (Command{}).Restart(t.Context(), state.Blue); err == nil {
		t.Error("there is no command")
	}
}

func TestACommandThatHangsIsKilledWithWhatItStarted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	began := time.Now()
	err := Command{Args: []string{"sh", "-c", "(sleep 2; echo late > " + file + ") & sleep 60"}, Timeout: 300 * time.Millisecond}.Restart(t.Context(), state.Blue)
	if err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	time.Sleep(time.Until(began.Add(3 * time.Second)))
	if _, err := os.Stat(file); err == nil {
		t.Error("what it had started lives on")
	}
}

func TestACommandMayLeaveADaemonBehindThatHoldsItsOutput(t *testing.T) {
	if err := (Command{Args: []string{"sh", "-c", "sleep 3 &"}, Timeout: time.Minute}).Restart(t.Context(), state.Blue); err != nil {
		t.Error(err)
	}
}
