package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// failPoint is called behind each step of what is done in steps; tests end the process there.
var failPoint = func(string) {}

// rotated is what `rotate-key` tells.
type rotated struct {
	From    string   `json:"from"` // versions of the keys
	To      string   `json:"to"`
	Record  int64    `json:"manifest_sequence,omitempty"` // 0: it was recorded before
	Files   int      `json:"files,omitempty"`             // raw files that the new warehouse was made of
	Removed []string `json:"removed"`                     // files with the tokens of before
	Left    string   `json:"left,omitempty"`              // what somebody else has to do
}

// runRotateKey makes all tokens anew by the next key: a whole warehouse beside the one that serves, which then takes its place, and the copies for readers with it; what has the tokens of before
// is removed. The intent stands in the manifest first. Cut off at any point, it goes on where it was when it is run again.
func runRotateKey(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("rotate-key")
	var k manifest.KeyChange
	var within time.Duration
	a.StringVar(&k.Actor, "actor", "operator:"+os.Getenv("USER"), "who rotates")
	a.StringVar(&k.Reason, "reason", "", "why; it stands in the manifest")
	a.DurationVar(&within, "within", 10*time.Minute, "how long the service that has the warehouse open is waited for")
	if _, err := a.read(args, 0); err != nil {
		return err
	}
	if strings.TrimSpace(k.Reason) == "" {
		return &chassis.UsageError{Reason: "rotate-key: want --reason; it stands in the manifest"}
	}
	ring, err := c.keys(ctx)
	if err != nil {
		return err
	}
	r := &rotation{config: c, target: ring.Target(), until: time.Now().Add(within), progress: out}
	if a.output == "json" {
		r.progress = io.Discard
	}
	if err := r.carryOut(ctx, k); err != nil {
		return fmt.Errorf("rotate token key: %w", err)
	}
	return a.print(out, r.told, r.told.write)
}

// rotation is one that is under way.
type rotation struct {
	config   *Config
	target   *token.Sealer
	until    time.Time
	progress io.Writer
	told     rotated
}

func (r *rotation) carryOut(ctx context.Context, k manifest.KeyChange) error {
	if err := r.settle(ctx); err != nil { // a file that an attempt before has offered
		return err
	}
	made, err := r.config.presentMade(ctx)
	if err != nil {
		return err
	}
	r.told.From, r.told.To, r.told.Removed = made.TokenKey, r.target.Version(), []string{}
	k.From, k.To = made.TokenKey, r.target.Version()
	if made.TokenKey != k.To {
		if err := r.remake(ctx, k, made); err != nil {
			return err
		}
	}
	if err := r.renewCopies(ctx); err != nil {
		return err
	}
	failPoint("copied")
	if r.told.Removed, err = r.config.removeOthers(ctx, k.To); err != nil {
		return err
	}
	failPoint("removed")
	if path := r.config.Keys.Token; path != "" {
		if made.TokenKey != k.To {
			r.told.Left = "the key before is still the version before of secret/" + path + " in Vault: destroy that when each region is done and nobody has to look behind tokens of before"
		}
		return nil
	}
	if err := token.Promote(r.config.TokenKeyFile); err != nil {
		r.told.Left = err.Error() + "; put it there before the service starts again"
	}
	return nil
}

// presentMade says by what the warehouse is made that serves, or its copy while it is open.
func (c *Config) presentMade(ctx context.Context) (warehouse.Made, error) {
	present, err := c.openReading(ctx)
	if err != nil {
		return warehouse.Made{}, err
	}
	return present.Made, present.Close()
}

// remake records the intent, makes the warehouse by the target and gives it its place.
func (r *rotation) remake(ctx context.Context, k manifest.KeyChange, made warehouse.Made) error {
	if err := r.record(ctx, k, made.Sequence); err != nil {
		return err
	}
	failPoint("recorded")
	building := r.config.file() + ".building"
	report, err := r.config.build(ctx, building, 0, r.target, r.progress)
	if err != nil {
		return err
	}
	if report.LeftOut != "" {
		return fmt.Errorf("the new warehouse would lack what the one before may have: %s", report.LeftOut)
	}
	r.told.Files = report.Files
	failPoint("built")
	if err := r.config.swap(ctx, building, &report); err != nil {
		return err
	}
	failPoint("offered")
	return r.settle(ctx)
}

// record writes the change into the manifest. A warehouse of nothing has none.
func (r *rotation) record(ctx context.Context, k manifest.KeyChange, sequence int64) error {
	if sequence == 0 {
		return nil
	}
	store, err := r.config.openStore(ctx)
	if err != nil {
		return err
	}
	present, err := r.config.openReading(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = present.Close() }()
	last, err := present.LastKeyChange(ctx)
	if err != nil {
		return err
	}
	r.told.Record, err = manifest.ChangeKey(ctx, store, store.URL(), sequence, manifest.KeyOf(last), k, time.Now().UTC().Truncate(time.Microsecond), raw.ErrTaken)
	return err
}

// settle gives a file that waits its place, or waits until the service has taken it.
func (r *rotation) settle(ctx context.Context) error {
	return r.await(ctx, "the service to take the new warehouse", func() (bool, error) {
		if _, err := os.Stat(r.config.next()); errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		_, err := r.config.adopt(ctx)
		if errors.Is(err, duckdb.ErrInUse) {
			return false, nil
		}
		return err == nil, err
	})
}

// renewCopies waits until the readers' copies are by the target: the service renews them, or this process where none runs.
func (r *rotation) renewCopies(ctx context.Context) error {
	return r.await(ctx, "copies for readers by the new key", func() (bool, error) {
		if r.config.copiesBy(ctx, r.target.Version()) {
			return true, nil
		}
		options, err := r.config.options(ctx, discarding)
		if err != nil {
			return false, err
		}
		w, err := r.config.openFile(ctx, r.config.file(), options)
		if errors.Is(err, duckdb.ErrInUse) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer func() { _ = w.Close() }()
		s := &snapshots{warehouse: w, folder: r.config.snapshots(), log: discarding}
		done, err := s.step(ctx)
		return !done && err == nil, err // done: look again; else there is nothing that could be copied
	})
}

// copiesBy says whether whatever there is for readers was made by that key.
func (c *Config) copiesBy(ctx context.Context, version string) bool {
	if _, err := os.Stat(snapshotFile(c.snapshots())); err == nil && c.madeBy(ctx, snapshotFile(c.snapshots())) != version {
		return false
	}
	link := filepath.Join(c.snapshots(), "marts")
	if _, err := os.Lstat(link); err != nil {
		return true
	}
	shown, _ := readContents(link)
	return shown.TokenKey == version
}

// madeBy is the version of a file's token key, "" when it cannot be read.
func (c *Config) madeBy(ctx context.Context, path string) string {
	db, err := duckdb.Open(ctx, path, c.engine(true))
	if err != nil {
		return ""
	}
	defer func() { _ = db.Close() }()
	made, err := warehouse.MadeBy(ctx, db)
	if err != nil {
		return ""
	}
	return made.TokenKey
}

// removeOthers removes the warehouses that were put aside, or made and not taken, and are not by that key: theirs are the tokens of before. One that cannot be read may have them, too.
func (c *Config) removeOthers(ctx context.Context, version string) ([]string, error) {
	return c.removeBeside(ctx, func(path string) bool { return c.madeBy(ctx, path) != version })
}

// await looks until it is so.
func (r *rotation) await(ctx context.Context, what string, holds func() (bool, error)) error {
	for {
		done, err := holds()
		if done || err != nil {
			return err
		}
		if time.Now().After(r.until) {
			return fmt.Errorf("there are no signs of %s: does etl-transform run? The same command goes on from here", what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

func (r rotated) write(out io.Writer) {
	if r.From == r.To {
		fmt.Fprintf(out, "all tokens are by key %s already\n", r.To)
	} else {
		fmt.Fprintf(out, "all tokens are by key %s; before, by %s\n", r.To, r.From)
	}
	if r.Record != 0 {
		fmt.Fprintf(out, "it stands in manifest record %d\n", r.Record)
	}
	for _, path := range r.Removed {
		fmt.Fprintf(out, "removed %s, which had the tokens of before\n", path)
	}
	if r.Left != "" {
		fmt.Fprintf(out, "left to do: %s\n", r.Left)
	}
}
