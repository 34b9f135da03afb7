package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// saysWhatItTakesBack is a drill in a process of its own: it says that it has begun, and when it is interrupted it says so and takes back what it has done.
func saysWhatItTakesBack(t *testing.T, mark string) {
	t.Helper()
	command := &cobra.Command{PersistentPreRun: undisturbed, RunE: func(cmd *cobra.Command, _ []string) error {
		fmt.Println("begun")
		select {
		case <-cmd.Context().Done():
		case <-time.After(time.Minute):
			return fmt.Errorf("not interrupted")
		}
		fmt.Println("not whole yet")
		return os.WriteFile(mark, nil, 0o600)
	}}
	command.SetArgs(nil)
	if err := command.ExecuteContext(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestADrillTakesItsHarmBackWhenItsTerminalAndItsReaderAreGone(t *testing.T) {
	const variable = "OFITEC_TEST_TAKES_BACK"
	if mark := os.Getenv(variable); mark != "" {
		saysWhatItTakesBack(t, mark)
		return
	}
	mark := filepath.Join(t.TempDir(), "taken back")
	drill := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$") //nolint:gosec // this test itself
	drill.Env = append(os.Environ(), variable+"="+mark)
	out, err := drill.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Under nohup a process ignores hang-ups, and so would its child; one that is handled is at its default again in a child.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	if err := drill.Start(); err != nil {
		t.Fatal(err)
	}
	if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "begun" {
		t.Fatalf("it says %q, %v", lines.Text(), lines.Err())
	}
	_ = out.Close() // the reader, such as tee, ends first
	if err := drill.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	ended := drill.Wait()
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("nothing is taken back: %v, %v", ended, err)
	}
}
