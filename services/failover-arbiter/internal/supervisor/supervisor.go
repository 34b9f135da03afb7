// Package supervisor asks the region's supervisor to stop and start PostgreSQL: as the last resort of a fence, for a switchover and around a rejoin. The local
// stack serves the socket (package deploy/local/control); in production it is a front of systemd.
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

// StopFast ends all sessions, writes the shutdown checkpoint, sends it to the standby that is connected, and returns when PostgreSQL is gone. It stays down until Start.
func (s *Supervisor) StopFast(ctx context.Context) error {
	return s.post(ctx, "stop", map[string]string{"mode": "fast"})
}

// Status is what the supervisor knows about PostgreSQL's process.
type Status struct {
	State  string `json:"state"` // stopped, starting, ready, back-off or held
	Reason string `json:"reason"`
}

// Ready is the state of a process that was seen to answer.
const Ready = "ready"

// Restarting says whether PostgreSQL runs or will run without anybody's doing: it is starting, or about to be started again.
func (s Status) Restarting() bool { return s.State == "starting" || s.State == "back-off" }

// Down says whether no process runs, and none will by itself.
func (s Status) Down() bool { return s.State == "stopped" || s.State == "held" }

// Status asks how PostgreSQL's process is.
func (s *Supervisor) Status(ctx context.Context) (Status, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://supervisor/v1/units/postgres", nil)
	if err != nil {
		return Status{}, fmt.Errorf("ask for PostgreSQL's status: %w", err)
	}
	answer, err := s.do(request)
	if err != nil {
		return Status{}, fmt.Errorf("ask for PostgreSQL's status: %w", err)
	}
	var status Status
	if err := json.Unmarshal(answer, &status); err != nil {
		return Status{}, fmt.Errorf("ask for PostgreSQL's status: %w", err)
	}
	return status, nil
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
	if _, err := s.do(request); err != nil {
		return fmt.Errorf("%s PostgreSQL: %w", verb, err)
	}
	return nil
}

func (s *Supervisor) do(request *http.Request) ([]byte, error) {
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the supervisor answers %d: %s", response.StatusCode, bytes.TrimSpace(said))
	}
	return said, err
}
