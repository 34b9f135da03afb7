package bootstrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	vault "github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// follower reads the newest version of one secret as the rotator stages it, by a login to Vault that reads nothing else. It is for one goroutine.
type follower struct {
	layout layout.Layout
	tls    *tls.Config
	dir    string // where the login stands
	path   string
	client *vault.Client // nil: not logged in
}

// ErrNothingYet says that the rotator has made no version yet.
var ErrNothingYet = errors.New("the rotator has made none yet")

// fields are those named. An error is worth another attempt: Vault may be away, or have its first start before it.
func (f *follower) fields(ctx context.Context, names ...string) ([]string, error) {
	var err error
	if f.client == nil {
		if f.client, err = f.enter(ctx); err != nil {
			return nil, err
		}
	}
	answer, err := f.client.Logical().ReadWithContext(ctx, "secret/data/"+f.path)
	if err != nil {
		f.client = nil // its token may have ended, or its node; the next attempt finds another one
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	if answer == nil {
		return nil, ErrNothingYet
	}
	data, _ := answer.Data["data"].(map[string]any)
	texts := make([]string, len(names))
	for i, name := range names {
		if texts[i], _ = data[name].(string); texts[i] == "" {
			return nil, ErrNothingYet // a number that was used up
		}
	}
	return texts, nil
}

// Reader follows the login that dashboards work with.
type Reader struct{ follower }

// FollowReader reads by the login in the layout's folder of dashboards.
func FollowReader(l layout.Layout, config *tls.Config) *Reader {
	return &Reader{follower{layout: l, tls: config, dir: l.DashboardsDir(), path: "ofitec/credentials/analytics-reader"}}
}

// Login is the newest one.
func (r *Reader) Login(ctx context.Context) (user, password string, err error) {
	texts, err := r.fields(ctx, "username", "password")
	if err != nil {
		return "", "", err
	}
	return texts[0], texts[1], nil
}

// WebhookPath is where the rotator keeps what Odoo signs its announcements with.
const WebhookPath = "ofitec/credentials/export-webhook"

// Webhook follows what Odoo signs its announcements with.
type Webhook struct{ follower }

// FollowWebhook reads by the login of a region's Odoo.
func FollowWebhook(l layout.Layout, r layout.Region, config *tls.Config) *Webhook {
	return &Webhook{follower{layout: l, tls: config, dir: l.IdentityDir(r, "odoo"), path: WebhookPath}}
}

// Secret is the newest one.
func (w *Webhook) Secret(ctx context.Context) (string, error) {
	texts, err := w.fields(ctx, "value")
	if err != nil {
		return "", err
	}
	return texts[0], nil
}

// enter logs in at the first node that answers; each hands requests on to the active one.
func (f *follower) enter(ctx context.Context) (*vault.Client, error) {
	role, roleErr := identity.ReadFile(filepath.Join(f.dir, "vault-role-id"))
	secret, secretErr := identity.ReadFile(filepath.Join(f.dir, "vault-secret-id"))
	if err := errors.Join(roleErr, secretErr); err != nil {
		return nil, err
	}
	problem := errors.New("no node answers")
	for _, region := range layout.Regions {
		client, err := vaultClient(VaultAddress(f.layout, region), f.tls)
		if err != nil {
			return nil, err
		}
		answer, err := client.Logical().WriteWithContext(ctx, "auth/approle/login", map[string]any{"role_id": strings.TrimSpace(string(role)), "secret_id": strings.TrimSpace(string(secret))})
		var refused *vault.ResponseError
		switch {
		case errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest:
			return nil, fmt.Errorf("log in to Vault by %s: %w", f.dir, err)
		case err != nil:
			problem = err
		case answer == nil || answer.Auth == nil:
			problem = errors.New("the answer has no token")
		default:
			client.SetToken(answer.Auth.ClientToken)
			return client, nil
		}
	}
	return nil, fmt.Errorf("log in to Vault by %s: %w", f.dir, problem)
}
