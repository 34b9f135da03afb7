package bus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// TestAStreamThatWasSilentIsWellAgainWithoutAMessage holds the bytes between client and server back for a while: on a work queue the next message may come in hours.
func TestAStreamThatWasSilentIsWellAgainWithoutAMessage(t *testing.T) {
	server, operator := serve(t)
	if _, err := bus.Provision(t.Context(), operator, small); err != nil {
		t.Fatal(err)
	}
	var stalled sync.Mutex // held while nothing passes
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server.ConnectedAddr())
			if err != nil {
				client.Close()
				return
			}
			go func() { _, _ = io.Copy(upstream, client) }()
			go func() {
				defer client.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := upstream.Read(buffer)
					stalled.Lock()
					_, writing := client.Write(buffer[:n])
					stalled.Unlock()
					if err != nil || writing != nil {
						return
					}
				}
			}()
		}
	}()
	conn, err := nats.Connect("nats://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = bus.NewJetStream(js, nil).Consume(ctx, bus.Consumer{ // ends with ctx
			Service: events.ServiceRotator, Region: "a", Stream: events.StreamJobs, Create: true, OnState: func(err error) { states <- err },
		}, func(context.Context, bus.Delivery) error { return nil })
	}()
	await := func(what string, wanted func(error) bool) {
		t.Helper()
		for limit := time.After(30 * time.Second); ; {
			select {
			case err := <-states:
				if wanted(err) {
					return
				}
			case <-limit:
				t.Fatalf("not within 30 s: %s", what)
			}
		}
	}
	well := func(err error) bool { return err == nil }
	await("it reads", well)
	stalled.Lock()
	await("it misses the heartbeats", func(err error) bool { return errors.Is(err, jetstream.ErrNoHeartbeat) })
	stalled.Unlock()
	await("it is well again", well)
	cancel()
	<-done
}
