package main

import (
	"context"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/natsclient"
)

// serve joins the bus and runs until ctx ends. The bus may be away at the start: the service is then alive and not ready.
func serve(ctx context.Context, c *Config) error {
	service, err := chassis.New(name, c.Settings)
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
	return service.Run(ctx)
}
