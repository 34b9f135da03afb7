package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// errErased answers the record of an erasure while the warehouse has rows that are erased: another one is made without them, and has the record.
var errErased = errors.New("rows of a person were erased, and the warehouse is being made anew without them")

// learn reads the erasures from a record of the manifest on. It says whether there were any that were not known.
func (i *intake) learn(ctx context.Context, from int64) (bool, error) {
	found, err := manifest.FindErasures(ctx, i.store, from)
	if err != nil {
		return false, fmt.Errorf("look for erasures: %w", err)
	}
	return i.erasures.Add(found), nil
}

// loadErased brings announced files in, with those that erasures have put in their place. An erasure itself waits while the warehouse has rows that it is about. The caller holds one.
func (i *intake) loadErased(ctx context.Context, list []batch.Announced) []error {
	errs := make([]error, len(list))
	var rest []batch.Announced
	var places []int
	for n, a := range list {
		if a.Ready.Kind == events.KindErasure {
			if errs[n] = i.admit(ctx, a); errs[n] != nil {
				continue
			}
		}
		a.Ready = i.erasures.Resolve(i.store.URL(), a.Ready)
		rest, places = append(rest, a), append(places, n)
	}
	for n, err := range i.loadAll(ctx, rest) {
		errs[places[n]] = err
	}
	return errs
}

// admit says whether the record of an erasure may be entered: nothing that it is about is in the warehouse.
func (i *intake) admit(ctx context.Context, a batch.Announced) error {
	known, err := i.warehouse.Ledger(ctx, []batch.Announced{a})
	if err != nil || len(known) > 0 {
		return err
	}
	if _, there := i.erasures.Of(a.Ready.Sequence); !there {
		if _, err := i.learn(ctx, a.Ready.Sequence); err != nil {
			return err
		}
	}
	e, there := i.erasures.Of(a.Ready.Sequence)
	if !there {
		return fmt.Errorf("read manifest record %d: it tells of no erasure", a.Ready.Sequence)
	}
	var sums []string
	for _, f := range e.Files {
		sums = append(sums, f.SHA256)
	}
	read, err := i.warehouse.HasRead(ctx, sums, a.Ready.Sequence)
	if err != nil {
		return err
	}
	if !read {
		return nil
	}
	select {
	case i.remake <- struct{}{}:
	default: // somebody knows
	}
	return errErased
}

// mayBeErased says whether one of the errors may come from a file that an erasure has replaced, and from which record on that would be told.
func mayBeErased(list []batch.Announced, errs []error) (from int64, may bool) {
	for n, err := range errs {
		var changed *changedError
		if !errors.Is(err, raw.ErrNotThere) && !errors.As(err, &changed) {
			continue
		}
		if sequence := list[n].Ready.Sequence; !may || sequence < from {
			from, may = sequence, true
		}
	}
	return from, may
}

// remakeRetry is the pause before a remaking that failed is tried again.
const remakeRetry = time.Minute

// awhile is how long nothing is made anew when that was done: by then the service has the new file.
const awhile = time.Hour

// remakeErased makes the warehouse anew beside the open one whenever an erasure asks for it, until ctx ends. The service then takes it over as it takes a rebuilt one.
func (t *transform) remakeErased(ctx context.Context) error {
	trouble := notice.New(t.service.Log, "the warehouse is not made anew without erased rows", nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.intake.remake:
		}
		t.service.Log.InfoContext(ctx, "rows of a person were erased; the warehouse is made anew without them")
		wait := remakeRetry
		if err := t.config.remake(ctx, t.warehouse.TokenVersion()); err != nil && ctx.Err() == nil {
			trouble.Note(err)
		} else {
			wait = awhile // awaitAnother sees it
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		select {
		case t.intake.remake <- struct{}{}:
		default:
		}
	}
}

// remake makes the warehouse anew by the same key and offers it.
func (c *Config) remake(ctx context.Context, version string) error {
	ring, err := c.keys(ctx)
	if err != nil {
		return err
	}
	key := ring.Of(version)
	if key == nil {
		key = ring.Current()
	}
	building := c.file() + ".building"
	report, err := c.build(ctx, building, 0, key, io.Discard)
	if err != nil {
		return err
	}
	if report.LeftOut != "" {
		return fmt.Errorf("the new warehouse would lack what the one before may have: %s", report.LeftOut)
	}
	failPoint("remade")
	return os.Rename(building, c.next())
}

// removeErased removes warehouses beside the one that is open that know of fewer erasures than it: they have what was erased. One that cannot be read may have it, too.
func (c *Config) removeErased(ctx context.Context, w *warehouse.Warehouse) error {
	made, err := w.Made(ctx)
	if err != nil || made.Erasures == 0 {
		return err
	}
	_, err = c.removeBeside(ctx, func(path string) bool {
		db, err := duckdb.Open(ctx, path, c.engine(true))
		if err != nil {
			return true
		}
		defer func() { _ = db.Close() }()
		other, err := warehouse.MadeBy(ctx, db)
		return err != nil || other.Erasures < made.Erasures
	})
	return err
}

// removeBeside removes those of the files beside the warehouse that were put aside, or made and not taken or not finished, and are stale. One that somebody is making now stays.
func (c *Config) removeBeside(ctx context.Context, stale func(path string) bool) ([]string, error) {
	removed := []string{}
	for _, pattern := range []string{".[0-9]*Z", ".rebuilt", ".building", ".verifying"} {
		found, _ := filepath.Glob(c.file() + pattern) // the pattern is sound
		for _, path := range found {
			db, err := duckdb.Open(ctx, path, c.engine(false))
			if errors.Is(err, duckdb.ErrInUse) {
				continue
			}
			if err == nil {
				_ = db.Close()
			}
			if !stale(path) {
				continue
			}
			if err := os.Remove(path); err != nil {
				return removed, fmt.Errorf("remove what has the data of before: %w", err)
			}
			_ = os.Remove(logOf(path)) // most have none
			removed = append(removed, path)
		}
	}
	return removed, nil
}
