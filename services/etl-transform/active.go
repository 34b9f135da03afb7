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

// activityOf reads the failover's state. While a failover is under way nobody publishes: PostgreSQL would refuse it anyhow.
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
		f := value.Content
		return value.Revision != 0 && f.Phase == state.PhaseSteady && f.Active == region, nil
	}
}
