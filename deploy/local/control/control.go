// Package control is how the operator's command and the arbiters speak with the running stack: HTTP over Unix sockets, whose file modes are the authorisation.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// Stack is what the running stack offers to the operator. All methods may be called concurrently.
type Stack interface {
	Status() Status
	// Down asks the stack to stop; it returns before it has.
	Down()
	StopUnit(ctx context.Context, id string, signal syscall.Signal) error
	StartUnit(id string) error
	SignalUnit(id string, signal syscall.Signal) error
	Regions
}

// Status is the supervisor's part of `ofitec status`.
type Status struct {
	PID        int    `json:"pid"`
	Data       string `json:"data"`
	Namespaces bool   `json:"namespaces"`
	// CommitWitness and Strict are how the arbiters hold commits: none without their word, and in synchronous mode none without a standby.
	CommitWitness bool `json:"commit_witness,omitempty"`
	Strict        bool `json:"strict,omitempty"`

	Ready      bool               `json:"ready"`
	Pending    []string           `json:"pending"` // what is still being built or prepared
	Components []supervise.Status `json:"components"`
	Lost       map[string]Loss    `json:"lost,omitempty"` // by region
}

// ErrNotRunning says that no stack answers on the socket.
var ErrNotRunning = errors.New("the stack is not running")

type signalRequest struct {
	Signal int `json:"signal"`
}

type stopRequest struct {
	// Mode is PostgreSQL's way of stopping: smart, fast (default) or immediate.
	Mode string `json:"mode"`
}

// Handler serves the operator.
func Handler(stack Stack) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, stack.Status(), nil) })
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, _ *http.Request) {
		stack.Down()
		reply(w, struct{}{}, nil)
	})
	mux.HandleFunc("POST /v1/units/{region}/{name}/signal", func(w http.ResponseWriter, r *http.Request) {
		request, err := decode[signalRequest](r)
		if err == nil {
			err = stack.SignalUnit(unitID(r), syscall.Signal(request.Signal))
		}
		reply(w, struct{}{}, err)
	})
	serveRegions(mux, stack)
	return mux
}

// RegionHandler serves a region's arbiter: its own PostgreSQL and nothing else.
func RegionHandler(stack Stack, region string) http.Handler {
	id := region + "/postgres"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/units/postgres", func(w http.ResponseWriter, _ *http.Request) {
		for _, status := range stack.Status().Components {
			if status.Region == region && status.Name == "postgres" {
				reply(w, status, nil)
				return
			}
		}
		reply(w, nil, supervise.ErrUnknownUnit)
	})
	mux.HandleFunc("POST /v1/units/postgres/start", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, struct{}{}, stack.StartUnit(id))
	})
	mux.HandleFunc("POST /v1/units/postgres/stop", func(w http.ResponseWriter, r *http.Request) {
		request, err := decode[stopRequest](r)
		if err != nil {
			reply(w, nil, err)
			return
		}
		signal, ok := map[string]syscall.Signal{"": syscall.SIGINT, "fast": syscall.SIGINT, "smart": syscall.SIGTERM, "immediate": syscall.SIGQUIT}[request.Mode]
		if !ok {
			reply(w, nil, &badRequest{fmt.Sprintf("mode %q is not smart, fast or immediate", request.Mode)})
			return
		}
		reply(w, struct{}{}, stack.StopUnit(r.Context(), id, signal))
	})
	return mux
}

func unitID(r *http.Request) string { return r.PathValue("region") + "/" + r.PathValue("name") }

type badRequest struct{ problem string }

func (e *badRequest) Error() string { return e.problem }

func decode[T any](r *http.Request) (T, error) {
	var value T
	body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err != nil {
		return value, fmt.Errorf("read request: %w", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return value, nil
	}
	if err := json.Unmarshal(body, &value); err != nil {
		return value, &badRequest{"body: " + err.Error()}
	}
	return value, nil
}

func reply(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		code := http.StatusInternalServerError
		var bad *badRequest
		switch {
		case errors.Is(err, supervise.ErrUnknownUnit):
			code = http.StatusNotFound
		case errors.As(err, &bad):
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
		value = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value)
}

// Listen opens a socket of mode 0600 that belongs to owner, in place of one that an earlier run has left.
func Listen(path string, owner *supervise.Credential) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := net.Listen("unix", path) //nolint:noctx // making a socket takes no time
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	err = os.Chmod(path, 0o600)
	if err == nil && owner != nil {
		err = os.Chown(path, int(owner.UID), int(owner.GID))
	}
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	return listener, nil
}

// Client speaks with a running stack. It may be used concurrently.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the socket; nothing is connected yet.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 2 * time.Minute}}
}

// Status asks for the state of all components.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	return status, c.do(ctx, http.MethodGet, "/v1/status", nil, &status)
}

// Down asks the stack to stop.
func (c *Client) Down(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/down", nil, nil)
}

// Signal sends a signal to a unit and leaves it to the supervisor what follows.
func (c *Client) Signal(ctx context.Context, id string, signal syscall.Signal) error {
	return c.do(ctx, http.MethodPost, "/v1/units/"+id+"/signal", signalRequest{int(signal)}, nil)
}

func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://stack"+path, content)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return ErrNotRunning
		}
		return fmt.Errorf("ask the stack: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		var failed struct{ Error string }
		_ = json.NewDecoder(response.Body).Decode(&failed)
		return fmt.Errorf("the stack answers %d: %s", response.StatusCode, failed.Error)
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("decode the stack's answer: %w", err)
	}
	return nil
}
