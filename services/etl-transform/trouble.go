package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
)

// isAway says that a file is not in because the raw store did not answer, or the disk took nothing: nothing is wrong with the file.
func isAway(err error) bool {
	var disk *fs.PathError
	return errors.Is(err, raw.ErrAway) || errors.As(err, &disk) && !errors.Is(err, raw.ErrNotThere)
}

// firstAway is one of the errors that are no fault of their file, or nil.
func firstAway(failed map[batch.ID]error) error {
	for _, err := range failed {
		if isAway(err) {
			return err
		}
	}
	return nil
}

// consume is handle for a service that runs on. What store or disk have kept out for as long as the bus's table lasts is left to the manifest, in which it stands and which is looked
// into every few minutes: parked, it would ask a person to send again what comes in by itself.
func (i *intake) consume(ctx context.Context, d bus.Delivery) error {
	err := i.handle(ctx, d)
	ready, _ := d.Payload.(events.ExportReady)
	if err == nil || d.Attempt < len(bus.Backoff) || ready.Sequence < 1 || !isAway(err) && !errors.Is(err, errErased) {
		return err
	}
	i.log.WarnContext(ctx, "event is left to the manifest", "id", d.Event.ID, "manifest_sequence", ready.Sequence, "attempt", d.Attempt, "error", err)
	return nil
}

// note keeps what became of the last load. A file that is damaged, or not for us, is told of by itself and is no trouble of loading.
func (i *intake) note(err error) {
	err = duckdb.Told(err)
	text := ""
	if err != nil {
		text = err.Error()
	}
	i.fail.Store(text)
	i.trouble.Note(err)
}

// checkLoad is ready unless the last load did not work.
func (i *intake) checkLoad(context.Context) error {
	if why, _ := i.fail.Load().(string); why != "" {
		return fmt.Errorf("the last load failed: %s", why)
	}
	return nil
}

// checkRaw asks the raw store for the manifest's first record, which need not be there.
func (i *intake) checkRaw(ctx context.Context) error {
	_, _, err := i.store.Read(ctx, manifest.Name(1))
	return err
}
