package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofitec/ofitec/chassis/metrics"
)

// askEvery is how long an answer about Vault is good for: readiness and metrics are asked for by many.
const askEvery = 2 * time.Second

// scrapePatience is how long a scrape waits for an answer.
const scrapePatience = 500 * time.Millisecond

// serves says why Vault does not serve. It is asked once for all who want to know, at most each askEvery, and goes on when one of them has stopped to wait: a node that
// is away takes longer to be given up than a readiness may take, and the next question then goes to another node.
func (c *Client) serves(ctx context.Context) error {
	c.mu.Lock()
	if c.asking == nil && time.Since(c.asked) >= askEvery {
		c.asking = make(chan struct{})
		go c.ask(context.WithoutCancel(ctx))
	}
	asking, answer := c.asking, c.answer
	c.mu.Unlock()
	if asking == nil {
		return answer
	}
	select {
	case <-asking:
	case <-ctx.Done():
		return fmt.Errorf("vault has not answered yet: %w", ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer
}

// ask looks the token up, which needs an open node and an active one. A refusal is an answer: what a token may do is found out by doing it.
func (c *Client) ask(ctx context.Context) {
	_, err := c.Auth().Token().LookupSelfWithContext(ctx)
	var response *api.ResponseError
	if errors.As(err, &response) && response.StatusCode < http.StatusInternalServerError {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("vault does not serve: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.asking)
	c.asked, c.asking, c.answer = time.Now(), nil, err
}

// Observe registers whether the service can work with Vault: it goes on without, until it needs it. ctx is the service's.
func Observe(ctx context.Context, r *metrics.Registry, c *Client) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ofitec_vault_ready", Help: "1 while the token is alive and Vault serves, else 0.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(ctx, scrapePatience)
		defer cancel()
		if c.Check(ctx) != nil {
			return 0
		}
		return 1
	}))
}
