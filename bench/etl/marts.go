package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Targets of the marts.
const (
	martsTarget  = 0.5 // seconds for a delta of 10 000 rows beside the vault's
	growthTarget = 3.0 // times the same on a tenth of the base
)

// marts loads a delta on a base and on a tenth of it, each into a warehouse of its own, and compares what the marts took: every project and month is touched.
func marts(ctx context.Context, out io.Writer, rows int) (met bool, err error) {
	folder, err := os.MkdirTemp("", "bench-etl-marts-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)
	program, err := build(ctx, folder)
	if err != nil {
		return false, err
	}
	var took [2]float64
	for n, base := range []int{rows / 10, rows} {
		m, err := measure(ctx, filepath.Join(folder, fmt.Sprint(base)), program, base)
		if err != nil {
			return false, err
		}
		report(out, fmt.Sprintf("delta on %d", base), deltaRows, m.delta)
		took[n] = m.delta.stages["marts"]
	}
	growth := took[1] / took[0]
	_, _ = fmt.Fprintf(out, "marts of the delta                 %6.2f s (target under %.1f)\nagainst a tenth of the base        %6.2f (target under %.0f)\n", took[1], martsTarget, growth, growthTarget)
	return took[1] < martsTarget && growth < growthTarget, nil
}
