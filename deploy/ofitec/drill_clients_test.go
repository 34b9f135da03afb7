package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

func TestTheTailIsToldByWhereClientsStand(t *testing.T) {
	region := func(name string, fresh int, at time.Time, silent int) *place {
		p := &place{name: name, fresh: fresh, lastStale: at}
		for n := range silent {
			p.silent[n] = true
		}
		return p
	}
	c := &clients{switched: after(10), places: []*place{
		region(placeOutside, 5, after(10.5), 0), region("a", 0, time.Time{}, 5), region("b", 5, after(9.99), 0), region("c", 4, after(10.9), 1),
	}}
	want := "outside 0.50 s, in region a none had an answer, in region b 0.00 s, in region c 0.90 s, 4 of 5 clients"
	if got := tailsText(c.tails()); !strings.HasSuffix(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
	if !c.allFresh() || !c.lastStale().Equal(after(10.9)) {
		t.Errorf("all fresh %v, the last at %s: who is cut off has no old address", c.allFresh(), c.lastStale())
	}
	if got := followed(c.tails(), "b"); !got.OK {
		t.Errorf("failed: %s", got.Detail)
	}
	if got := followed(c.tails(), "c"); got.OK {
		t.Error("a client in the survivor's own region has no answer, and all have followed")
	}
	c.places[2].fresh = 4
	if c.allFresh() || followed(c.tails(), "b").OK {
		t.Error("a client in region b has the old address, and all are fresh")
	}
	c.places[2].fresh, c.switched = 5, time.Time{}
	if c.allFresh() || c.tails()[0].Seconds != nil {
		t.Error("the name was never seen to be switched, and all are fresh")
	}
}

func TestOnLoopbackAClientOfARegionHasItsAddress(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := within(layout.Layout{Addressing: layout.Loopback()}, layout.B)(ctx, "udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if !strings.HasPrefix(conn.LocalAddr().String(), "127.0.0.12:") {
		t.Errorf("it speaks from %s", conn.LocalAddr())
	}
}
