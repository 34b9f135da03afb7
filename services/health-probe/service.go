package main

import (
	"context"
	"errors"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/services/health-probe/internal/nats"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

// serve observes until ctx ends. Bus and regions may be away at the start: that the first is away makes it not ready, the other is what it is for.
func serve(ctx context.Context, c *Config) error {
	service, err := chassis.New(name, c.Settings)
	if err != nil {
		return err
	}
	identity, err := c.TLS.Open()
	if err != nil {
		return err
	}
	bus, _, err := natsclient.Connect(ctx, c.Settings, name, c.Region)
	if err != nil {
		return err
	}
	defer natsclient.Drain(bus)
	natsclient.Observe(service.Metrics, bus)
	service.Health.Register("nats", natsclient.Check(bus))

	m := newMetrics(service.Metrics)
	publisher := nats.New(bus, 2*c.Interval, m.tally)
	service.Add("publisher", publisher.Run)
	if c.NATSMonitor != "" {
		service.Add("watch of the bus", func(ctx context.Context) error { return watchBus(ctx, c.NATSMonitor, m, service.Log) })
	}
	b := newBook(c.Region, publisher.Offer, m, service.Log)
	var observers []*observer
	for n, t := range c.targets() {
		looks := map[observation.Kind]look{}
		for kind, maker := range kinds {
			looks[kind] = maker(c, identity.Client(), t)
		}
		o := newObserver(c, t.region, looks, b, m)
		observers = append(observers, o)
		service.Health.Note("region "+string(t.region), o.troubles.words)
		service.Add("observer of "+string(t.region), func(ctx context.Context) error {
			// The regions are looked at in turn, which spreads the work.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Duration(n) * c.Interval / 2):
			}
			return o.run(ctx)
		})
	}
	service.Health.Register("rounds", func(context.Context) error {
		var all []error
		for _, o := range observers {
			all = append(all, o.current(time.Now()))
		}
		return errors.Join(all...)
	})
	service.Log.Info("observing", "incarnation", b.incarnation, "interval", c.Interval.String(), "timeout", c.Timeout.String())
	return service.Run(ctx)
}
