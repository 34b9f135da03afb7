package bootstrap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
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

// firstVault is the region whose node makes the seal; the others are taken in. A folder from the time of one Vault has its data there.
const firstVault = layout.C

// VaultNodeID is the name by which the nodes know the one of a region.
func VaultNodeID(r layout.Region) string { return "vault-" + string(r) }

// VaultAddress is where a region's node of Vault is reached.
func VaultAddress(l layout.Layout, r layout.Region) string {
	return "https://" + l.Addressing.Addr(r, layout.PortVault)
}

// Vault brings engines, policies, AppRoles and the first secrets of an open Vault to what the services expect; any node may be the active one.
// It needs no database: the connection is tried when the first user is asked for.
func Vault(ctx context.Context, l layout.Layout, owners identity.Owners, config *tls.Config) error {
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	v := vaultSetup{client: client, layout: l, owners: owners}
	// Logins come last: a rotator that can log in must find the first user as version 1, and not make one of its own.
	for _, step := range []func(context.Context) error{v.autopilot, v.engines, v.policies, v.database, v.secrets, v.credentials, v.roles} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// OpenVault brings one region's node to work: it opens one that is sealed, makes the seal when there is none anywhere, and lets the others take in one that is
// empty. It is asked again and again, by one caller a region; a node that works is left alone.
func OpenVault(ctx context.Context, l layout.Layout, r layout.Region, config *tls.Config) error {
	client, err := vaultClient(VaultAddress(l, r), config)
	if err != nil {
		return err
	}
	status, err := client.Sys().SealStatusWithContext(ctx)
	if err != nil {
		return fmt.Errorf("ask whether Vault in region %s is sealed: %w", r, err)
	}
	if !status.Sealed {
		return nil
	}
	keys, have, err := readVaultKeys(l)
	if have {
		err = errors.Join(err, forgetInit(l)) // before it is opened: what was begun and never opened has nothing in it
	}
	switch {
	case err != nil:
		return err
	case status.Initialized && !have && r == firstVault && initBegun(l):
		return ErrKeysLost
	case status.Initialized && !have:
		return fmt.Errorf("open Vault: %s is missing and nothing else opens it; restore the file, or remove %s to begin with an empty Vault", vaultKeysFile(l), vaultFolders(l))
	case status.Initialized:
		return openSealed(ctx, client, l, r, keys)
	case have:
		return takeIn(ctx, client, l, r, keys, config)
	case r != firstVault:
		return nil // the first one makes the seal
	}
	return initVault(ctx, client, l, config)
}

// VaultWhole fails while a region's node has no vote: then the loss of another one could stop Vault.
func VaultWhole(ctx context.Context, l layout.Layout, config *tls.Config) error {
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	members, err := vaultMembers(ctx, client)
	if err != nil {
		return err
	}
	var without []string
	for _, r := range layout.Regions {
		if !members[VaultNodeID(r)] {
			without = append(without, string(r))
		}
	}
	if without != nil {
		return fmt.Errorf("count Vault's votes: the node of region %s has none yet", strings.Join(without, " and "))
	}
	return nil
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

// vaultFolders are the folders of all nodes, for people.
func vaultFolders(l layout.Layout) string {
	dirs := make([]string, len(layout.Regions))
	for i, r := range layout.Regions {
		dirs[i] = l.ComponentDir(r, "vault")
	}
	return strings.Join(dirs, ", ")
}

// readVaultKeys gives vault.json; have is false when there is none.
func readVaultKeys(l layout.Layout) (keys vaultKeys, have bool, err error) {
	path := vaultKeysFile(l)
	content, err := identity.ReadFile(path)
	if err != nil || content == nil {
		return keys, false, err
	}
	if keys, err = parseVaultKeys(content); err != nil {
		return keys, true, fmt.Errorf("open Vault: %s is missing or damaged; restore it", path)
	}
	return keys, true, nil
}

// initVault makes the seal's key once and writes it down before anything is done with it. No node may have data by then: they would be of another Vault.
func initVault(ctx context.Context, client *vault.Client, l layout.Layout, config *tls.Config) error {
	for _, r := range layout.Regions {
		if r == firstVault {
			continue
		}
		other, err := vaultClient(VaultAddress(l, r), config)
		if err != nil {
			return err
		}
		status, err := other.Sys().SealStatusWithContext(ctx)
		if err != nil {
			return fmt.Errorf("initialise Vault: ask whether the node in region %s is empty too: %w", r, err)
		}
		if status.Initialized {
			return fmt.Errorf("initialise Vault: %s is missing, and the node in region %s has data that nothing else opens; restore the file, or remove %s to begin with an empty Vault", vaultKeysFile(l), r, vaultFolders(l))
		}
	}
	if err := identity.WriteFile(initFile(l), nil, nil, "operator"); err != nil {
		return err
	}
	client.SetClientTimeout(initTime)
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), initTime) // an answer that nobody waits for has the only keys
	defer cancel()
	made, err := client.Sys().InitWithContext(patient, &vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialise Vault: %w", err)
	}
	keys := vaultKeys{Unseal: made.KeysB64[0], Root: made.RootToken}
	content, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return fmt.Errorf("encode vault.json: %w", err)
	}
	if err := identity.WriteFile(vaultKeysFile(l), append(content, '\n'), nil, "operator"); err != nil {
		return err
	}
	if err := forgetInit(l); err != nil {
		return err
	}
	return unseal(ctx, client, firstVault, keys)
}

func unseal(ctx context.Context, client *vault.Client, r layout.Region, keys vaultKeys) error {
	status, err := client.Sys().UnsealWithContext(ctx, keys.Unseal)
	if err != nil {
		return fmt.Errorf("unseal Vault in region %s: %w", r, err)
	}
	if status.Sealed && status.Initialized {
		return fmt.Errorf("unseal Vault in region %s: the key of vault.json was not enough", r)
	}
	return nil
}

// takeIn lets the others take in a node without data. One that they still know under its name has lost its data: they forget it first, as it would otherwise
// count as a vote that once was given. It returns when the node works, so that a node which is just coming is not forgotten again.
func takeIn(ctx context.Context, client *vault.Client, l layout.Layout, r layout.Region, keys vaultKeys, config *tls.Config) error {
	active, err := activeVault(ctx, l, config)
	if err != nil {
		return fmt.Errorf("take the empty node of Vault in region %s in: %w", r, err)
	}
	members, err := vaultMembers(ctx, active)
	if err != nil {
		return err
	}
	if _, known := members[VaultNodeID(r)]; known {
		if _, err := active.Logical().WriteWithContext(ctx, "sys/storage/raft/remove-peer", map[string]any{"server_id": VaultNodeID(r)}); err != nil {
			return fmt.Errorf("forget the lost node of Vault in region %s: %w", r, err)
		}
	}
	if err := unseal(ctx, client, r, keys); err != nil {
		return err
	}
	for {
		status, err := client.Sys().SealStatusWithContext(ctx)
		if err == nil && status.Initialized && !status.Sealed {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("take the empty node of Vault in region %s in: %w", r, errors.Join(ctx.Err(), err))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// vaultMembers are the nodes that the active one knows, and whether each has a vote.
func vaultMembers(ctx context.Context, active *vault.Client) (map[string]bool, error) {
	answer, err := active.Logical().ReadWithContext(ctx, "sys/storage/raft/configuration")
	if err != nil {
		return nil, fmt.Errorf("list Vault's nodes: %w", err)
	}
	members := map[string]bool{}
	if answer != nil {
		config, _ := answer.Data["config"].(map[string]any)
		servers, _ := config["servers"].([]any)
		for _, item := range servers {
			server, _ := item.(map[string]any)
			id, _ := server["node_id"].(string)
			voter, _ := server["voter"].(bool)
			members[id] = voter
		}
	}
	if len(members) == 0 {
		return nil, errors.New("list Vault's nodes: the answer has none")
	}
	return members, nil
}

// activeVault finds the node that has the storage's leadership and gives a client of it with the root token.
func activeVault(ctx context.Context, l layout.Layout, config *tls.Config) (*vault.Client, error) {
	keys, have, err := readVaultKeys(l)
	if err != nil {
		return nil, err
	}
	if !have {
		return nil, errors.New("find Vault's active node: there is no Vault yet")
	}
	var states []string
	empty := 0
	for _, r := range layout.Regions {
		client, err := vaultClient(VaultAddress(l, r), config)
		if err != nil {
			return nil, err
		}
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		health, err := client.Sys().HealthWithContext(limited)
		cancel()
		state := "stands by"
		switch {
		case err != nil:
			state = "does not answer"
		case !health.Initialized:
			state = "is empty"
			empty++
		case health.Sealed:
			state = "is sealed"
		case !health.Standby:
			client.SetToken(keys.Root)
			return client, nil
		}
		states = append(states, "the one of "+string(r)+" "+state)
	}
	slices.Sort(states)
	err = fmt.Errorf("find Vault's active node: %s", strings.Join(states, ", "))
	if empty > 1 {
		err = fmt.Errorf("%w. %s is there, so the data of %d nodes are lost, and with them the majority: restore %s from a backup, or move vault.json and all of these folders away to begin with an empty Vault", err, vaultKeysFile(l), empty, vaultFolders(l))
	}
	return nil, err
}
