// Package arbiter asks the region's arbiter which role the region has.
package arbiter

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// Arbiter is asked by its URL; the empty URL stands for a site of one region, which is always active. It is safe for concurrent use.
type Arbiter struct {
	url    string
	client *http.Client
}

// New names an arbiter.
func New(url string) *Arbiter {
	return &Arbiter{strings.TrimRight(url, "/"), &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Role is active while the region holds the mandate, standby while its database follows another; otherwise the problem says what was answered.
func (a *Arbiter) Role(ctx context.Context) (role rollout.Role, problem string) {
	if a.url == "" {
		return rollout.Active, ""
	}
	active, first := a.yes(ctx, "/mandate")
	if active {
		return rollout.Active, ""
	}
	standby, second := a.yes(ctx, "/standby")
	if standby {
		return rollout.Standby, ""
	}
	return rollout.Between, first + ", " + second
}

func (a *Arbiter) yes(ctx context.Context, path string) (bool, string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return false, err.Error()
	}
	response, err := a.client.Do(request)
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096)) // only the status counts
	return response.StatusCode == http.StatusOK, fmt.Sprintf("%s answers %d", path, response.StatusCode)
}
