package main

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// reopenEvery is how often a file that the engine had given up on is tried.
const reopenEvery = 2 * time.Second

// keepServing serves, and begins again with the file that a rebuild has made, or with the same one when the engine has given up on it, as after a full disk.
func keepServing(ctx context.Context) error {
	reopening := false
	for {
		c, err := configured(false)
		if err != nil {
			return err
		}
		err = serve(ctx, c)
		switch {
		case errors.Is(err, errRebuilt):
			reopening = false
			continue
		case errors.Is(err, errReopen):
			reopening = true
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
