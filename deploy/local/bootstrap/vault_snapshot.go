package bootstrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// snapshotTime is how long a snapshot may take on its way: it has all that Vault keeps.
const snapshotTime = 10 * time.Minute

// SnapshotVault writes a snapshot by the operator's login, whose policy lets it read one and put none back. It is sealed: Vault's own key opens it.
func SnapshotVault(ctx context.Context, l layout.Layout, config *tls.Config, to io.Writer) error {
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	client.ClearToken()
	client.SetClientTimeout(snapshotTime)
	login := map[string]any{}
	for field, file := range map[string]string{"role_id": "vault-role-id", "secret_id": "vault-secret-id"} {
		content, err := identity.ReadFile(filepath.Join(l.OperatorIdentityDir(), file))
		if err != nil {
			return err
		}
		login[field] = strings.TrimSpace(string(content))
	}
	session, err := client.Logical().WriteWithContext(ctx, "auth/approle/login", login)
	if err != nil {
		return fmt.Errorf("take a snapshot of Vault: log in as the operator: %w", err)
	}
	if session == nil || session.Auth == nil {
		return errors.New("take a snapshot of Vault: log in as the operator: the answer has no token")
	}
	client.SetToken(session.Auth.ClientToken)
	if err := client.Sys().RaftSnapshotWithContext(ctx, to); err != nil {
		return fmt.Errorf("take a snapshot of Vault: %w", err)
	}
	return nil
}
