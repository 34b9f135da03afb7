package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// load is users: reads and writes through the web proxies of both regions, each a request of its own, until it is stopped.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	requests int
	failures []string
}

// startLoad sends about 40 requests a second: half of them write, half of them enter through the region that only forwards.
func (s *stack) startLoad(name string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for n, r := range []layout.Region{layout.A, layout.B, layout.A, layout.B} {
		l.done.Go(func() {
			ticker := time.NewTicker(100 * time.Millisecond)
			defer ticker.Stop()
			for seq := 1; ctx.Err() == nil; seq++ {
				var err error
				if n < 2 {
					err = s.write(r, fmt.Sprintf("%s-%d", name, n), seq)
				} else {
					err = s.read(r)
				}
				l.count(err)
				select {
				case <-ctx.Done():
				case <-ticker.C:
				}
			}
		})
	}
	return l
}

func (s *stack) read(r layout.Region) error {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(s.url(r, layout.PortWebProxy, "/of/ledger?writer=nobody"))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /of/ledger: %d %s", response.StatusCode, answer)
	}
	return nil
}

func (l *load) count(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if err != nil {
		l.failures = append(l.failures, time.Now().Format(time.StampMilli)+" "+err.Error())
	}
}

// stop ends the load and reports what failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.done.Wait()
	t.Logf("%d requests, %d failed", l.requests, len(l.failures))
	if l.requests < 50 {
		t.Errorf("%d requests are no load", l.requests)
	}
	for n, failure := range l.failures {
		if n == 5 {
			t.Errorf("... and %d more", len(l.failures)-n)
			break
		}
		t.Errorf("request failed: %s", failure)
	}
}
