package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/announce"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/export"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/ledger"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/schema"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/settings"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/web"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/writer"
	"github.com/ofitec/ofitec/models"
)

// drain is how long requests may take to end after SIGTERM.
const drain = 10 * time.Second

func load(file string) (settings.Settings, error) { return settings.Load(file) }

// run serves until ctx ends. The database being away is no reason to end, a port in use is.
func run(ctx context.Context, s settings.Settings, log *slog.Logger) error {
	// The datasets are those built in: the tables are made for them.
	m, err := models.Open("")
	if err != nil {
		return fmt.Errorf("load models: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen on ODOO_ADDR %s: %w", s.Addr, err)
	}
	// Actors end when work ends, which is after the last request did.
	work, finish := context.WithCancel(context.WithoutCancel(ctx))
	defer finish()
	db, err := database.Open(work, s)
	if err != nil {
		_ = listener.Close()
		return err
	}
	metrics := web.NewMetrics(s.Colour, db)
	site := &web.Site{
		Database: db, Metrics: metrics, Token: s.ExportToken, Master: s.MasterPassword.Reveal(), Timeout: s.QueryTimeout, Log: log,
		Export: &export.Exporter{Models: m, Database: db, Log: log},
		Ledger: &ledger.Ledger{Database: db, Region: s.Region, Colour: s.Colour, Log: log},
	}
	server := &http.Server{Handler: site.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute}
	var actors sync.WaitGroup
	actors.Go(func() { db.Watch(work) })
	actors.Go(func() { prepare(work, db, s, log) })
	if s.Writer {
		heard := observer{Metrics: metrics}
		if len(s.AnnounceURLs) > 0 {
			heard.announcer = &announce.Announcer{URLs: s.AnnounceURLs, SecretFile: s.WebhookSecretFile, Dataset: "invoice", Every: s.AnnounceEvery, Log: log}
			actors.Go(func() { heard.announcer.Run(work) })
		}
		w := &writer.Writer{Pool: db.Actor(), Seed: s.Seed, Every: s.WriterInterval, Long: s.LongTransaction, LongEvery: s.LongTransactionEvery,
			Poll: s.PollInterval, Observer: heard, Log: log}
		actors.Go(func() { w.Run(work) })
	}
	if s.SelfTraffic > 0 {
		actors.Go(func() { web.Visit(ctx, "http://"+listener.Addr().String()+"/web/health", s.SelfTraffic) })
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("serving", "addr", listener.Addr().String())
	select {
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		closing, cancel := context.WithTimeout(work, drain)
		defer cancel()
		if shut := server.Shutdown(closing); shut != nil {
			log.Warn("requests did not end in time", "error", shut)
		}
	}
	finish()
	actors.Wait()
	db.Close()
	return err
}

// observer counts what the writer does, and has changed invoices announced.
type observer struct {
	*web.Metrics
	announcer *announce.Announcer // nil: nobody is told
}

// Done tells one transaction's end.
func (o observer) Done(kind string, err error) {
	o.Metrics.Done(kind, err)
	if o.announcer != nil && err == nil && strings.HasSuffix(kind, "_invoice") {
		o.announcer.Note()
	}
}

// prepare makes tables and first rows as soon as the database takes writes, and tries again until that worked. A database
// that stays read-only gets them from its primary.
func prepare(ctx context.Context, db *database.Database, s settings.Settings, log *slog.Logger) {
	seeding := schema.Seeding{Seed: s.Seed, Scale: s.Scale}
	if s.SeedDate != "" {
		seeding.Day, _ = time.Parse(time.DateOnly, s.SeedDate) // checked when it was loaded
	}
	ticker := time.NewTicker(s.PollInterval)
	defer ticker.Stop()
	for {
		if db.State() == database.Writable {
			report, err := schema.Prepare(ctx, db.Actor(), seeding)
			if err == nil {
				log.Info("database is prepared", "migrated", report.Migrated, "seeded", report.Seeded, "rows", report.Rows)
				return
			}
			log.Warn("cannot prepare the database yet", "error", err)
			ticker.Reset(max(s.PollInterval, time.Second))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
