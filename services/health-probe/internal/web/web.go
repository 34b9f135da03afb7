// Package web asks a region's Odoo for its health, through the region's own web proxy.
package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
	"github.com/ofitec/ofitec/services/health-probe/internal/reach"
)

// regionHeader is what the web proxy says about where an answer comes from: /web/health is served by the region's own Odoo whichever region is active.
const regionHeader = "X-Ofitec-Region"

const readAtMost = 4 << 10

// Odoo is one region's, behind its proxy. It is safe for concurrent use.
type Odoo struct {
	region events.Region
	url    string
	client *http.Client
}

// New names a region's Odoo by the URL of its health page.
func New(region events.Region, url string) *Odoo {
	// A connection a request, as users do who come anew: an open one would hide a door that has closed.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{KeepAlive: -1}).DialContext, ResponseHeaderTimeout: 10 * time.Second}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Odoo{region, url, &http.Client{Transport: transport, CheckRedirect: refuse}}
}

// Look asks once, until ctx ends.
func (o *Odoo) Look(ctx context.Context) observation.Result {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		return observation.Unknown("make request: " + reach.Words(err))
	}
	response, err := o.client.Do(request)
	if err != nil {
		return reach.Blame(err)
	}
	defer func() { _ = response.Body.Close() }()
	if from := response.Header.Get(regionHeader); from != "" && from != string(o.region) {
		return observation.Unknown(fmt.Sprintf("region %s answered in place of %s", from, o.region))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, readAtMost))
	if err != nil {
		return reach.Blame(err)
	}
	if response.StatusCode != http.StatusOK {
		return observation.Failed(fmt.Sprintf("answers %d", response.StatusCode))
	}
	result := observation.OK()
	result.Reads = reads(body)
	return result
}

// reads says whether the page names a database that answers. Odoo's own page does not look at the database; then nothing is proven.
func reads(body []byte) bool {
	var page struct {
		Database string `json:"database"`
	}
	return json.Unmarshal(body, &page) == nil && page.Database != "" && page.Database != "away"
}
