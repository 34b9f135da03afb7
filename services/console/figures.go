package main

import (
	"context"
	"errors"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
)

// Figures implements page.Accountant. Of the two regions the one that takes writes is asked first.
func (d *desk) Figures(ctx context.Context, filter board.FigureFilter) ([]board.Figure, error) {
	var problems []error
	active := d.writer()
	for _, r := range []events.Region{active, active.Peer()} {
		file, configured := at(d.config.Analytics, r)
		if !configured {
			continue
		}
		figures, err := postgres.Figures(ctx, file, filter)
		if err == nil {
			return figures, nil
		}
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return nil, errors.New("no analytics database is configured for the region that takes writes: OFITEC_ANALYTICS_DSN_FILES names the reader's connections")
	}
	return nil, errors.Join(problems...)
}
