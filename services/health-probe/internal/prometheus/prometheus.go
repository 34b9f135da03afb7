// Package prometheus reads a region's gates from the region's own Prometheus.
package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
	"github.com/ofitec/ofitec/services/health-probe/internal/reach"
)

const readAtMost = 64 << 10

// Server is one region's. It is safe for concurrent use.
type Server struct {
	url    string
	client *http.Client
}

// New names a server by its base URL; region is the label of the series.
func New(region events.Region, base string) *Server {
	transport := &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second}
	return &Server{strings.TrimRight(base, "/") + "/api/v1/query?query=" + url.QueryEscape(query(region)), &http.Client{Transport: transport}}
}

// query is one request for all parts, so that they are of one moment. The last part gets a label of its own, for "or" leaves out what has the same labels
// as something on its left, whatever its name.
func query(region events.Region) string {
	return fmt.Sprintf(`{__name__=~"gate:healthy|odoo:p95_5m|odoo:error_rate_5m|db:replication_lag_seconds",region=%q} or label_replace(max by (region) (up{job="odoo",region=%q}), "part", "odoo_up", "", "")`, region, region)
}

// Look asks once, until ctx ends. It is ok when Prometheus answered, whatever the readings are.
func (s *Server) Look(ctx context.Context) observation.Result {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return observation.Unknown("make request: " + reach.Words(err))
	}
	response, err := s.client.Do(request)
	if err != nil {
		return reach.Blame(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, readAtMost))
	if err != nil {
		return reach.Blame(err)
	}
	if response.StatusCode != http.StatusOK {
		return observation.Failed(fmt.Sprintf("answers %d", response.StatusCode))
	}
	readings, err := parse(body)
	if err != nil {
		return observation.Unknown(reach.Words(err))
	}
	result := observation.OK()
	result.Readings = readings
	return result
}

// answer is Prometheus's for an instant query.
type answer struct {
	Status string `json:"status"`
	Data   struct {
		Result []struct {
			Metric map[string]string  `json:"metric"`
			Value  [2]json.RawMessage `json:"value"`
		} `json:"result"`
	} `json:"data"`
}

// parse finds each part; one that comes twice is as good as none.
func parse(body []byte) (*observation.Readings, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if a.Status != "success" {
		return nil, fmt.Errorf("read answer: status %q", a.Status)
	}
	r := &observation.Readings{}
	places := map[string]**float64{
		"gate:healthy": &r.Healthy, "odoo:p95_5m": &r.P95, "odoo:error_rate_5m": &r.ErrorRate, "db:replication_lag_seconds": &r.ReplicationLag, "odoo_up": &r.OdooUp,
	}
	times := map[string]int{}
	for _, series := range a.Data.Result {
		name := series.Metric["__name__"]
		if name == "" {
			name = series.Metric["part"]
		}
		place, known := places[name]
		if !known {
			continue
		}
		if times[name]++; times[name] > 1 {
			*place = nil
			continue
		}
		var text string
		if err := json.Unmarshal(series.Value[1], &text); err != nil {
			return nil, fmt.Errorf("read answer: value of %q: %w", name, err)
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read answer: value of %q: %w", name, err)
		}
		*place = &value
	}
	return r, nil
}
