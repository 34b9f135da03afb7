// Package dnsapi moves the public name as the earlier delivery did: POST {"ip": ...} to a URL, behind which somebody sees to the rest.
package dnsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
)

// Options say who is told.
type Options struct {
	URL       string
	TokenFile string         // holds a bearer token, read at each request; none is sent when empty
	Authority *dns.Authority // answers for the name
}

// API is told an address and nothing else: it can refuse no smaller epoch, and what it does is known only by asking the authoritative server. A stale leader's
// address stays until whoever compares Lookup with the state sends the right one again. It is safe for concurrent use.
type API struct {
	options Options
	client  *http.Client
}

var _ dns.Provider = (*API)(nil)

// New does not connect.
func New(o Options) *API {
	elsewhere := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &API{o, &http.Client{CheckRedirect: elsewhere}}
}

// Set implements dns.Provider, as far as an address goes.
func (a *API) Set(ctx context.Context, r dns.Record) error {
	if net.ParseIP(r.Address).To4() == nil {
		return fmt.Errorf("set %s: address %q is not IPv4", r.Name, r.Address)
	}
	if err := a.post(ctx, r.Address); err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	return nil
}

// Lookup implements dns.Provider.
func (a *API) Lookup(ctx context.Context, name string) (dns.Record, error) {
	return a.options.Authority.LookupAddress(ctx, name)
}

func (a *API) post(ctx context.Context, address string) error {
	body, err := json.Marshal(map[string]string{"ip": address})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.options.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the DNS API: %w", dns.WithoutAddress(err))
	}
	request.Header.Set("Content-Type", "application/json")
	if a.options.TokenFile != "" {
		token, err := dns.ReadToken(a.options.TokenFile)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the DNS API: %w", dns.WithoutAddress(err))
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)) // what it says is not relied on, and may hold anything
	switch {
	case response.StatusCode == http.StatusTooManyRequests:
		return &dns.BusyError{Provider: "the DNS API", For: rest(response.Header.Get("Retry-After"))}
	case response.StatusCode < 200 || response.StatusCode > 299:
		return fmt.Errorf("the DNS API answers %s", response.Status)
	}
	return nil
}

// rest is how long it wants to be left alone, within what a failover can bear.
func rest(after string) time.Duration {
	seconds, err := strconv.Atoi(after)
	if err != nil {
		return 5 * time.Second
	}
	return min(max(time.Duration(seconds)*time.Second, time.Second), 5*time.Minute)
}
