// Package supervisor asks the region's supervisor to write the colours' environment files and to start them anew. The local stack serves the socket
// (package deploy/local/control): the files belong to Odoo's user alone, and this process may not even read them.
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

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
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

// Restart stops a colour, waits until it is gone, and starts it.
func (s *Supervisor) Restart(ctx context.Context, colour state.Colour) error {
	return s.post(ctx, colour, "restart", nil)
}

// Write changes a colour's environment file; what the edit takes comes from the other colour's.
func (s *Supervisor) Write(ctx context.Context, colour state.Colour, edit dotenv.Edit) error {
	return s.post(ctx, colour, "render", edit)
}

func (s *Supervisor) post(ctx context.Context, colour state.Colour, verb string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s odoo-%s: %w", verb, colour, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://supervisor/v1/units/odoo-"+string(colour)+"/"+verb, bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%s odoo-%s: %w", verb, colour, err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s odoo-%s: %w", verb, colour, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(response.Body, 2048)) // only for the message
	var answer struct{ Error string }
	if json.Unmarshal(said, &answer) != nil {
		answer.Error = string(bytes.TrimSpace(said))
	}
	if response.StatusCode == http.StatusUnprocessableEntity {
		return &dotenv.Refused{File: "of odoo-" + string(colour), Reason: answer.Error}
	}
	return fmt.Errorf("%s odoo-%s: the supervisor answers %d: %s", verb, colour, response.StatusCode, answer.Error)
}
