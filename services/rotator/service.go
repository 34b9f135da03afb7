package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/health"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/chassis/vault"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/postgres"

	book "github.com/ofitec/ofitec/services/rotator/internal/etcd"
	engine "github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// serve joins bus, etcd and Vault and runs until ctx ends. They may be away at the start: the service is then alive and not ready.
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

	secrets, err := vault.Connect(c.Settings)
	if err != nil {
		return err
	}
	service.Health.Register("vault", secrets.Check)
	vault.Observe(ctx, service.Metrics, secrets)
	service.Add("vault", secrets.Hold)

	measured, err := bus.NewMetrics(service.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	pipe := bus.NewJetStream(stream, measured)
	announcements := etcd.NewOutbox(store, name)
	outbox := bus.NewOutbox(announcements, pipe, service.Log, measured)
	origin := events.Origin{Region: events.Region(c.Region), Service: name}
	r := newRotator(c, service, store, secrets)
	r.outbox = outbox
	for _, one := range c.Credentials {
		place := engine.New(secrets, one.role(), fenceRole, one.path())
		rotated := &rotated{
			rotator: r, policy: one.policy(c.Rotation), book: book.Open(store, announcements, one.Name, origin), store: place, hands: kinds[one.Kind](r, one, place),
			wake: make(chan struct{}, 1),
		}
		rotated.absent.Store(&[]events.Region{})
		r.credentials[one.Name] = rotated
	}
	service.Add("outbox", outbox.Run)
	service.Add("rotate", func(ctx context.Context) error {
		return r.campaign(ctx, etcd.Election{Key: state.KeyRotator, Candidate: name + "." + c.Region, TTL: c.Rotation.Leader})
	})
	for _, from := range []string{events.StreamFacts, events.StreamJobs} {
		reading := newCondition(service.Health, "consume "+from)
		consumer := bus.Consumer{Service: name, Region: origin.Region, Stream: from, Log: service.Log, Metrics: measured, OnState: reading.set}
		service.Add("consume "+from, func(ctx context.Context) error { return consume(ctx, pipe, consumer, r.hear) })
	}
	return service.Run(ctx)
}

// newRotator has no credentials yet.
func newRotator(c *Config, service *chassis.Service, store *etcd.Client, secrets *vault.Client) *rotator {
	database := postgres.Server{Proxies: c.Database.Proxies, ReadProxies: c.Database.ReadProxies, Database: c.Database.Name, CAFile: c.TLS.CA}
	return &rotator{
		client: store, credentials: map[string]*rotated{}, away: c.Rotation.Away, stray: c.Rotation.Stray, compare: c.Rotation.Compare, vault: engine.New(secrets, "", "", ""),
		database: database, fencers: &fencers{engine: engine.New(secrets, "", fenceRole, ""), server: database, log: service.Log},
		metrics: newMetrics(service.Metrics), log: service.Log, slots: make(chan struct{}, atOnce), endings: make(chan struct{}, atOnce),
	}
}

// condition is what a consumer last said about itself, as a check of readiness. One that has never read yet holds up nothing: where streams and durables are
// still to be made, the log says so.
type condition struct {
	began atomic.Bool
	err   atomic.Pointer[error]
}

func newCondition(h *health.Health, check string) *condition {
	c := &condition{}
	h.Register(check, func(context.Context) error {
		if err := c.err.Load(); err != nil {
			return *err
		}
		return nil
	})
	return c
}

func (c *condition) set(err error) {
	switch {
	case err == nil:
		c.began.Store(true)
		c.err.Store(nil)
	case c.began.Load():
		c.err.Store(&err)
	}
}

// consume waits for a durable that the operator has not made yet, instead of ending the service.
func consume(ctx context.Context, b *bus.JetStream, c bus.Consumer, handler bus.Handler) error {
	missing := notice.New(c.Log, "consumer waits", nil)
	for {
		err := b.Consume(ctx, c, handler)
		if !errors.Is(err, bus.ErrNoDurable) {
			return err
		}
		c.OnState(err)
		missing.Note(err, "stream", c.Stream)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Second):
		}
	}
}

// hear puts what concerns a credential that is rotated here into its inbox; only then is it acknowledged.
func (r *rotator) hear(ctx context.Context, delivery bus.Delivery) error {
	about := ""
	switch e := delivery.Payload.(type) {
	case events.JobRotate:
		about = e.Name
	case events.CredentialDeployed:
		about = e.Name
	case events.CredentialRolledBack:
		about = e.Name
	}
	c := r.credentials[about]
	if c == nil {
		if delivery.Event.Type == events.TypeJobRotate {
			return bus.Park(fmt.Sprintf("no credential %s is rotated here, only %s", about, strings.Join(slices.Sorted(maps.Keys(r.credentials)), ", ")))
		}
		return nil
	}
	if err := c.book.Put(ctx, delivery.Event); err != nil {
		return err
	}
	c.call()
	return nil
}
