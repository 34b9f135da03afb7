package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

// firstEpoch is the epoch of an ingest that runs alone.
const firstEpoch = events.Epoch(1)

// askWithin bounds a question to etcd.
const askWithin = 3 * time.Second

// always is the mandate of an ingest that runs alone: its region is the active one.
func always(context.Context) (events.Epoch, error) { return firstEpoch, nil }

// mandateOf reads the failover's state. Only the region that holds the mandate reads its Odoo. Until the promotion nobody does: nobody knows then which side's rows will stay. From
// the promotion on the new owner takes writes, and reads, too: what follows, such as moving the name, may take for long.
// When etcd does not answer, nobody reads: what was recorded under a dead epoch could be rows that the new primary never had.
func mandateOf(client *etcd.Client, region events.Region) mandate {
	cell := etcd.NewCell(client, state.KeyFailover, etcd.Codec[state.Failover]{
		Encode: func(f state.Failover) ([]byte, error) { return state.Encode(f) }, Decode: state.Decode[state.Failover],
	})
	return func(ctx context.Context) (events.Epoch, error) {
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		value, err := cell.Get(ctx)
		if err != nil {
			return 0, fmt.Errorf("ask who is active: %w", err)
		}
		return permitted(value.Content, value.Revision != 0, region)
	}
}

func permitted(f state.Failover, found bool, region events.Region) (events.Epoch, error) {
	refuse := func(format string, args ...any) error {
		return &extract.PullError{Code: extract.CodeFenced, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !found:
		return 0, refuse("no region is active yet")
	case f.Phase != state.PhaseSteady && f.Phase != state.PhasePromoted && f.Phase != state.PhaseSwitched: // in those, epoch and active region are the new owner's
		return 0, refuse("a failover is in phase %s", f.Phase)
	case f.Active != region:
		return 0, refuse("region %q is active, this is %q", string(f.Active), string(region))
	}
	return f.Epoch, nil
}
