// Package odoo asks the two colours directly, beside the proxy: whether one is ready, and how it does what users would ask of it.
package odoo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// Requests are what the canary is asked.
type Requests struct {
	Health string   // path that answers 200 once the colour has logged in to its database
	Reads  []string // paths that read; $region and $version are replaced, as in Body
	Write  string   // path that takes a POST and commits it; empty when there is none
	Body   string   // what is posted, JSON
	Each   int      // how often each read is sent for one reading
}

// Colours are both instances of a region. It is safe for concurrent use.
type Colours struct {
	Region   string
	URLs     map[state.Colour]string
	Requests Requests
	client   *http.Client
}

// New names the colours.
func New(region string, urls map[state.Colour]string, requests Requests) *Colours {
	return &Colours{region, urls, requests, &http.Client{
		Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Ready asks for a colour's health once. Alive: it answered at all.
func (c *Colours) Ready(ctx context.Context, colour state.Colour) (alive, ready bool, reason string) {
	status, err := c.send(ctx, colour, http.MethodGet, c.Requests.Health, "")
	switch {
	case err != nil:
		return false, false, err.Error()
	case status != http.StatusOK:
		return true, false, fmt.Sprintf("%s answers %d", c.Requests.Health, status)
	}
	return true, true, ""
}

// Probe sends the requests to a colour: all reads, and the write where writes are wanted.
func (c *Colours) Probe(ctx context.Context, colour state.Colour, version int64, write bool) rollout.Probes {
	var p rollout.Probes
	once := func(method, path, body string) {
		began := time.Now()
		status, err := c.send(ctx, colour, method, path, body)
		p.Sent++
		p.Slowest = max(p.Slowest, time.Since(began))
		if err == nil && status < 400 {
			return
		}
		p.Failed++
		if p.Problem == "" {
			p.Problem = fmt.Sprintf("%s %s answers %d", method, path, status)
			if err != nil {
				p.Problem = fmt.Sprintf("%s %s: %v", method, path, err)
			}
		}
	}
	for range c.Requests.Each {
		for _, path := range c.Requests.Reads {
			once(http.MethodGet, c.fill(path, version), "")
		}
	}
	if write && c.Requests.Write != "" {
		once(http.MethodPost, c.Requests.Write, c.fill(c.Requests.Body, version))
	}
	return p
}

func (c *Colours) fill(text string, version int64) string {
	return strings.NewReplacer("$region", c.Region, "$version", fmt.Sprint(version)).Replace(text)
}

func (c *Colours) send(ctx context.Context, colour state.Colour, method, path, body string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URLs[colour], "/")+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("User-Agent", "ofitec-deployer")
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)); err != nil {
		return 0, err
	}
	return response.StatusCode, nil
}
