package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// page runs the console's own measurement, which stands in the service's module: Chromium, the console and a PostgreSQL with five years of 200 projects, counted until the page is interactive.
func page(ctx context.Context, out io.Writer) (met bool, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=10m", "-v", "-run=^TestThePageIsInteractiveWithinASecond$", "./internal/page")
	cmd.Dir = "../services/console"
	cmd.Env = append(os.Environ(), "OFITEC_DRILLS=1")
	said, err := cmd.CombinedOutput()
	told := false
	for line := range strings.Lines(string(said)) {
		if _, text, ok := strings.Cut(line, "speed_test.go:"); ok {
			_, text, _ = strings.Cut(text, ": ")
			_, _ = fmt.Fprint(out, text)
			told = true
		}
	}
	switch {
	case !told && err != nil:
		return false, fmt.Errorf("run the measurement: %w: %s", err, said)
	case !told || strings.Contains(string(said), "--- SKIP"):
		return false, errors.New("run the measurement: it was skipped; it needs PostgreSQL 15 and Chromium (make setup)")
	}
	return err == nil, nil
}
