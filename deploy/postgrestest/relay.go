package postgrestest

import (
	"io"
	"net"
	"testing"
	"time"
)

// Relay stands in for a region's database proxy until the test ends: it hands connections on from the proxy's own address. It gives where it listens.
func (d *Database) Relay(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(d.ProxySource)}, Timeout: 20 * time.Second} // as slow as a starved machine
	target := d.Listen
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go hand(client, dialer, target)
		}
	}()
	return listener.Addr().String()
}

func hand(client net.Conn, dialer *net.Dialer, target string) {
	defer client.Close()
	server, err := dialer.Dial("tcp", target) //nolint:noctx // it ends with the listener's test
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(server, client); _ = server.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(client, server)
}
