// Package cloudflare keeps the public name in a zone of Cloudflare, by version 4 of its API (protocol.md, DNS).
package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
)

// Options say which zone and who asks.
type Options struct {
	ZoneID    string
	TokenFile string         // holds an API token with the permission DNS Write for the zone; read at each request
	Authority *dns.Authority // answers for the zone
	URL       string         // of the API; Cloudflare's when empty
}

// Zone is a zone. It is safe for concurrent use.
//
// The API has no compare-and-swap. An epoch that stands there is looked at before it is written, and what is written over is named by its id, of which Cloudflare
// says that all is done in one transaction; but nothing keeps two writers apart who both find nothing, and the servers take the changes over one by one.
// A stale leader that gets between is corrected by whoever compares Lookup with the state.
type Zone struct {
	*dns.Authority
	options Options
	client  *http.Client
}

var _ dns.Provider = (*Zone)(nil)

const api = "https://api.cloudflare.com/client/v4"

// New does not connect.
func New(o Options) *Zone {
	if o.URL == "" {
		o.URL = api
	}
	elsewhere := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Zone{o.Authority, o, &http.Client{CheckRedirect: elsewhere}}
}

// record is one of the API's.
type record struct {
	ID      string `json:"id,omitempty"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Content string `json:"content"`
	TTL     int    `json:"ttl"`
	Proxied bool   `json:"proxied"`
}

type identifier struct {
	ID string `json:"id"`
}

// batch is carried out in this order.
type batch struct {
	Deletes []identifier `json:"deletes,omitempty"`
	Puts    []record     `json:"puts,omitempty"`
	Posts   []record     `json:"posts,omitempty"`
}

// Set implements dns.Provider.
func (z *Zone) Set(ctx context.Context, r dns.Record) error {
	if net.ParseIP(r.Address).To4() == nil {
		return fmt.Errorf("set %s: address %q is not IPv4", r.Name, r.Address)
	}
	name := strings.TrimSuffix(r.Name, ".")
	epochs, err := z.list(ctx, dns.EpochName(name), "TXT")
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	addresses, err := z.list(ctx, name, "A")
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	var seen events.Epoch
	for _, e := range epochs {
		epoch, err := dns.ParseEpoch(name, strings.Trim(e.Content, `"`)) // older records stand there without quotes
		if err != nil {
			return fmt.Errorf("set %s: %w", r.Name, err)
		}
		seen = max(seen, epoch)
	}
	if r.Epoch < seen {
		return fmt.Errorf("set %s: %w", r.Name, &dns.SmallerError{Asked: r.Epoch, Seen: seen})
	}
	seconds := int(r.TTL / time.Second)
	a := record{Type: "A", Name: name, Content: r.Address, TTL: seconds} // not proxied: clients are to have this address
	txt := record{Type: "TXT", Name: dns.EpochName(name), Content: strconv.Quote(strconv.FormatUint(uint64(r.Epoch), 10)), TTL: seconds}
	if len(epochs) == 1 && seen == r.Epoch && len(addresses) == 1 && addresses[0].is(a) {
		return nil
	}
	if err := z.write(ctx, replace(epochs, addresses, txt, a)); err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	return nil
}

func (r record) is(want record) bool {
	return r.Content == want.Content && r.TTL == want.TTL && r.Proxied == want.Proxied
}

// replace deletes each epoch that was read by its id, so that a batch fails whose writer has read another.
func replace(epochs, addresses []record, txt, a record) batch {
	b := batch{Posts: []record{txt}}
	for _, e := range epochs {
		b.Deletes = append(b.Deletes, identifier{e.ID})
	}
	if len(addresses) == 0 {
		b.Posts = append(b.Posts, a)
		return b
	}
	a.ID = addresses[0].ID
	b.Puts = []record{a}
	for _, other := range addresses[1:] {
		b.Deletes = append(b.Deletes, identifier{other.ID})
	}
	return b
}

func (z *Zone) list(ctx context.Context, name, kind string) ([]record, error) {
	var found []record
	query := url.Values{"name": {name}, "type": {kind}, "per_page": {"100"}}
	if err := z.call(ctx, http.MethodGet, "dns_records?"+query.Encode(), nil, &found); err != nil {
		return nil, fmt.Errorf("list %s %s: %w", name, kind, err)
	}
	return slices.DeleteFunc(found, func(r record) bool { return r.Type != kind || !strings.EqualFold(r.Name, name) }), nil
}

func (z *Zone) write(ctx context.Context, b batch) error {
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return z.call(ctx, http.MethodPost, "dns_records/batch", body, nil)
}

// call gives the result of one request.
func (z *Zone) call(ctx context.Context, method, path string, body []byte, result any) error {
	token, err := dns.ReadToken(z.options.TokenFile)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, z.options.URL+"/zones/"+url.PathEscape(z.options.ZoneID)+"/"+path, bytes.NewReader(body))
	if err != nil {
		return dns.WithoutAddress(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := z.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask Cloudflare: %w", dns.WithoutAddress(err))
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("ask Cloudflare: %w", err)
	}
	return read(response, content, result)
}
