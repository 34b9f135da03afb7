package bootstrap

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	vault "github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// ErrOtherKeys says that a snapshot is sealed by other keys than Vault is.
var ErrOtherKeys = errors.New("the snapshot is of a Vault with other keys")

// RestoreVault takes Vault back to a snapshot of its present keys.
func RestoreVault(ctx context.Context, l layout.Layout, config *tls.Config, from io.Reader) error {
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	client.SetClientTimeout(snapshotTime)
	err = client.Sys().RaftSnapshotRestoreWithContext(ctx, from, false)
	var refused *vault.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest && strings.Contains(err.Error(), "could not verify hash file") {
		return fmt.Errorf("%w: %w", ErrOtherKeys, err)
	}
	if err != nil {
		return fmt.Errorf("take Vault back to a snapshot: %w", err)
	}
	return nil
}

// KeyChange is a restore that leaves Vault with other keys. It is written down before it is begun: whoever comes after a death in the middle finishes it.
type KeyChange struct {
	Snapshot string `json:"snapshot"` // the file
	Before   string `json:"before"`   // a snapshot of what was there
	Kept     string `json:"kept"`     // the keys that open it, beside it
	Keys     string `json:"keys"`     // vault.json of the snapshot's time
}

func keyChangeFile(l layout.Layout) string {
	return filepath.Join(l.OperatorDir(), "vault-restore.json")
}

// readKeyChange gives the restore that is under way; have is false when there is none.
func readKeyChange(l layout.Layout) (change KeyChange, keys vaultKeys, have bool, err error) {
	content, err := identity.ReadFile(keyChangeFile(l))
	if err != nil || content == nil {
		return change, keys, false, err
	}
	err = json.Unmarshal(content, &change)
	if err == nil {
		keys, err = parseVaultKeys([]byte(change.Keys))
	}
	if err != nil {
		return change, keys, false, fmt.Errorf("read the restore of Vault that was begun: %s is damaged; when %s opens Vault, remove it: %w", keyChangeFile(l), vaultKeysFile(l), err)
	}
	return change, keys, true, nil
}

func parseVaultKeys(content []byte) (keys vaultKeys, err error) {
	if json.Unmarshal(content, &keys) != nil || keys.Unseal == "" || keys.Root == "" {
		return keys, errors.New("want a vault.json, with unseal_key and root_token")
	}
	return keys, nil
}

// RestoreVaultOfOtherKeys takes Vault, begun anew since, back to a snapshot whose keys it no more has: with those it is opened from then on. The present keys are
// kept first, in a file that was not there.
func RestoreVaultOfOtherKeys(ctx context.Context, l layout.Layout, config *tls.Config, change KeyChange, from io.Reader) error {
	if _, err := parseVaultKeys([]byte(change.Keys)); err != nil {
		return fmt.Errorf("read the keys of the snapshot's time: %w", err)
	}
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	if err := keepKeys(l, change.Kept); err != nil {
		return err
	}
	intent, err := json.MarshalIndent(change, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the restore of Vault: %w", err)
	}
	if err := identity.WriteFile(keyChangeFile(l), append(intent, '\n'), nil, "operator"); err != nil {
		return err
	}
	client.SetClientTimeout(snapshotTime)
	if err := client.Sys().RaftSnapshotRestoreWithContext(ctx, from, true); err != nil {
		return fmt.Errorf("take Vault back to a snapshot of other keys; run the same command again, which finishes what was begun (the keys of what was there are in %s): %w", change.Kept, err)
	}
	return change.finish(l)
}

// keepKeys copies vault.json to a file that is not there, or is that copy.
func keepKeys(l layout.Layout, to string) error {
	present, err := identity.ReadFile(vaultKeysFile(l))
	if err != nil {
		return err
	}
	there, err := identity.ReadFile(to)
	switch {
	case err != nil:
		return err
	case there != nil && !bytes.Equal(there, present):
		return fmt.Errorf("keep the present keys of Vault: %s has other ones, and nothing else may open what they are for; move it away", to)
	case there != nil:
		return nil
	}
	return identity.WriteFile(to, present, nil, "operator")
}

// finish puts the keys of the snapshot's time in their place, when Vault has them. It may be done again.
func (c KeyChange) finish(l layout.Layout) error {
	if err := identity.WriteFile(vaultKeysFile(l), []byte(c.Keys), nil, "operator"); err != nil {
		return fmt.Errorf("vault is sealed by the keys of the snapshot's time now, and they are not in their place: copy the file that you gave by --keys to %s yourself (the keys of what was there are in %s): %w", vaultKeysFile(l), c.Kept, err)
	}
	if err := os.Remove(keyChangeFile(l)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("end the restore of Vault: %w", err)
	}
	return nil
}

// FinishRestore finishes a restore that a death has stopped after Vault had taken the snapshot; done is false when there is none. One that was stopped before has
// changed nothing, and is begun anew.
func FinishRestore(ctx context.Context, l layout.Layout, config *tls.Config) (change KeyChange, done bool, err error) {
	change, _, have, err := readKeyChange(l)
	if err != nil || !have {
		return change, false, err
	}
	for _, r := range layout.Regions {
		err = errors.Join(err, OpenVault(ctx, l, r, config))
	}
	if _, _, have, again := readKeyChange(l); again != nil || !have {
		return change, again == nil, again
	}
	if _, active := activeVault(ctx, l, config); active == nil {
		return change, false, nil // the keys of before still open it
	}
	return change, false, err
}

// openSealed opens a node by vault.json, or by the keys of a restore that was stopped before they could be written there.
func openSealed(ctx context.Context, client *vault.Client, l layout.Layout, r layout.Region, keys vaultKeys) error {
	err := unseal(ctx, client, r, keys)
	if err == nil {
		return nil
	}
	change, next, have, broken := readKeyChange(l)
	if broken != nil || !have {
		return errors.Join(err, broken)
	}
	if other := unseal(ctx, client, r, next); other != nil {
		return errors.Join(err, fmt.Errorf("by the keys of the snapshot's time: %w", other))
	}
	return change.finish(l)
}
