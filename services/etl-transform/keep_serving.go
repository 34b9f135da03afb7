package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
)

// reopenEvery is how often a file that the engine had given up on is tried.
const reopenEvery = 2 * time.Second

// errOtherKeys ends serve when the file that was to be opened anew is by another key by now.
var errOtherKeys = errors.New("the warehouse is by other keys than before")

// keepServing serves, and begins again with the file that a rebuild has made, or with the same one when the engine has given up on it, as after a full disk.
func keepServing(ctx context.Context) error {
	reopening, had := false, false // had: the warehouse was open here
	var before *Config             // of the same file, while it is opened anew
	for {
		c, err := configured(false)
		if err != nil {
			return err
		}
		// Read anew for another file: a rotation has made a version since.
		c.keepKeys(before)
		if known, err := c.awaitKeys(ctx); !known {
			return err
		}
		err = serve(ctx, c)
		switch {
		case errors.Is(err, errRebuilt):
			reopening, had, before = false, true, nil
			continue
		case errors.Is(err, errReopen):
			reopening, before = true, c
		case errors.Is(err, errOtherKeys):
			before = nil
		case had && errors.Is(err, duckdb.ErrInUse): // by the command that has made the other one, and renews the copies meanwhile
		case err == nil || ctx.Err() != nil || !reopening:
			return err
		}
		slog.WarnContext(ctx, "the warehouse is opened anew", "because", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reopenEvery):
		}
	}
}
