package bootstrap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	vault "github.com/hashicorp/vault/api"

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

// ErrOtherKeys says that a snapshot is sealed by other keys than Vault is.
var ErrOtherKeys = errors.New("the snapshot is of a Vault with other keys")

// RestoreVault takes Vault back to a snapshot. Where Vault was begun anew since, keys is the vault.json of the snapshot's time, with which it is opened from then on; the
// present one is kept beside. Without keys Vault's present ones must be those of the snapshot.
func RestoreVault(ctx context.Context, l layout.Layout, config *tls.Config, keys []byte, from io.Reader) error {
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	client.SetClientTimeout(snapshotTime)
	if keys == nil {
		err := client.Sys().RaftSnapshotRestoreWithContext(ctx, from, false)
		var refused *vault.ResponseError
		if errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest && strings.Contains(err.Error(), "could not verify hash file") {
			return fmt.Errorf("%w: %w", ErrOtherKeys, err)
		}
		if err != nil {
			return fmt.Errorf("take Vault back to a snapshot: %w", err)
		}
		return nil
	}
	var of vaultKeys
	if err := json.Unmarshal(keys, &of); err != nil || of.Unseal == "" || of.Root == "" {
		return errors.New("read the keys of the snapshot's time: want a vault.json, with unseal_key and root_token")
	}
	path := vaultKeysFile(l)
	present, err := identity.ReadFile(path)
	if err != nil {
		return err
	}
	if err := identity.WriteFile(path+".before-restore", present, nil, "operator"); err != nil {
		return err
	}
	if err := client.Sys().RaftSnapshotRestoreWithContext(ctx, from, true); err != nil {
		return fmt.Errorf("take Vault back to a snapshot of other keys: %w", err)
	}
	return identity.WriteFile(path, keys, nil, "operator")
}
