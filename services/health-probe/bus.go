package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/ofitec/ofitec/services/health-probe/internal/monitor"
)

// How often the region's NATS server is asked what it holds, and how long it may take.
const (
	storageEvery   = 5 * time.Second
	storageTimeout = 2 * time.Second
)

// watchBus tells what the region's own NATS server holds, until ctx ends. It decides nothing: it is for whoever has to give the bus room in time.
func watchBus(ctx context.Context, url string, m *metrics, log *slog.Logger) error {
	server, silent := monitor.Server{URL: url, Client: &http.Client{}}, false
	ticker := time.NewTicker(storageEvery)
	defer ticker.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, storageTimeout)
		storage, err := server.Look(limited)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if (err != nil) != silent {
			silent = err != nil
			log.Info("the region's NATS server tells what it holds", "yes", !silent, "error", err)
		}
		m.stores(storage, err == nil)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
