package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/bustest"
)

// serve starts a NATS server with JetStream in the test's own folder and connects to it.
func serve(t *testing.T) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return conn, js
}

// small keeps the streams' reservations below what a test machine has.
var small = bus.Setup{Replicas: 1, MaxBytes: map[string]int64{"HEALTH": 64 << 20}}

type onServer struct {
	*bus.JetStream
	js jetstream.JetStream
}

func (b onServer) Store(ctx context.Context, subject string, header map[string][]string, data []byte) (bus.Receipt, error) {
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: data})
	if err != nil {
		return bus.Receipt{}, err
	}
	return bus.Receipt{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

func TestJetStreamPassesTheSuite(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Bus {
		_, js := serve(t)
		if _, err := bus.Provision(t.Context(), js, small); err != nil {
			t.Fatal(err)
		}
		return onServer{bus.NewJetStream(js, nil), js}
	})
}

func TestTheMemoryBusPassesTheSuite(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Bus { return bus.NewMemory() })
}
