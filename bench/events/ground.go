package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// ground is an embedded server with file storage and the project's streams, and one connection to it, which all sides share.
type ground struct {
	folder string
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

// pending is how many asynchronous publications may be under way, for all sides.
const pending = 512

func open() (*ground, error) {
	folder, err := os.MkdirTemp("", "ofitec-bench-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	g := &ground{folder: folder}
	if err := g.start(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *ground) start() (err error) {
	if g.server, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: g.folder, NoLog: true, NoSigs: true}); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	g.server.Start()
	if !g.server.ReadyForConnections(10 * time.Second) {
		return errors.New("start server: not ready in 10 s")
	}
	if g.conn, err = nats.Connect(g.server.ClientURL()); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if g.js, err = jetstream.New(g.conn, jetstream.WithPublishAsyncMaxPending(pending)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if _, err = bus.Provision(context.Background(), g.js, bus.Setup{Replicas: 1, MaxBytes: map[string]int64{"HEALTH": 2 << 30}}); err != nil {
		return err
	}
	return nil
}

// fill stores count observations.
func (g *ground) fill(ctx context.Context, count int) error {
	if _, err := publishPlain(ctx, g, count, "fill", true); err != nil {
		return err
	}
	stream, err := g.js.Stream(ctx, events.StreamHealth)
	if err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	if stored := stream.CachedInfo().State.Msgs; stored != uint64(count) {
		return fmt.Errorf("fill stream: %d messages are stored, want %d", stored, count)
	}
	return nil
}

func (g *ground) close() {
	if g.conn != nil {
		g.conn.Close()
	}
	if g.server != nil {
		g.server.Shutdown()
		g.server.WaitForShutdown()
	}
	_ = os.RemoveAll(g.folder)
}
