package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program writes an operator's program that answers from a shell script.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ofitec")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncd \"$(dirname \"$0\")\"\n"+script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return path
}

func TestARoundWaitsUntilTheArbitersWouldMoveTheWrites(t *testing.T) {
	var told bytes.Buffer
	l := losses{say: &told, ofitec: program(t, `echo "$@" >> asked
if [ $(wc -l < asked) -lt 3 ]; then
	echo '{"request":{"answer":{"accepted":false,"reason":"gates: the gates of region b are red"}},"error":"refused"}'
	exit 1
fi
echo '{"request":{"answer":{"accepted":true,"reason":"would be done"}}}'
`)}
	waited, err := l.allowed(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if waited < 2*time.Second {
		t.Errorf("refused twice, a second apart, and %s is said to have been waited", waited)
	}
	if !strings.Contains(told.String(), "region b: gates: the gates of region b are red") {
		t.Errorf("what is waited for is not told: %q", told.String())
	}
	asked, err := os.ReadFile(filepath.Join(filepath.Dir(l.ofitec), "asked"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(asked)), "\n") {
		if !strings.Contains(line, "--dry-run") {
			t.Errorf("asking would have moved the writes: %s", line)
		}
	}
}

func TestWaitingEndsWithTheBench(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	l := losses{say: &bytes.Buffer{}, ofitec: program(t, `echo '{"request":{},"error":"nobody answered"}'`)}
	if _, err := l.allowed(ctx, "b"); err == nil {
		t.Error("nobody allowed it")
	}
}
