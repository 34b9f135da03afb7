package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/file"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/kv"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/s3"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// serve joins the bus and etcd and runs until ctx ends. What it needs may be away at the start: the service is then alive and not ready.
func serve(ctx context.Context, c *Config) error {
	i, err := assemble(ctx, c, func(string, tally) {}, func(outcome) {})
	if err != nil {
		return err
	}
	defer i.close()
	consumer := bus.Consumer{Service: name, Region: events.Region(c.Region), Stream: events.StreamJobs, Log: i.service.Log, Metrics: i.metered, Create: c.alone()}
	s := &schedule{
		runner: i.runner, interval: c.Export.Interval, fullEach: c.Export.Reconcile, prepare: i.provision, metrics: i.runner.metrics, log: i.service.Log,
		jobs: func(ctx context.Context, handler bus.Handler) error { return i.bus.Consume(ctx, consumer, handler) },
	}
	s.asked, s.wake = map[string]bool{}, make(chan struct{}, 1)
	keys, err := i.keyring(ctx)
	if err != nil {
		return err
	}
	if keys != nil {
		i.service.HTTP.HandleFunc(webhookPath, announcements(s, keys))
	}
	i.service.Health.Register("raw", i.store.Check)
	i.service.Health.Register("export", s.check)
	i.service.Add("schedule", s.run)
	return i.service.Run(ctx)
}

// ingest is the service with its parts joined; nothing runs yet.
type ingest struct {
	config  *Config
	service *chassis.Service
	conn    *nats.Conn
	stream  jetstream.JetStream
	etcd    *etcd.Client // nil when alone
	bus     *bus.JetStream
	metered *bus.Metrics
	store   store
	runner  *runner
}

// assemble joins the parts. page is called after each page, finished after each dataset.
func assemble(ctx context.Context, c *Config, page func(string, tally), finished func(outcome)) (_ *ingest, err error) {
	service, err := chassis.New(name, c.Settings)
	if err != nil {
		return nil, err
	}
	warehouse, err := models.Open(c.Models)
	if err != nil {
		return nil, fmt.Errorf("read OFITEC_MODELS: %w", err)
	}
	i := &ingest{config: c, service: service}
	if i.store, err = c.openStore(); err != nil {
		return nil, err
	}
	files := spool.Dir{Path: i.store.SpoolDir()}
	keys, err := c.rawKeys()
	if err != nil {
		return nil, err
	}
	if keys != nil {
		files.Seal = keys
	}
	if n := spool.Sweep(i.store.SpoolDir(), time.Now()); n > 0 {
		slog.InfoContext(ctx, "removed what a crash had left", "files", n)
	}
	source, err := odoo.New(odoo.Server{URL: c.Odoo.URL, Token: string(c.Odoo.Token), CAFile: c.Odoo.CAFile, Timeout: c.Export.Timeout})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			i.close()
		}
	}()
	allowed, err := i.join(ctx)
	if err != nil {
		return nil, err
	}
	counted := newMetrics(service.Metrics)
	region := events.Region(c.Region)
	pull := &puller{
		source: source, sums: source, connections: c.Export.Connections, requests: make(chan struct{}, c.Export.Connections), store: i.store, spool: files, mandate: allowed, policy: c.policy(), format: c.Export.Format, attempts: c.Export.Attempts, region: region, metrics: counted, log: service.Log, progress: page,
		ledger: &ledger{
			chain: manifest.NewChain(i.store), states: kv.New(i.stream, c.Export.Bucket, c.alone()), bus: i.bus, root: i.store.URL(), region: region, metrics: counted, log: service.Log,
		},
	}
	compare := &reconciler{
		puller: pull, source: source, metrics: counted, log: service.Log, every: c.Export.Reread,
		books: &books{dir: c.booksDir(), store: i.store, spool: files, datasets: warehouse.Datasets(), log: service.Log, chain: manifest.NewChain(i.store)},
	}
	i.runner = &runner{
		dropped: c.dropped(ctx, pull, warehouse.Datasets()),
		puller:  pull, reconciler: compare, datasets: warehouse.Datasets(), connections: c.Export.Connections, bus: i.bus, region: region, metrics: counted, log: service.Log, finished: finished,
	}
	return i, nil
}

// join begins to connect to the bus, and to etcd unless the region is alone, and gives what says whether it may read.
func (i *ingest) join(ctx context.Context) (allowed mandate, err error) {
	c := i.config
	if i.conn, i.stream, err = natsclient.Connect(ctx, c.Settings, name, c.Region); err != nil {
		return nil, err
	}
	natsclient.Observe(i.service.Metrics, i.conn)
	i.service.Health.Register("nats", natsclient.Check(i.conn))
	allowed = always
	if !c.alone() {
		if i.etcd, err = etcd.Connect(c.Settings); err != nil {
			return nil, err
		}
		i.service.Health.Register("etcd", i.etcd.Check)
		allowed = mandateOf(i.etcd, events.Region(c.Region))
	}
	if i.metered, err = bus.NewMetrics(i.service.Metrics); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	i.bus = bus.NewJetStream(i.stream, i.metered)
	return allowed, nil
}

// dropped is the folder in which people put files; nil when there is none.
func (c *Config) dropped(ctx context.Context, pull *puller, datasets []models.Dataset) *dropped {
	if c.DropDir == "" {
		return nil
	}
	drop := &dropped{dir: c.DropDir, puller: pull}
	if names := drop.strangers(namesOf(datasets)); len(names) > 0 {
		slog.WarnContext(ctx, "folders of no dataset in OFITEC_DROP_DIR; nothing in them is taken", "folders", names)
	}
	return drop
}

// observationBytes is the room for observations on a bus that stands alone. Nobody makes any there, and a small disk need not set aside a region's.
const observationBytes = 64 << 20

// provision makes what the operator makes in the stack. The stream of observations is made for completeness: the ingest can do without.
func (i *ingest) provision(ctx context.Context) error {
	if !i.config.alone() {
		return nil
	}
	if _, err := bus.Provision(ctx, i.stream, bus.Setup{Replicas: 1, Streams: []string{events.StreamFacts, events.StreamJobs, events.StreamParked}}); err != nil {
		return fmt.Errorf("make streams: %w", err)
	}
	if _, err := i.stream.Stream(ctx, events.StreamHealth); !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	room := map[string]int64{events.StreamHealth: observationBytes}
	if _, err := bus.Provision(ctx, i.stream, bus.Setup{Replicas: 1, Streams: []string{events.StreamHealth}, MaxBytes: room}); err != nil {
		i.service.Log.WarnContext(ctx, "no stream for observations", "error", err)
	}
	return nil
}

func (i *ingest) close() {
	if i.conn != nil {
		natsclient.Drain(i.conn)
	}
	if i.etcd != nil {
		_ = i.etcd.Close() // nothing is under way
	}
}

// openStore opens the raw store; it does not ask an S3 server for anything yet.
func (c *Config) openStore() (store, error) {
	u, err := c.rawURL()
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return file.Open(u)
	}
	ca := c.S3.CAFile
	if ca == "" {
		ca = c.TLS.CA
	}
	return s3.Open(u, s3.Access{
		Endpoint: c.S3.Endpoint, Region: c.S3.Region, CAFile: ca, AccessKey: string(c.S3.AccessKey), SecretKey: string(c.S3.SecretKey), Spool: c.spoolDir(),
	})
}

// spoolDir is where pages wait for their upload: what is in it may be lost.
func (c *Config) spoolDir() string { return filepath.Join(c.ownDir(), "spool") }

// booksDir is where it stands what the raw files say that the source has; it may be lost, too.
func (c *Config) booksDir() string { return filepath.Join(c.ownDir(), "books") }

func (c *Config) ownDir() string {
	switch {
	case c.DataDir != "":
		return c.DataDir
	case c.Warehouse != "":
		return filepath.Join(c.Warehouse, "etl-ingest")
	}
	return filepath.Join(os.TempDir(), name)
}
