package etcd_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// cable is a TCP path to a server that can be pulled: bytes then go nowhere and nobody is told, as when a region is cut off.
type cable struct {
	url string

	mu      sync.Mutex
	pulled  bool
	plugged int // connections so far
}

func newCable(t *testing.T, server string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	c := &cable{url: "http://" + listener.Addr().String()}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.plugged++
			c.mu.Unlock()
			far, err := net.Dial("tcp", strings.TrimPrefix(server, "http://"))
			if err != nil {
				_ = near.Close()
				continue
			}
			go c.carry(far, near)
			go c.carry(near, far)
		}
	}()
	return c
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
}

func (c *cable) connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plugged
}

func (c *cable) carry(to io.WriteCloser, from io.Reader) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		c.mu.Lock()
		gone := c.pulled
		c.mu.Unlock()
		if gone {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
