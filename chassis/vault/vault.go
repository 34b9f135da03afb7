// Package vault keeps a service logged in to Vault by its AppRole.
package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis"
)

// requestTimeout bounds one request; attempts after failures follow the table.
const requestTimeout = 5 * time.Second

var attempts = []time.Duration{
	1 * time.Second,  // after 1 s
	2 * time.Second,  // 3 s
	5 * time.Second,  // 8 s
	10 * time.Second, // 18 s
	30 * time.Second, // 48 s, and so on
}

// Client is Vault's own client whose token Hold keeps alive. It is safe for concurrent use.
type Client struct {
	*api.Client
	settings chassis.VaultSettings
	doubt    chan struct{} // never closed; holds one call at most

	mu     sync.Mutex
	until  time.Time     // end of the token's life as known; zero before the first login
	never  bool          // the token has no end
	last   error         // why the last attempt failed, nil after a success
	asked  time.Time     // when Vault was last asked whether it serves
	asking chan struct{} // closed when it has answered; nil while it is not asked
	answer error         // what came of it
}

// Connect makes the client without asking the server. An error means settings that cannot work.
func Connect(s chassis.Settings) (*Client, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, fmt.Errorf("connect to Vault: %w", config.Error)
	}
	addrs := s.Vault.Addrs()
	if len(addrs) == 0 {
		return nil, errors.New("connect to Vault: no address is set")
	}
	config.Address = addrs[0]
	config.MaxRetries = 0 // Hold has its own table, and other callers know better when to try again
	config.Timeout = requestTimeout
	transport := config.HttpClient.Transport.(*http.Transport)
	transport.DialContext, transport.TLSHandshakeTimeout = (&net.Dialer{Timeout: dialTimeout}).DialContext, dialTimeout
	if strings.HasPrefix(addrs[0], "https://") {
		source, err := s.TLS.Open()
		if err != nil {
			return nil, fmt.Errorf("connect to Vault: %w", err)
		}
		transport.TLSClientConfig = source.Client()
	}
	var err error
	if config.HttpClient.Transport, err = newNodes(transport, addrs); err != nil {
		return nil, fmt.Errorf("connect to Vault: %w", err)
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("connect to Vault: %w", err)
	}
	client.SetToken(s.Vault.Token.Reveal()) // and not what the process's environment says
	return &Client{Client: client, settings: s.Vault, doubt: make(chan struct{}, 1)}, nil
}

// Check is ready while the token is alive and Vault serves: a sealed one, or one without an active node, does not. It is for readiness; whoever needs Vault asks it
// and waits.
func (c *Client) Check(ctx context.Context) error {
	if err := c.token(); err != nil {
		return err
	}
	return c.serves(ctx)
}

// token says why there is no living token.
func (c *Client) token() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.never || time.Now().Before(c.until):
		return nil
	case c.last != nil:
		return fmt.Errorf("no token of Vault: %w", c.last)
	}
	return errors.New("not logged in to Vault yet")
}

// Doubt makes Hold renew the token now, and log in when that is refused: a long-lived token that somebody has revoked is not found out otherwise before its next
// renewal. It is for whoever was refused what its policy allows, may be called often, and does not wait.
func (c *Client) Doubt() {
	select {
	case c.doubt <- struct{}{}:
	default:
	}
}

// Hold logs in, renews the token at two thirds of its life and logs in again when it cannot be renewed any more, until ctx ends. It is an actor.
// It never revokes a token, because the leases made with it would die too; a service whose leases must outlive a login has a periodic token.
func (c *Client) Hold(ctx context.Context) error {
	life, err := c.begin(ctx)
	for failed := 0; ; {
		pause := life * 2 / 3
		switch {
		case err != nil:
			pause = attempts[min(failed, len(attempts)-1)]
			failed++
			slog.Warn("cannot keep a token of Vault", "attempts", failed, "error", err)
		case life == 0: // a token without an end
			<-ctx.Done()
			return ctx.Err()
		default:
			failed = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.doubt:
		case <-time.After(pause):
		}
		life, err = c.goOn(ctx, life)
	}
}

// begin gets the first token, or looks at the given one.
func (c *Client) begin(ctx context.Context) (time.Duration, error) {
	if c.settings.Token == "" {
		return c.login(ctx)
	}
	asked := time.Now()
	secret, err := c.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return 0, c.failed(fmt.Errorf("look up token: %w", err))
	}
	life, err := secret.TokenTTL()
	if err != nil {
		return 0, c.failed(fmt.Errorf("look up token: %w", err))
	}
	c.alive(asked, life)
	return life, nil
}

// goOn renews the token. Near its greatest age a renewal gives less than before: then, and when there is none to renew, it logs in.
func (c *Client) goOn(ctx context.Context, before time.Duration) (time.Duration, error) {
	if c.token() != nil {
		return c.begin(ctx)
	}
	asked := time.Now()
	secret, err := c.Auth().Token().RenewSelfWithContext(ctx, 0)
	var response *api.ResponseError
	if errors.As(err, &response) && response.StatusCode < http.StatusInternalServerError && c.settings.Token == "" {
		return c.login(ctx) // refused: the token is dead, or cannot be renewed
	}
	if err != nil {
		return before, c.failed(fmt.Errorf("renew token: %w", err))
	}
	life := time.Duration(secret.Auth.LeaseDuration) * time.Second
	if life < before/2 && c.settings.Token == "" {
		return c.login(ctx)
	}
	c.alive(asked, life)
	return life, nil
}

// login reads the AppRole's files anew, so that a changed secret id is used without a restart.
func (c *Client) login(ctx context.Context) (time.Duration, error) {
	role, err := content(c.settings.RoleIDFile)
	if err != nil {
		return 0, c.failed(err)
	}
	secretID, err := content(c.settings.SecretIDFile)
	if err != nil {
		return 0, c.failed(err)
	}
	asked := time.Now()
	secret, err := c.Logical().WriteWithContext(ctx, "auth/approle/login", map[string]any{"role_id": role, "secret_id": secretID})
	if err != nil {
		return 0, c.failed(fmt.Errorf("log in by AppRole: %w", err))
	}
	if secret == nil || secret.Auth == nil {
		return 0, c.failed(errors.New("log in by AppRole: the answer has no token"))
	}
	c.SetToken(secret.Auth.ClientToken)
	life := time.Duration(secret.Auth.LeaseDuration) * time.Second
	c.alive(asked, life)
	slog.Info("logged in to Vault", "token_life", life.String())
	return life, nil
}

// alive notes a token's life from the moment at which it was asked for.
func (c *Client) alive(asked time.Time, life time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.never, c.last = asked.Add(life), life == 0, nil
}

func (c *Client) failed(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err
	return err
}

func content(path string) (string, error) {
	if path == "" {
		return "", errors.New("log in by AppRole: OFITEC_VAULT_ROLE_ID_FILE and OFITEC_VAULT_SECRET_ID_FILE are not set")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("log in by AppRole: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
