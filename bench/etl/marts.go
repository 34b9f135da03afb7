package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Targets of the marts.
const (
	martsTarget  = 0.5 // seconds for a delta of 10 000 rows beside the vault's
	growthTarget = 3.0 // times the same on a tenth of the base
)

// marts loads a delta on a base and on a tenth of it, each into a warehouse of its own, and compares what the marts took.
func marts(ctx context.Context, out io.Writer, rows int) (met bool, err error) {
	folder, err := os.MkdirTemp("", "bench-etl-marts-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "program")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir = "../services/etl-transform"
	if said, err := build.CombinedOutput(); err != nil {
		return false, fmt.Errorf("build etl-transform (run this in bench/): %w: %s", err, said)
	}
	var took [2]map[string]float64
	for n, base := range []int{rows / 10, rows} {
		if took[n], err = martsOn(ctx, filepath.Join(folder, fmt.Sprint(base)), program, base); err != nil {
			return false, err
		}
		report(out, fmt.Sprintf("delta on %d", base), deltaRows, took[n])
	}
	growth := took[1]["marts"] / took[0]["marts"]
	_, _ = fmt.Fprintf(out, "marts of the delta                 %6.2f s (target under %.1f)\nagainst a tenth of the base        %6.2f (target under %.0f)\n", took[1]["marts"], martsTarget, growth, growthTarget)
	return took[1]["marts"] < martsTarget && growth < growthTarget, nil
}

// martsOn gives the stages of a delta on a base: every project and month of it is touched.
func martsOn(ctx context.Context, folder, program string, base int) (map[string]float64, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	l := &loading{folder: folder, program: program, known: map[string]bool{}}
	ns, err := l.bus(ctx)
	if err != nil {
		return nil, err
	}
	defer ns.Shutdown()
	if err := os.WriteFile(filepath.Join(folder, "token.key"), []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		return nil, err
	}
	if _, err := l.file(1, base, 1); err != nil {
		return nil, err
	}
	if _, err := l.once(ctx); err != nil {
		return nil, err
	}
	if _, err := l.file(base-deltaRows+1, deltaRows, 2); err != nil {
		return nil, err
	}
	return l.once(ctx)
}
