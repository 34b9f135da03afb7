// Package chassistest is for the tests of services: a real bus, the service as a real process, and what every service must do.
package chassistest

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATS runs a server with JetStream and no authentication on a free port and gives its URL; the test's end stops it.
func NATS(t testing.TB) string {
	t.Helper()
	return NATSAt(t, FreeAddr(t))
}

// NATSAt is NATS at a chosen host:port, for a server that comes late or comes back.
func NATSAt(t testing.TB, addr string) string {
	t.Helper()
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("run NATS at %s: %v", addr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatalf("run NATS at %s: %v", addr, err)
	}
	nats, err := server.NewServer(&server.Options{Host: host, Port: port, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatalf("make NATS server: %v", err)
	}
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS is not ready after 10 s")
	}
	return "nats://" + addr
}

var given sync.Map // addresses that FreeAddr has given

// FreeAddr is a host:port of the loopback at which nothing listens at the moment. It gives none twice: servers that share ports (SO_REUSEPORT) would
// both be there without a word.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("find a free port: %v", err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		if _, again := given.LoadOrStore(address, true); !again {
			return address
		}
	}
}
