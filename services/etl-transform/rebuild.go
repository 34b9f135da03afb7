package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// rebuilt is what `rebuild` tells.
type rebuilt struct {
	Made    warehouse.Made `json:"made"`
	Files   int            `json:"files"`
	LeftOut string         `json:"left_out,omitempty"` // records of the manifest that could not be loaded
	Seconds float64        `json:"seconds"`
	Before  comparison     `json:"before"`
	Place   string         `json:"place"` // where the new file is
	Aside   string         `json:"aside,omitempty"`
}

// runRebuild makes the warehouse anew from raw files and manifest, beside the one that is there, and puts it in its place. A service that runs takes it over by itself.
func runRebuild(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("rebuild")
	var keep bool
	a.BoolVar(&keep, "no-swap", false, "leave the new file beside the old one, as ofitec.duckdb.rebuilt")
	if _, err := a.read(args, 0); err != nil {
		return err
	}
	progress := out
	if a.output == "json" {
		progress = io.Discard
	}
	key, err := c.presentKey(ctx)
	if err != nil {
		return err
	}
	building := c.file() + ".building"
	report, err := c.build(ctx, building, 0, key, progress)
	if err != nil {
		return err
	}
	report.Before = c.compareWithPresent(ctx, building)
	if keep {
		report.Place = c.file() + ".rebuilt"
		err = os.Rename(building, report.Place)
	} else {
		err = c.swap(ctx, building, &report)
	}
	if err != nil {
		return err
	}
	return a.print(out, report, report.write)
}

// swap gives a built file its place: at once when nobody has the warehouse open, else it waits for the service.
func (c *Config) swap(ctx context.Context, building string, report *rebuilt) error {
	if err := os.Rename(building, c.next()); err != nil {
		return fmt.Errorf("offer rebuilt warehouse: %w", err)
	}
	aside, err := c.adopt(ctx)
	if errors.Is(err, duckdb.ErrInUse) {
		report.Place = c.next()
		return nil
	}
	report.Place, report.Aside = c.file(), aside
	return err
}

// presentKey is the one that the warehouse is made by, if it is at hand; else the one for what is made anew.
func (c *Config) presentKey(ctx context.Context) (*token.Sealer, error) {
	ring, err := c.keys(ctx)
	if err != nil {
		return nil, err
	}
	present, err := c.openReading(ctx)
	if err != nil {
		return ring.Current(), nil //nolint:nilerr // it is gone or damaged: that is what a rebuild is for
	}
	defer func() { _ = present.Close() }()
	if key := ring.Of(present.Made.TokenKey); key != nil {
		return key, nil
	}
	return ring.Current(), nil
}

// build makes a whole warehouse in a file that nobody else makes now, from the records of the manifest up to one; 0 for all.
func (c *Config) build(ctx context.Context, path string, until int64, key *token.Sealer, progress io.Writer) (rebuilt, error) {
	start := time.Now()
	var report rebuilt
	if err := c.clear(ctx, path); err != nil {
		return report, err
	}
	store, err := c.openStore(ctx)
	if err != nil {
		return report, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options, err := c.options(ctx, log)
	if err != nil {
		return report, err
	}
	options = withKey(options, key)
	options.Spool += ".rebuild"
	w, err := c.openFile(ctx, path, options)
	if err != nil {
		return report, err
	}
	defer func() { _ = w.Close() }()
	i := &intake{warehouse: w, store: store, limits: c.limits(), metrics: newMetrics(chassismetrics.New(name)), log: log, until: until}
	i.loaded = func(r warehouse.Result) {
		report.Files += r.Files
		fmt.Fprintf(progress, "%d files up to manifest record %d, %.1f s\n", report.Files, r.Sequence, time.Since(start).Seconds())
	}
	var left *leftOutError
	if err := i.catchUp(ctx); errors.As(err, &left) {
		report.LeftOut = err.Error()
	} else if err != nil {
		return report, err
	}
	if report.Made, err = w.Made(ctx); err != nil {
		return report, err
	}
	if err := w.Settle(ctx); err != nil {
		return report, err
	}
	report.Seconds = time.Since(start).Seconds()
	return report, w.Close()
}

// clear removes what a rebuild that was cut off has left; one that is under way is refused.
func (c *Config) clear(ctx context.Context, path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := duckdb.Open(ctx, path, c.engine(false))
	if errors.Is(err, duckdb.ErrInUse) {
		return fmt.Errorf("rebuild %s: another rebuild is under way: %w", path, err)
	}
	if err == nil {
		_ = db.Close()
	}
	for _, left := range []string{path, logOf(path)} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear what an earlier rebuild has left: %w", err)
		}
	}
	return nil
}

// compareWithPresent compares a new file with the one that it replaces, which may be damaged or gone.
func (c *Config) compareWithPresent(ctx context.Context, path string) comparison {
	present, err := c.openReading(ctx)
	if err != nil {
		return comparison{Why: err.Error()}
	}
	defer func() { _ = present.Close() }()
	made, err := c.read(ctx, path)
	if err != nil {
		return comparison{Why: err.Error()}
	}
	defer func() { _ = made.Close() }()
	mine, err := digestsOf(ctx, made)
	if err != nil {
		return comparison{Why: err.Error()}
	}
	before, err := digestsOf(ctx, present)
	if err != nil {
		return comparison{Why: err.Error()}
	}
	return compare(mine, before)
}

func (r rebuilt) write(out io.Writer) {
	fmt.Fprintf(out, "made anew from %d raw files up to manifest record %d in %.1f s (%s)\n", r.Files, r.Made.Sequence, r.Seconds, versions(r.Made))
	if r.LeftOut != "" {
		fmt.Fprintln(out, "left out:", r.LeftOut)
	}
	r.Before.write(out, "the warehouse before")
	switch {
	case r.Aside != "":
		fmt.Fprintf(out, "it is %s; the one before is %s\n", r.Place, r.Aside)
	default:
		fmt.Fprintf(out, "it is %s\n", r.Place)
	}
}
