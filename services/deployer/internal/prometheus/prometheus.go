// Package prometheus asks Prometheus for the gates' figures of one colour.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// Queries are the gates. $colour, $region and $window are replaced. Each gives one series, or none when it has nothing to go by.
type Queries struct{ Up, ErrorRate, P95 string }

// Standard are the queries for what an Odoo of this project exports; the label colour is given by Prometheus's own configuration.
func Standard() Queries {
	const series = `{region="$region",colour="$colour",route!="/metrics"`
	count := func(more string) string {
		return `sum(rate(odoo_http_request_duration_seconds_count` + series + more + `}[$window]))`
	}
	return Queries{
		Up:        `min(up{job="odoo",region="$region",colour="$colour"})`,
		ErrorRate: `(` + count(`,code=~"5.."`) + ` or 0 * ` + count("") + `) / (` + count("") + ` > 0)`,
		P95:       `histogram_quantile(0.95, sum by (le) (rate(odoo_http_request_duration_seconds_bucket` + series + `}[$window]))) and on () (` + count("") + ` > 0)`,
	}
}

// Server is one Prometheus. It is safe for concurrent use.
type Server struct {
	url     string
	region  string
	queries Queries
	client  *http.Client
}

// New names a server by its URL, and the region whose series are asked for.
func New(url, region string, queries Queries) *Server {
	return &Server{strings.TrimRight(url, "/"), region, queries, &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Figures reads a colour over a span. What cannot be had is nil, and Problem says why.
func (s *Server) Figures(ctx context.Context, colour state.Colour, span time.Duration) rollout.Figures {
	var f rollout.Figures
	ask := func(name, query string) *float64 {
		value, err := s.value(ctx, s.fill(query, colour, span))
		if err != nil {
			f.Problem = name + ": " + err.Error()
			return nil
		}
		return &value
	}
	if up := ask("up", s.queries.Up); up != nil {
		is := *up == 1
		f.Up = &is
	}
	if rate := ask("error rate", s.queries.ErrorRate); rate != nil {
		share := min(max(*rate, 0), 1)
		f.ErrorRate = &share
	}
	f.P95 = ask("p95", s.queries.P95)
	return f
}

// Check asks whether the queries can be parsed and the server answers.
func (s *Server) Check(ctx context.Context) error {
	for name, query := range map[string]string{"up": s.queries.Up, "error rate": s.queries.ErrorRate, "p95": s.queries.P95} {
		if _, err := s.value(ctx, s.fill(query, state.Blue, time.Minute)); err != nil && !errors.Is(err, errNothing) {
			return fmt.Errorf("ask Prometheus for %s: %w", name, err)
		}
	}
	return nil
}

// Broken says which query the server does not understand; empty when it understands all, or is away and cannot say.
func (s *Server) Broken(ctx context.Context) (reason string) {
	for _, q := range []struct{ name, query string }{{"up", s.queries.Up}, {"error rate", s.queries.ErrorRate}, {"p95", s.queries.P95}} {
		_, err := s.value(ctx, s.fill(q.query, state.Blue, time.Minute))
		var malformed *Malformed
		if errors.As(err, &malformed) {
			return "the gate's query for " + q.name + " does not parse: " + malformed.Reason
		}
	}
	return ""
}

// Malformed is a query that Prometheus cannot parse or execute: it will give no number, ever.
type Malformed struct{ Reason string }

func (m *Malformed) Error() string { return m.Reason }

func (s *Server) fill(query string, colour state.Colour, span time.Duration) string {
	seconds := strconv.Itoa(max(int(span.Seconds()), 1)) + "s"
	return strings.NewReplacer("$colour", string(colour), "$region", s.region, "$window", seconds).Replace(query)
}

var errNothing = errors.New("no data")

// value runs an instant query that gives one number.
func (s *Server) value(ctx context.Context, query string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/query", strings.NewReader(url.Values{"query": {query}}.Encode()))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Status, Error, ErrorType string
		Data                     struct {
			Result []struct{ Value [2]any }
		}
	}
	err = json.Unmarshal(body, &answer)
	if err == nil && answer.ErrorType == "bad_data" {
		return 0, &Malformed{clip(answer.Error)}
	}
	if err != nil || answer.Status != "success" {
		return 0, fmt.Errorf("the server answers %d %s", response.StatusCode, clip(answer.Error))
	}
	switch len(answer.Data.Result) {
	case 0:
		return 0, errNothing
	case 1:
	default:
		return 0, fmt.Errorf("%d series where one is wanted", len(answer.Data.Result))
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("the value is %q, no number", text)
	}
	return value, nil
}

func clip(text string) string { return text[:min(len(text), 200)] }
