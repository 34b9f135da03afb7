// Package health answers two questions about a service: is the process alive (/healthz), and can it work (/readyz).
// They are apart because an outage of the bus must not restart every service.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"
)

// DefaultDeadline is how long /readyz waits for its checks.
const DefaultDeadline = time.Second

// Check says why a part cannot work, or nil. It may be called by many goroutines at once and should return when ctx ends.
type Check func(ctx context.Context) error

// Health holds a service's checks. It is safe for concurrent use.
type Health struct {
	deadline time.Duration

	mu       sync.Mutex
	checks   map[string]Check
	notes    map[string]func() string
	draining bool
}

// New makes a Health without checks, which is ready. Each readiness answer is given within the deadline.
func New(deadline time.Duration) *Health {
	return &Health{deadline: deadline, checks: map[string]Check{}, notes: map[string]func() string{}}
}

// Register adds a check under a name, or replaces it.
func (h *Health) Register(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = check
}

// Note adds words to /readyz under a name, or replaces them. They are about what the service looks at and not about itself: it is ready all the same. An empty
// text is left out. The function may be called by many goroutines at once and must not wait.
func (h *Health) Note(name string, text func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes[name] = text
}

// Drain makes the service not ready for good: it is about to stop.
func (h *Health) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Report is what /readyz answers. Checks has "ok" or the error for each check.
type Report struct {
	Status string            `json:"status"` // ready, not ready, draining
	Checks map[string]string `json:"checks"`
	Notes  map[string]string `json:"notes,omitempty"`
}

// Ready runs all checks in parallel, each until the deadline.
func (h *Health) Ready(ctx context.Context) (Report, bool) {
	ctx, cancel := context.WithTimeout(ctx, h.deadline)
	defer cancel()
	h.mu.Lock()
	draining := h.draining
	results := make(map[string]chan error, len(h.checks))
	for name, check := range h.checks {
		result := make(chan error, 1)
		results[name] = result
		go func() { result <- check(ctx) }()
	}
	notes := maps.Clone(h.notes)
	h.mu.Unlock()

	report := Report{Status: "ready", Checks: map[string]string{}}
	for name, result := range results {
		if err := h.await(ctx, result); err != nil {
			report.Status = "not ready"
			report.Checks[name] = err.Error()
			continue
		}
		report.Checks[name] = "ok"
	}
	for name, text := range notes {
		if text := text(); text != "" {
			if report.Notes == nil {
				report.Notes = map[string]string{}
			}
			report.Notes[name] = text
		}
	}
	if draining {
		report.Status = "draining"
	}
	return report, report.Status == "ready"
}

// await prefers a result that is there to the end of the deadline.
func (h *Health) await(ctx context.Context, result <-chan error) error {
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return err
	default:
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", h.deadline)
	}
	return ctx.Err()
}

// ServeLive answers 200 while the process can answer at all.
func (h *Health) ServeLive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"alive"}` + "\n")) // the caller has gone when this fails
}

// ServeReady answers 200 when all checks pass, else 503; the body is a Report in both cases.
func (h *Health) ServeReady(w http.ResponseWriter, r *http.Request) {
	report, ready := h.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(report) // the caller has gone when this fails
}
