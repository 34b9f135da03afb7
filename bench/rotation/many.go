package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// many runs the rotator's own measurement: two hundred database users of a minute on a real Vault, PostgreSQL, etcd and NATS, under one rotator and no deployer. It
// stands in the service's module, which no other may import.
func many(ctx context.Context, out io.Writer, span time.Duration) (met bool, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=30m", "-v", "-run=^TestTwoHundredCredentialsOfAMinuteUnderOneRotator$", ".")
	cmd.Dir = "../services/rotator"
	cmd.Env = append(os.Environ(), "OFITEC_BENCH_MANY="+span.String())
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return false, fmt.Errorf("run the measurement: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("run the measurement: %w", err)
	}
	told := false
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if _, text, ok := strings.Cut(line, "many_test.go:"); ok {
			_, text, _ = strings.Cut(text, ": ")
			_, _ = fmt.Fprintln(out, text)
			told = true
		}
	}
	if err := cmd.Wait(); err != nil {
		return false, nil //nolint:nilerr // the test has said what is missed
	}
	if !told {
		return false, errors.New("run the measurement: it was skipped; it needs PostgreSQL 15 and Vault (make setup)")
	}
	_, _ = fmt.Fprintln(out, "met: none expires unrotated, under 20 % of a core, under 100 MB")
	return true, nil
}
