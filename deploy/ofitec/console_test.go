package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAFreshLinkIsTheOneThatTheConsoleMakesAfterTheOldIsTakenAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "link")
	if err := os.WriteFile(file, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := os.Stat(file); err != nil {
				_ = os.WriteFile(file+"~", []byte("http://127.0.0.1:8080/enter?token=new\n"), 0o600)
				_ = os.Rename(file+"~", file)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	link, err := freshLink(t.Context(), file)
	if err != nil || link != "http://127.0.0.1:8080/enter?token=new" {
		t.Errorf("link %q, %v", link, err)
	}
}

func TestWithoutAConsoleThereIsNoLink(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := freshLink(ctx, filepath.Join(t.TempDir(), "link"))
	if err == nil || !strings.Contains(err.Error(), "the console does not run") {
		t.Errorf("got %v", err)
	}
}
