package main

import (
	"context"
	"errors"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
)

// Figures implements page.Accountant.
func (d *desk) Figures(ctx context.Context, filter board.FigureFilter) ([]board.Figure, error) {
	figures, _, err := firstAnswer(d, func(file string) ([]board.Figure, error) { return postgres.Figures(ctx, file, filter) })
	return figures, err
}

// Kpis implements page.Accountant.
func (d *desk) Kpis(ctx context.Context, filter board.FigureFilter) (board.Kpis, error) {
	told, from, err := firstAnswer(d, func(file string) (board.Kpis, error) { return postgres.Kpis(ctx, file, filter) })
	told.From = from
	return told, err
}

// Ledger implements page.Accountant.
func (d *desk) Ledger(ctx context.Context, filter board.LedgerFilter) (board.Ledger, error) {
	told, from, err := firstAnswer(d, func(file string) (board.Ledger, error) { return postgres.Ledger(ctx, file, filter) })
	told.From = from
	return told, err
}

// firstAnswer asks the databases until one answers, the one of the region that takes writes first.
func firstAnswer[T any](d *desk, ask func(file string) (T, error)) (T, events.Region, error) {
	var none T
	var problems []error
	active := d.writer()
	for _, r := range []events.Region{active, active.Peer()} {
		file, configured := at(d.config.Analytics, r)
		if !configured {
			continue
		}
		answer, err := ask(file)
		if err == nil {
			return answer, r, nil
		}
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return none, "", errors.New("no analytics database is configured for the region that takes writes: OFITEC_ANALYTICS_DSN_FILES names the reader's connections")
	}
	return none, "", errors.Join(problems...)
}
