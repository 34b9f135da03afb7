// Package supervisor asks the region's supervisor to stop and start PostgreSQL: the last resort of a fence. The local stack serves the socket (package
// deploy/local/control); in production it is a front of systemd.
package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Supervisor speaks HTTP over a Unix socket, whose mode is the authorisation. It is safe for concurrent use; deadlines are the context's.
type Supervisor struct{ client *http.Client }

// New names a supervisor by its socket.
func New(socket string) *Supervisor {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Supervisor{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: time.Minute}}
}

// StopImmediately ends PostgreSQL and all its descendants, and returns when they are gone. It stays down until Start.
func (s *Supervisor) StopImmediately(ctx context.Context) error {
	return s.post(ctx, "stop", map[string]string{"mode": "immediate"})
}

// Start starts PostgreSQL, as its files say: fenced, or as a standby. It does nothing to one that runs.
func (s *Supervisor) Start(ctx context.Context) error { return s.post(ctx, "start", nil) }

func (s *Supervisor) post(ctx context.Context, verb string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s PostgreSQL: %w", verb, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://supervisor/v1/units/postgres/"+verb, bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%s PostgreSQL: %w", verb, err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s PostgreSQL: %w", verb, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1024)) // only for the message
		return fmt.Errorf("%s PostgreSQL: the supervisor answers %d: %s", verb, response.StatusCode, bytes.TrimSpace(said))
	}
	return nil
}
