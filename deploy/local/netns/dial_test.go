package netns

import (
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// TestAConnectionIsMadeFromWithinARegion speaks from region b, and is cut off with it. It runs in a network namespace of its own, so that it meets no stack.
func TestAConnectionIsMadeFromWithinARegion(t *testing.T) {
	addressing, inside := regionsApart(t)
	if !inside {
		return
	}
	ctx := t.Context()
	ear := socketIn(t, layout.A, addressing.Region[layout.A]+":9")
	heard := func(within time.Duration) string {
		conn, err := Dial(ctx, layout.B, "udp", addressing.Region[layout.A]+":9")
		if err != nil {
			return "cannot dial: " + err.Error()
		}
		defer func() { _ = conn.Close() }()
		for range 2 { // the first one may wait for the neighbour's address
			_, _ = conn.Write([]byte("b"))
			_ = ear.SetReadDeadline(time.Now().Add(within))
			if _, from, err := ear.ReadFrom(make([]byte, 1)); err == nil {
				return from.String()
			}
		}
		return "nothing"
	}
	if from := heard(2 * time.Second); len(from) < 10 || from[:10] != addressing.Region[layout.B] {
		t.Errorf("region a hears %s, want region b's address", from)
	}
	if err := Cut(ctx, layout.B); err != nil {
		t.Fatal(err)
	}
	if from := heard(100 * time.Millisecond); from[:4] == "10.7" {
		t.Errorf("region b is cut off and is heard from %s", from)
	}
	if _, err := Dial(ctx, layout.Region("x"), "udp", addressing.Region[layout.A]+":9"); err == nil {
		t.Error("a connection from a region that is not there is made")
	}
}
