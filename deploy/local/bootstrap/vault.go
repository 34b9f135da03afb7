package bootstrap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// vaultKeys is vault.json: what opens the local stack's Vault. Production has shares with people, or a seal in hardware.
type vaultKeys struct {
	Unseal string `json:"unseal_key"`
	Root   string `json:"root_token"`
}

func vaultKeysFile(l layout.Layout) string { return filepath.Join(l.OperatorDir(), "vault.json") }

// Vault makes Vault's seal, opens it and brings engines, policies, AppRoles and the first secrets to what the services expect.
// It needs no database: the connection is tried when the first user is asked for.
func Vault(ctx context.Context, l layout.Layout, owners identity.Owners, address string, config *tls.Config) error {
	client, err := vaultClient(address, config)
	if err != nil {
		return err
	}
	if err := initVault(ctx, client, l); err != nil {
		return err
	}
	keys, err := unseal(ctx, client, l)
	if err != nil {
		return err
	}
	if err := awaitActive(ctx, client); err != nil {
		return err
	}
	client.SetToken(keys.Root)
	v := vaultSetup{client: client, layout: l, owners: owners}
	// Logins come last: a rotator that can log in must find the first user as version 1, and not make one of its own.
	for _, step := range []func(context.Context) error{v.engines, v.policies, v.database, v.secrets, v.roles} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Unseal opens Vault after a restart of its process; one that is open stays so.
func Unseal(ctx context.Context, l layout.Layout, address string, config *tls.Config) error {
	client, err := vaultClient(address, config)
	if err != nil {
		return err
	}
	_, err = unseal(ctx, client, l)
	return err
}

// vaultClient takes nothing from this process's environment.
func vaultClient(address string, config *tls.Config) (*vault.Client, error) {
	client, err := vault.NewClient(&vault.Config{
		Address: address, Timeout: 15 * time.Second,
		HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), DisableKeepAlives: true}},
	})
	if err != nil {
		return nil, fmt.Errorf("make Vault client: %w", err)
	}
	client.ClearToken()
	client.ClearNamespace()
	client.SetMaxRetries(0)
	return client, nil
}

// initVault makes the seal's key once and writes it down before anything is done with it.
func initVault(ctx context.Context, client *vault.Client, l layout.Layout) error {
	initialised, err := client.Sys().InitStatusWithContext(ctx)
	if err != nil {
		return fmt.Errorf("ask whether Vault is initialised: %w", err)
	}
	path := vaultKeysFile(l)
	content, err := identity.ReadFile(path)
	if err != nil {
		return err
	}
	switch {
	case initialised && content == nil:
		return fmt.Errorf("open Vault: %s is missing and nothing else opens it; restore the file, or remove %s to begin with an empty Vault", path, l.ComponentDir(layout.C, "vault"))
	case initialised:
		return nil
	case content != nil:
		return fmt.Errorf("initialise Vault: it is empty although %s is there: its data in %s is lost; restore it, or move vault.json away to begin anew", path, l.ComponentDir(layout.C, "vault"))
	}
	made, err := client.Sys().InitWithContext(ctx, &vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialise Vault: %w", err)
	}
	content, err = json.MarshalIndent(vaultKeys{Unseal: made.KeysB64[0], Root: made.RootToken}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode vault.json: %w", err)
	}
	return identity.WriteFile(path, append(content, '\n'), nil, "operator")
}

func unseal(ctx context.Context, client *vault.Client, l layout.Layout) (vaultKeys, error) {
	var keys vaultKeys
	path := vaultKeysFile(l)
	content, err := identity.ReadFile(path)
	if err != nil {
		return keys, err
	}
	if err := json.Unmarshal(content, &keys); err != nil || keys.Unseal == "" || keys.Root == "" {
		return keys, fmt.Errorf("open Vault: %s is missing or damaged; restore it", path)
	}
	status, err := client.Sys().SealStatusWithContext(ctx)
	if err != nil {
		return keys, fmt.Errorf("ask whether Vault is sealed: %w", err)
	}
	if !status.Sealed {
		return keys, nil
	}
	if status, err = client.Sys().UnsealWithContext(ctx, keys.Unseal); err != nil {
		return keys, fmt.Errorf("unseal Vault: %w", err)
	}
	if status.Sealed {
		return keys, errors.New("unseal Vault: the key of vault.json was not enough")
	}
	return keys, nil
}

// awaitActive waits until Vault has taken its storage's leadership, some seconds after it was opened.
func awaitActive(ctx context.Context, client *vault.Client) error {
	for {
		health, err := client.Sys().HealthWithContext(ctx)
		if err == nil && health.Initialized && !health.Sealed && !health.Standby {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Vault to be active: %w", errors.Join(ctx.Err(), err))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
