package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/postgres"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// transform is the service put together.
type transform struct {
	config    *Config
	service   *chassis.Service
	conn      *nats.Conn
	stream    jetstream.JetStream
	etcd      *etcd.Client // nil when alone
	bus       *bus.JetStream
	metered   *bus.Metrics
	warehouse *warehouse.Warehouse
	intake    *intake
	outbox    *bus.Outbox
	publisher *publisher // nil without a database for readers
	snapshots *snapshots
}

// assemble opens what is on this machine and starts to connect to the rest.
func assemble(ctx context.Context, c *Config) (_ *transform, err error) {
	t := &transform{config: c}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.service, err = chassis.New(name, c.Settings); err != nil { //nolint:contextcheck // it begins nothing that a context could end
		return nil, err
	}
	store, err := c.openStore(ctx)
	if err != nil {
		return nil, err
	}
	if t.warehouse, err = c.openWarehouse(ctx, t.service.Log); err != nil {
		return nil, err
	}
	if t.conn, t.stream, err = natsclient.Connect(ctx, c.Settings, name, c.Region); err != nil {
		return nil, err
	}
	natsclient.Observe(t.service.Metrics, t.conn)
	t.service.Health.Register("nats", natsclient.Check(t.conn))
	if t.metered, err = bus.NewMetrics(t.service.Metrics); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	t.bus = bus.NewJetStream(t.stream, t.metered)
	t.outbox = bus.NewOutbox(t.warehouse, t.bus, t.service.Log, t.metered)
	counted := newMetrics(t.service.Metrics)
	t.intake = &intake{warehouse: t.warehouse, store: store, limits: c.limits(), metrics: counted, log: t.service.Log, loaded: t.loaded, waiting: make(chan waiter), stopped: make(chan struct{}), remake: make(chan struct{}, 1)}
	t.intake.trouble = notice.New(t.service.Log, "raw files are not loaded", nil)
	t.snapshots = &snapshots{warehouse: t.warehouse, folder: c.snapshots(), log: t.service.Log, wake: make(chan struct{}, 1)}
	active := activity(always)
	if !c.alone() {
		if t.etcd, err = etcd.Connect(c.Settings); err != nil {
			return nil, err
		}
		t.service.Health.Register("etcd", t.etcd.Check)
		active = activityOf(t.etcd, events.Region(c.Region))
	}
	if c.Analytics.DSN == "" {
		return t, nil
	}
	server, err := postgres.New(c.Analytics.DSN.Reveal(), c.Analytics.Password.Reveal())
	if err != nil {
		return nil, err
	}
	t.publisher = &publisher{
		warehouse: t.warehouse, server: server, active: active, region: events.Region(c.Region), verifyEvery: c.Analytics.VerifyEvery, metrics: counted, log: t.service.Log, told: t.outbox.Wake, wake: make(chan struct{}, 1),
	}
	return t, nil
}

func (t *transform) loaded(warehouse.Result) {
	t.outbox.Wake()
	t.snapshots.Wake()
	if t.publisher != nil {
		t.publisher.Wake()
	}
}

func (t *transform) close() {
	if t.conn != nil {
		natsclient.Drain(t.conn)
	}
	if t.etcd != nil {
		_ = t.etcd.Close() // nothing is under way
	}
	if t.warehouse != nil {
		if err := t.warehouse.Close(); err != nil {
			t.service.Log.Warn("warehouse not closed", "error", err)
		}
	}
}

// consumer says how announcements are read.
func (t *transform) consumer() bus.Consumer {
	return bus.Consumer{
		Service: name, Region: events.Region(t.config.Region), Stream: events.StreamFacts, Workers: handlers, Create: t.config.alone(), Log: t.service.Log, Metrics: t.metered,
	}
}

// provision makes what the operator makes in the stack, without the stream of observations: a bus that stands alone need not set aside a region's room for it.
func (t *transform) provision(ctx context.Context) error {
	if !t.config.alone() {
		return nil
	}
	_, err := bus.Provision(ctx, t.stream, bus.Setup{Replicas: 1, Streams: []string{events.StreamFacts, events.StreamJobs, events.StreamParked}})
	var kept *bus.RefusedError
	if errors.As(err, &kept) {
		t.service.Log.InfoContext(ctx, "streams are somebody else's and stay as they are", "because", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("make streams: %w", err)
	}
	return nil
}

// Rhythm of the look into the manifest.
const (
	catchUpRetry = 5 * time.Second // after a raw store or a bus that did not answer
	catchUpEvery = 5 * time.Minute // for what the bus has given up on
	sayAgain     = time.Minute     // between two log lines about what does not work
)

// errRebuilt ends serve when a rebuilt warehouse waits to take the place of the one that is open.
var errRebuilt = errors.New("a rebuilt warehouse is there")

// errReopen ends serve when the file that is open must be opened anew.
var errReopen = errors.New("the warehouse must be opened anew")

// adoptEvery is how often it is looked for one.
const adoptEvery = 2 * time.Second

// awaitAnother returns when a rebuilt warehouse is there, when the engine has given up on the open one, or when ctx ends; and why, if not for the last.
func (t *transform) awaitAnother(ctx context.Context) error {
	for {
		if _, err := os.Stat(t.config.next()); err == nil {
			return errRebuilt
		}
		if _, err := t.warehouse.LastLoad(ctx); duckdb.Broken(err) {
			return fmt.Errorf("%w: %w", errReopen, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(adoptEvery):
		}
	}
}

// serve joins the bus and runs until ctx ends, or, with errRebuilt, until another warehouse is to be opened. The bus may be away at the start: the service is then alive and not ready.
func serve(ctx context.Context, c *Config) error {
	t, err := assemble(ctx, c)
	if err != nil {
		return err
	}
	defer t.close()
	var consuming atomic.Value // text of what keeps the consumer from working, "" when it works
	consuming.Store("not begun")
	t.service.Health.Register("consumer", func(context.Context) error {
		if why := consuming.Load().(string); why != "" {
			return errors.New(why)
		}
		return nil
	})
	t.service.Health.Register("raw", t.intake.checkRaw)
	t.service.Health.Register("load", t.intake.checkLoad)
	t.service.HTTP.HandleFunc("GET /v1/status", t.serveStatus)
	t.service.Add("load", t.intake.run)
	t.service.Add("outbox", t.outbox.Run)
	t.service.Add("keep up", t.keepUp)
	t.service.Add("try marts again", t.intake.again)
	t.service.Add("snapshots", t.snapshots.run)
	t.service.Add("erasures", t.remakeErased)
	t.service.Health.Note("snapshots", t.snapshots.trouble)
	if t.publisher != nil {
		t.service.Health.Register("analytics", t.publisher.check)
		t.service.Add("publish", t.publisher.run)
	}
	t.service.Add("consume", func(ctx context.Context) error {
		if err := t.ready(ctx, &consuming); err != nil {
			return err
		}
		consumer := t.consumer()
		consumer.OnState = func(err error) {
			consuming.Store("")
			if err != nil {
				consuming.Store(err.Error())
			}
		}
		return t.bus.Consume(ctx, consumer, t.intake.consume)
	})
	var why error
	t.service.Add("another warehouse", func(ctx context.Context) error {
		why = t.awaitAnother(ctx)
		return nil // ends the service in either case
	})
	return cmp.Or(t.service.Run(ctx), why) // Run waits for its actors
}

// ready makes the streams when alone, and brings in what the manifest has: after the loss of the warehouse there may be nothing on the bus that would. Single files that
// cannot be loaded hold up nothing.
func (t *transform) ready(ctx context.Context, why *atomic.Value) error {
	var said time.Time
	for _, step := range []func(context.Context) error{t.provision, t.intake.catchUp} {
		for {
			err := step(ctx)
			if t.leftOut(ctx, err) || err == nil {
				break
			}
			why.Store(err.Error())
			if ctx.Err() == nil && time.Since(said) >= sayAgain {
				said = time.Now()
				t.service.Log.WarnContext(ctx, "not ready, trying again", "error", err.Error())
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(t.retry()):
			}
		}
	}
	return nil
}

// leftOut logs single records that are not in, and says whether that is all that went wrong.
func (t *transform) leftOut(ctx context.Context, err error) bool {
	var left *leftOutError
	if !errors.As(err, &left) {
		return false
	}
	t.service.Log.WarnContext(ctx, "records of the manifest are left out", "records", left.records, "error", left.first)
	return true
}

// keepUp looks into the manifest from time to time, until ctx ends.
func (t *transform) keepUp(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(catchUpEvery):
		}
		if err := t.intake.catchUp(ctx); err != nil && !t.leftOut(ctx, err) && ctx.Err() == nil {
			t.service.Log.WarnContext(ctx, "manifest is not read", "error", err)
		}
	}
}

// retry is short while the bus is away: then nothing else is asked.
func (t *transform) retry() time.Duration {
	if !t.conn.IsConnected() {
		return time.Second
	}
	return catchUpRetry
}
