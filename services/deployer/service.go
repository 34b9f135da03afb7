package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/chassis/vault"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/deployer/internal/arbiter"
	"github.com/ofitec/ofitec/services/deployer/internal/prometheus"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"

	book "github.com/ofitec/ofitec/services/deployer/internal/etcd"
	reader "github.com/ofitec/ofitec/services/deployer/internal/vault"
)

// serve joins bus, etcd and Vault and runs until ctx ends. They may be away at the start: the service is then alive and not ready.
func serve(ctx context.Context, c *Config) error {
	service, err := chassis.New(name, c.Settings)
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
	d := &deployer{
		policy: c.policy(), open: func(name string) *book.Book { return book.Open(store, announcements, name, origin) }, credentials: c.rolledOut(), vault: reader.New(secrets),
		hands: c.hands(), oneFile: c.oneFile(), oldCompose: c.Odoo.OldCompose, proxy: proxies[c.Proxy.Kind](c.Proxy), colours: c.colours(),
		gates:   prometheus.New(c.Gate.Prometheus, c.Region, prometheus.Queries{Up: c.Queries.Up, ErrorRate: c.Queries.ErrorRate, P95: c.Queries.P95}),
		arbiter: arbiter.New(c.Arbiter), outbox: outbox, metrics: newMetrics(service.Metrics), log: service.Log,
	}
	d.listen = func(ctx context.Context, hear bus.Handler) { consume(ctx, pipe, d.consumer(measured), hear) }
	service.Health.Register("web proxy", func(ctx context.Context) error {
		_, err := d.proxy.Traffic(ctx)
		return err
	})
	service.Health.Register("gates", d.gates.Check)
	service.Add("outbox", outbox.Run)
	service.Add("roll out", func(ctx context.Context) error {
		return d.campaign(ctx, store, etcd.Election{Key: book.LeaderKey(origin.Region), Candidate: name + "." + c.Region, TTL: c.Leader})
	})
	return service.Run(ctx)
}

// consumer is how the leader takes versions. One that waits for another credential's rollout must not keep the word about that from being heard; and how often
// leaders have handed it back before, or died with it, says nothing of it: a version is never given up by count, and comes to the next leader soon.
func (d *deployer) consumer(measured *bus.Metrics) bus.Consumer {
	return bus.Consumer{
		Service: name, Region: d.policy.Region, Stream: events.StreamFacts, Workers: 2 * len(d.credentials), Log: d.log, Metrics: measured, Patient: true, Backoff: []time.Duration{time.Second},
	}
}

// consume takes events until ctx ends. It waits for a durable that the operator has not made yet, or has made wrong.
func consume(ctx context.Context, b *bus.JetStream, c bus.Consumer, handler bus.Handler) {
	missing := notice.New(c.Log, "consumer waits", nil)
	for ctx.Err() == nil {
		err := b.Consume(ctx, c, handler)
		if err == nil {
			continue
		}
		missing.Note(err, "stream", c.Stream)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

// hear hands a version to the leader and waits until it is stored: only then is the event acknowledged. While another version has the traffic and is not finished, or
// another credential is rolled out, that takes as long as it takes; the event is kept alive meanwhile.
func (t *term) hear(ctx context.Context, delivery bus.Delivery) error {
	rotated, ok := delivery.Payload.(events.CredentialRotated)
	if !ok || t.track(rotated.Name) == nil || rotated.Region != "" && rotated.Region != t.policy.Region {
		return nil
	}
	w := wish{
		Wish: rollout.Wish{
			Credential: rotated.Credential, Previous: rotated.Previous, Cause: delivery.Event.MsgID(), Correlation: delivery.Event.CorrelationID,
		},
		taken: make(chan struct{}),
	}
	over := t.leadership.Context().Done()
	select {
	case t.wishes <- w:
	case <-over:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-w.taken:
		return nil
	case <-over:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errOver delivers an event again, to whoever leads next.
var errOver = errors.New("this instance leads no more")
