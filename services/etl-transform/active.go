package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// askWithin bounds a question to etcd.
const askWithin = 3 * time.Second

// activity says whether this region publishes: both regions build the warehouse, the active one shows it.
type activity func(ctx context.Context) (bool, error)

// always is the activity of a transform that runs alone.
func always(context.Context) (bool, error) { return true, nil }

// activityOf reads the failover's state. Until a failover's promotion nobody publishes: PostgreSQL would refuse it anyhow. From then on the new
// owner does, however long it takes to move the name.
func activityOf(client *etcd.Client, region events.Region) activity {
	cell := etcd.NewCell(client, state.KeyFailover, etcd.Codec[state.Failover]{
		Encode: func(f state.Failover) ([]byte, error) { return state.Encode(f) }, Decode: state.Decode[state.Failover],
	})
	return func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		value, err := cell.Get(ctx)
		if err != nil {
			return false, fmt.Errorf("ask who is active: %w", err)
		}
		return value.Revision != 0 && publishes(value.Content, region), nil
	}
}

// publishes says whether the region holds the mandate: from the promotion on, the state's active region is the new owner.
func publishes(f state.Failover, region events.Region) bool {
	granted := f.Phase == state.PhaseSteady || f.Phase == state.PhasePromoted || f.Phase == state.PhaseSwitched
	return granted && f.Active == region
}
