// Package monitor asks the NATS server of the observer's own region what its JetStream holds, at its monitoring address. It has no metrics for Prometheus of its own.
package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Storage is what a server says of its JetStream.
type Storage struct {
	Serves        bool // JetStream is on; a server turns it off for good when its disk is full
	Stored, Limit int64
}

// Server is a NATS server by the base URL of its monitoring.
type Server struct {
	URL    string
	Client *http.Client
}

// maxAnswer is more than an answer without accounts has.
const maxAnswer = 1 << 20

// Look asks once.
func (s Server) Look(ctx context.Context) (Storage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/jsz", nil)
	if err != nil {
		return Storage{}, fmt.Errorf("ask NATS for its JetStream: %w", err)
	}
	response, err := s.Client.Do(request)
	if err != nil {
		return Storage{}, fmt.Errorf("ask NATS for its JetStream: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return Storage{}, fmt.Errorf("ask NATS for its JetStream: %s answers %d", s.URL, response.StatusCode)
	}
	var said struct {
		Disabled bool  `json:"disabled"`
		Storage  int64 `json:"storage"`
		Config   struct {
			MaxStorage int64 `json:"max_storage"`
		} `json:"config"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&said); err != nil {
		return Storage{}, fmt.Errorf("ask NATS for its JetStream: %w", err)
	}
	return Storage{Serves: !said.Disabled, Stored: said.Storage, Limit: said.Config.MaxStorage}, nil
}
