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

// Reader follows the login that dashboards work with, as the rotator stages it. It has a login to Vault that reads nothing else. It is for one goroutine.
type Reader struct {
	layout layout.Layout
	tls    *tls.Config
	client *vault.Client // nil: not logged in
}

// ErrNoReader says that the rotator has made none yet.
var ErrNoReader = errors.New("no reader of the marts has been made yet")

// FollowReader reads by the login in the layout's folder of dashboards.
func FollowReader(l layout.Layout, config *tls.Config) *Reader {
	return &Reader{layout: l, tls: config}
}

// Login is the newest one. An error is worth another attempt: Vault may be away, or have its first start before it.
func (r *Reader) Login(ctx context.Context) (user, password string, err error) {
	if r.client == nil {
		if r.client, err = r.enter(ctx); err != nil {
			return "", "", err
		}
	}
	answer, err := r.client.Logical().ReadWithContext(ctx, "secret/data/ofitec/credentials/analytics-reader")
	if err != nil {
		r.client = nil // its token may have ended, or its node; the next attempt finds another one
		return "", "", fmt.Errorf("read the login of readers: %w", err)
	}
	if answer == nil {
		return "", "", ErrNoReader
	}
	data, _ := answer.Data["data"].(map[string]any)
	user, _ = data["username"].(string)
	if password, _ = data["password"].(string); user == "" || password == "" {
		return "", "", ErrNoReader // a number that was used up
	}
	return user, password, nil
}

// enter logs in at the first node that answers; each hands requests on to the active one.
func (r *Reader) enter(ctx context.Context) (*vault.Client, error) {
	dir := r.layout.DashboardsDir()
	role, roleErr := identity.ReadFile(filepath.Join(dir, "vault-role-id"))
	secret, secretErr := identity.ReadFile(filepath.Join(dir, "vault-secret-id"))
	if err := errors.Join(roleErr, secretErr); err != nil {
		return nil, err
	}
	problem := errors.New("no node answers")
	for _, region := range layout.Regions {
		client, err := vaultClient(VaultAddress(r.layout, region), r.tls)
		if err != nil {
			return nil, err
		}
		answer, err := client.Logical().WriteWithContext(ctx, "auth/approle/login", map[string]any{"role_id": strings.TrimSpace(string(role)), "secret_id": strings.TrimSpace(string(secret))})
		var refused *vault.ResponseError
		switch {
		case errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest:
			return nil, fmt.Errorf("log in to Vault for readers: %w", err)
		case err != nil:
			problem = err
		case answer == nil || answer.Auth == nil:
			problem = errors.New("the answer has no token")
		default:
			client.SetToken(answer.Auth.ClientToken)
			return client, nil
		}
	}
	return nil, fmt.Errorf("log in to Vault for readers: %w", problem)
}
