package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/buildinfo"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	documents "github.com/ofitec/ofitec/services/console/internal/etcd"
	"github.com/ofitec/ofitec/services/console/internal/page"
	"github.com/ofitec/ofitec/services/console/internal/region"
)

// serve joins bus and etcd and runs until ctx ends. They may be away at the start: the service is then alive and not ready, and the page says what is missing.
func serve(ctx context.Context, c *Config) error {
	service, err := chassis.New(name, c.Settings) //nolint:contextcheck // it answers health checks until the process ends, not until ctx does
	if err != nil {
		return err
	}
	conn, stream, err := natsclient.Connect(ctx, c.Settings, name, c.Region)
	if err != nil {
		return err
	}
	defer natsclient.Drain(conn)
	natsclient.Observe(service.Metrics, conn)
	service.Health.Register("nats", natsclient.Check(conn))

	store, err := etcd.Connect(c.Settings)
	if err != nil {
		return err
	}
	defer store.Close()
	service.Health.Register("etcd", store.Check)

	measured, err := bus.NewMetrics(service.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	link, clean, err := c.linkFile()
	if err != nil {
		return fmt.Errorf("find a place for the page's link: %w", err)
	}
	defer clean()
	door := page.NewDoor(link, "http://"+c.HTTPAddr, time.Now, service.Log)
	view := page.NewStream()
	d := &desk{
		config: c, log: service.Log, metrics: newMetrics(service.Metrics, door, view), bus: bus.NewJetStream(stream, measured), connected: natsclient.Check(conn),
		documents: documents.NewReader(store), regions: region.NewAsker(), stream: view, dirty: make(chan struct{}, 1),
	}
	host, _, _ := net.SplitHostPort(c.HTTPAddr)
	(&page.Page{
		Door: door, Stream: view, Facts: d, Commands: d, Numbers: d, Version: buildinfo.Get().Version, Host: host, Now: time.Now, Log: service.Log,
		Refused: func(why string) { d.metrics.refused.WithLabelValues(why).Inc() }, Commanded: d.metrics.commanded,
	}).Register(service.HTTP)
	service.HTTP.Handle("GET /api/version", versionHandler(conn))

	service.Add("door", door.Keep)
	service.Add("etcd", d.watchDocuments)
	service.Add("facts", d.replayFacts)
	service.Add("health", d.replayHealth)
	service.Add("regions", d.askRegions)
	service.Add("warehouse", d.askWarehouse)
	service.Add("view", d.publish)
	return service.Run(ctx)
}

// origin is in whose name a command is published: the console stands outside all regions, so it is the one that takes the writes, or a.
func origin(active events.Region) events.Origin {
	if !active.HoldsData() {
		active = events.RegionA
	}
	return events.Origin{Region: active, Service: name}
}
