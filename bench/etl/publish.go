package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Targets of a publication.
const (
	fullTarget  = 0.85 // of the rate of a raw client that copies the same rows
	publishFlat = 3.0  // times the same delta on a tenth of the base
	smallDelta  = 1_000
)

// published is how long a publication took, as the log of etl-transform tells it: until readers saw it, and until it was verified by digest and had its indexes.
type published struct{ visible, settled float64 }

// publish compares a full load of empty readers with a raw client that copies the same rows in the same format, and the publication of deltas on a base and on a tenth of it.
func publish(ctx context.Context, out io.Writer, rows, rounds int) (met bool, err error) {
	folder, err := os.MkdirTemp("", "bench-etl-publish-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)
	program, err := build(ctx, folder)
	if err != nil {
		return false, err
	}
	db, err := startDatabase(ctx)
	if err != nil {
		return false, err
	}
	defer db.stop(context.WithoutCancel(ctx))
	met = true
	var big [2]published // the delta of 10 000 rows, by base
	for n, base := range []int{rows / 10, rows} {
		l, stop, err := ground(ctx, filepath.Join(folder, fmt.Sprint(base)), program, base)
		if err != nil {
			return false, err
		}
		defer stop()
		if base == rows {
			if met, err = fullLoads(ctx, out, l, db, rounds); err != nil {
				return false, err
			}
		}
		if big[n], err = deltas(ctx, out, l, db, base); err != nil {
			return false, err
		}
	}
	flat := big[1].visible / big[0].visible
	return verdict(out, "delta on the base / on a tenth of it", flat, flat < publishFlat, fmt.Sprintf("under %.0f", publishFlat)) && met, nil
}

func verdict(out io.Writer, what string, value float64, good bool, target string) bool {
	_, _ = fmt.Fprintf(out, "%-44s %7.2f (target %s: %s)\n", what, value, target, map[bool]string{true: "met", false: "missed"}[good])
	return good
}

// ground loads a base into a warehouse that publishes nothing yet.
func ground(ctx context.Context, folder, program string, rows int) (*loading, func(), error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, err
	}
	l := &loading{folder: folder, program: program}
	ns, err := l.bus(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "token.key"), []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		return nil, ns.Shutdown, err
	}
	for first := 1; first <= rows; first += fileRows {
		if _, err := l.file(first, min(fileRows, rows-first+1), 1); err != nil {
			return nil, ns.Shutdown, err
		}
	}
	_, err = l.once(ctx)
	return l, ns.Shutdown, err
}

// fullLoads lets both sides begin by turns, each with a database of its own.
func fullLoads(ctx context.Context, out io.Writer, l *loading, db *database, rounds int) (bool, error) {
	// The first one is only for the files of the raw side.
	if err := db.fresh(ctx); err != nil {
		return false, err
	}
	if _, err := l.publishOnce(ctx, db.dsn); err != nil {
		return false, err
	}
	raw, err := db.dump(ctx, filepath.Join(l.folder, "raw-copy"))
	if err != nil {
		return false, err
	}
	_, _ = fmt.Fprintf(out, "%d rows of %d marts, %d MiB as text\n", raw.rows, len(raw.tables), raw.bytes>>20)
	var ratios, whole []float64
	for round := range rounds {
		var mine published
		var theirs time.Duration
		sides := []func() error{
			func() (err error) {
				if err = db.fresh(ctx); err == nil {
					mine, err = l.publishOnce(ctx, db.dsn)
				}
				return err
			},
			func() (err error) {
				if err = db.fresh(ctx); err == nil {
					theirs, err = db.copyRaw(ctx, raw)
				}
				return err
			},
		}
		if round%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return false, err
			}
		}
		ratios, whole = append(ratios, theirs.Seconds()/mine.visible), append(whole, theirs.Seconds()/mine.settled)
		_, _ = fmt.Fprintf(out, "round %d: full load %.2f s until readers see it, %.2f s with digest and indexes; raw COPY %.2f s; ratio of the rates %.2f\n", round+1, mine.visible, mine.settled, theirs.Seconds(), ratios[round])
	}
	slices.Sort(ratios)
	slices.Sort(whole)
	median := ratios[len(ratios)/2]
	_, _ = fmt.Fprintf(out, "ratio %.2f to %.2f; with digest and indexes %.2f (%.2f to %.2f)\n", ratios[0], ratios[len(ratios)-1], whole[len(whole)/2], whole[0], whole[len(whole)-1])
	return verdict(out, "full load / raw COPY, rates", median, median >= fullTarget, fmt.Sprintf("%.2f or more", fullTarget)), nil
}

// deltas publishes the base, then 1 000 and 10 000 changed invoices, and gives the last.
func deltas(ctx context.Context, out io.Writer, l *loading, db *database, base int) (p published, err error) {
	if err := db.fresh(ctx); err != nil {
		return p, err
	}
	if _, err := l.publishOnce(ctx, db.dsn); err != nil {
		return p, err
	}
	for edition, rows := range []int{smallDelta, deltaRows} {
		if _, err := l.file(base-rows+1, rows, 2+edition); err != nil {
			return p, err
		}
		if p, err = l.publishOnce(ctx, db.dsn); err != nil {
			return p, err
		}
		_, _ = fmt.Fprintf(out, "delta of %5d on %8d: %.2f s\n", rows, base, p.visible)
	}
	return p, nil
}

// publishOnce loads what is there and publishes.
func (l *loading) publishOnce(ctx context.Context, dsn string) (p published, err error) {
	command := l.command(ctx)
	command.Env = append(command.Env, "OFITEC_ANALYTICS_DSN="+dsn)
	said, err := command.CombinedOutput()
	if err != nil {
		return p, fmt.Errorf("etl-transform --once: %w: %s", err, said)
	}
	for line := range bytes.Lines(said) {
		var entry struct {
			Msg     string  `json:"msg"`
			Visible float64 `json:"visible_seconds"`
			Settled float64 `json:"seconds"`
		}
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "published" {
			p = published{entry.Visible, entry.Settled}
		}
	}
	if p.visible == 0 {
		return p, fmt.Errorf("etl-transform has told of no publication: %s", said)
	}
	return p, nil
}
