package main

import (
	"context"
	"sync"
	"time"
)

// How the name is watched: the authoritative server all the time, and as many clients as keep an answer for its whole time to live, each with another phase.
const (
	digEvery       = 50 * time.Millisecond
	digTimeout     = 500 * time.Millisecond
	cachingClients = 5
	cacheFor       = time.Second // the local stack's TTL
)

// clients watch where a name leads.
type clients struct {
	want   string
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu        sync.Mutex
	switched  time.Time // when the authoritative server answered with the new address first
	lastStale time.Time // when the last caching client got it
	fresh     int
	last      string // newest answer; a question that the end of the watch cut off is none
}

// startClients begins to watch; want is the address that the name is to get.
func startClients(ctx context.Context, server, want string) *clients {
	ctx, cancel := context.WithCancel(ctx)
	c := &clients{want: want, cancel: cancel}
	c.wait.Go(func() {
		every(ctx, digEvery, func() bool {
			address, err := c.ask(ctx, server)
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
	for n := range cachingClients {
		c.wait.Go(func() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(n) * cacheFor / cachingClients):
			}
			every(ctx, cacheFor, func() bool {
				address, err := c.ask(ctx, server)
				if err != nil || address != want {
					return false
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				c.fresh++
				c.lastStale = time.Now()
				return true
			})
		})
	}
	return c
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

func (c *clients) ask(ctx context.Context, server string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, digTimeout)
	defer cancel()
	return lookup(ctx, server)
}

// allFresh says whether every client has the new address.
func (c *clients) allFresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.switched.IsZero() && c.fresh == cachingClients
}

func (c *clients) stop() {
	c.cancel()
	c.wait.Wait()
}
