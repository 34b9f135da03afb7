package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// How the name is watched: the authoritative server all the time, and from each place as many clients as keep an answer for its whole time to live, each with
// another phase.
const (
	digEvery       = 50 * time.Millisecond
	digTimeout     = 500 * time.Millisecond
	cachingClients = 5
	cacheFor       = time.Second // the local stack's TTL
)

// placeOutside is where users stand; the other places are the regions.
const placeOutside = "outside"

// clients watch where a name leads.
type clients struct {
	want   string
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	switched time.Time // when the authoritative server answered with the new address first
	last     string    // newest answer; a question that the end of the watch cut off is none
	places   []*place  // outside first, then the regions
}

// place is what the clients at one place have.
type place struct {
	name      string
	fresh     int // clients that have the new address
	silent    [cachingClients]bool
	lastStale time.Time // when the last one got it
}

// staleTail is how long the clients at a place still had the old address.
type staleTail struct {
	From    string   `json:"from"` // outside, or the region whose network they are in
	Clients int      `json:"clients"`
	Fresh   int      `json:"fresh"`              // have the new address
	Silent  int      `json:"silent"`             // had no answer to their last question: cut off
	Seconds *float64 `json:"last_stale_seconds"` // from the authoritative server's first new answer to the last of them that got it; null when none has
}

// startClients begins to watch; want is the address that the name is to get.
func startClients(ctx context.Context, l layout.Layout, want string) *clients {
	server := fmt.Sprintf("%s:%d", l.Addressing.Outside, layout.PortDNS)
	ctx, cancel := context.WithCancel(ctx)
	c := &clients{want: want, cancel: cancel}
	c.wait.Go(func() {
		every(ctx, digEvery, func() bool {
			address, err := ask(ctx, outside, server)
			c.mu.Lock()
			defer c.mu.Unlock()
			if err != nil {
				return false
			}
			if c.last = address; address == want && c.switched.IsZero() {
				c.switched = time.Now()
			}
			return false
		})
	})
	c.startAt(ctx, placeOutside, outside, server)
	for _, r := range layout.Regions {
		c.startAt(ctx, string(r), within(l, r), server)
	}
	return c
}

// startAt lets clients ask from a place.
func (c *clients) startAt(ctx context.Context, name string, dial dialer, server string) {
	p := &place{name: name}
	c.places = append(c.places, p)
	for n := range cachingClients {
		c.wait.Go(func() {
			pause(ctx, time.Duration(n)*cacheFor/cachingClients)
			every(ctx, cacheFor, func() bool {
				address, err := ask(ctx, dial, server)
				if ctx.Err() != nil {
					return true
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if p.silent[n] = err != nil; err != nil || address != c.want {
					return false
				}
				p.fresh++
				p.lastStale = time.Now()
				return true
			})
		})
	}
}

// every calls step at once and then at intervals, until it is done or ctx ends.
func every(ctx context.Context, interval time.Duration, step func() (done bool)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil && !step() {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func ask(ctx context.Context, dial dialer, server string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, digTimeout)
	defer cancel()
	return lookupFrom(ctx, dial, server)
}

// allFresh says whether every client has the new address. Those of a region that is cut off have none at all.
func (c *clients) allFresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.switched.IsZero() {
		return false
	}
	for _, p := range c.places {
		if p.fresh+p.unanswered() < cachingClients {
			return false
		}
	}
	return true
}

func (p *place) unanswered() int {
	n := 0
	for _, silent := range p.silent {
		if silent {
			n++
		}
	}
	return n
}

// lastStale is when the last client of all got the new address.
func (c *clients) lastStale() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := time.Time{}
	for _, p := range c.places {
		if p.lastStale.After(last) {
			last = p.lastStale
		}
	}
	return last
}

// tails are the places one by one.
func (c *clients) tails() []staleTail {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []staleTail
	for _, p := range c.places {
		tail := staleTail{From: p.name, Clients: cachingClients, Fresh: p.fresh, Silent: p.unanswered()}
		if !p.lastStale.IsZero() && !c.switched.IsZero() {
			late := seconds(max(0, p.lastStale.Sub(c.switched))) // asked in the same moment, it may be answered before the watch is
			tail.Seconds = &late
		}
		all = append(all, tail)
	}
	return all
}

// followed demands that everybody who had an answer has the new address, the survivor's own region among them.
func followed(tails []staleTail, survivor layout.Region) check {
	ok := len(tails) > 0
	for _, tail := range tails {
		ok = ok && tail.Fresh+tail.Silent >= tail.Clients && (tail.From != string(survivor) || tail.Fresh == tail.Clients)
	}
	return check{"clients outside and in every region have the new address", ok, tailsText(tails)}
}

// tailsText says them in a line.
func tailsText(tails []staleTail) string {
	var said []string
	for _, tail := range tails {
		from := tail.From
		if from != placeOutside {
			from = "in region " + from
		}
		switch {
		case tail.Seconds == nil && tail.Silent > 0:
			said = append(said, from+" none had an answer")
		case tail.Seconds == nil:
			said = append(said, from+" none has it")
		case tail.Fresh < tail.Clients:
			said = append(said, fmt.Sprintf("%s %.2f s, %d of %d clients", from, *tail.Seconds, tail.Fresh, tail.Clients))
		default:
			said = append(said, fmt.Sprintf("%s %.2f s", from, *tail.Seconds))
		}
	}
	return "last client with the old address, after the authoritative server had the new one: " + strings.Join(said, ", ")
}

func (c *clients) stop() {
	c.cancel()
	c.wait.Wait()
}
