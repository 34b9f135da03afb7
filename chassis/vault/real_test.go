package vault_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/chassis/vault"
)

// program finds Vault's server: the one that is named, the one in PATH, or what the local stack has built.
func program(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv("OFITEC_VAULT_BINARY"); binary != "" {
		return binary
	}
	if binary, err := exec.LookPath("vault"); err == nil {
		return binary
	}
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "vault-*", "vault")) // the pattern is well formed
	if len(built) == 0 {
		t.Skip("vault is not there (ofitec setup brings it)")
	}
	return built[0]
}

// output keeps what a server says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

var unsealKey = regexp.MustCompile(`Unseal Key: (\S+)`)

// unseal gives the development server the key that it has said.
func (o *output) unseal(t *testing.T, root *api.Client) {
	t.Helper()
	o.mu.Lock()
	key := unsealKey.FindStringSubmatch(o.text.String())
	o.mu.Unlock()
	if key == nil {
		t.Fatal("Vault has not said its key")
	}
	if _, err := root.Sys().Unseal(key[1]); err != nil {
		t.Fatal(err)
	}
}

// realVault runs a development server and gives a client with the root token, its process, and what it says.
func realVault(t *testing.T) (*api.Client, *os.Process, *output) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real server is started")
	}
	binary, said := program(t), &output{}
	addr := chassistest.FreeAddr(t)
	c := exec.Command(binary, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token", "-dev-listen-address="+addr)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	config := api.DefaultConfig()
	config.Address = "http://" + addr
	root, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	root.SetToken("root")
	eventually(t, "Vault answers", func() bool {
		health, err := root.Sys().Health()
		return err == nil && health.Initialized && !health.Sealed
	})
	return root, c.Process, said
}

// connect makes a client that is logged in by an AppRole whose tokens live as said.
func connect(t *testing.T, root *api.Client, token map[string]any) *vault.Client {
	t.Helper()
	must := func(secret *api.Secret, err error) *api.Secret {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	if err := root.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
		t.Fatal(err)
	}
	must(root.Logical().Write("auth/approle/role/rotator", token))
	role := must(root.Logical().Read("auth/approle/role/rotator/role-id")).Data["role_id"].(string)
	secretID := must(root.Logical().Write("auth/approle/role/rotator/secret-id", nil)).Data["secret_id"].(string)
	dir := t.TempDir()
	settings := chassis.NewSettings()
	settings.Vault = chassis.VaultSettings{Addr: root.Address(), RoleIDFile: filepath.Join(dir, "role"), SecretIDFile: filepath.Join(dir, "secret")}
	for path, text := range map[string]string{settings.Vault.RoleIDFile: role, settings.Vault.SecretIDFile: secretID} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := vault.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Hold(ctx) // ends with its context
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return client
}

func TestARealVaultsPeriodicTokenIsKeptAndReplacedWhenRevoked(t *testing.T) {
	t.Parallel()
	root, _, _ := realVault(t)
	client := connect(t, root, map[string]any{"token_period": "3s"})
	eventually(t, "ready", func() bool { return client.Check(t.Context()) == nil })
	first := client.Token()
	time.Sleep(5 * time.Second) // longer than the period
	if _, err := client.Auth().Token().LookupSelf(); err != nil || client.Token() != first {
		t.Errorf("the token was not renewed: %v", err)
	}
	if err := root.Auth().Token().RevokeTree(first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another token that works", func() bool {
		_, err := client.Auth().Token().LookupSelf()
		return client.Token() != first && err == nil
	})
}

// TestReadinessFollowsARealVaultThoughTheTokenLives seals it, opens it, stops it and lets it go on. The token would be good for an hour.
func TestReadinessFollowsARealVaultThoughTheTokenLives(t *testing.T) {
	t.Parallel()
	root, process, said := realVault(t)
	client := connect(t, root, map[string]any{"token_ttl": "1h"})
	registry := metrics.New("rotator")
	vault.Observe(t.Context(), registry, client)
	gauge := func() float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "ofitec_vault_ready" {
				return family.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("no ofitec_vault_ready")
		return 0
	}
	check := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // as /readyz does
		defer cancel()
		return client.Check(ctx)
	}
	ready := func() bool { return check() == nil && gauge() == 1 }
	eventually(t, "ready", ready)
	token := client.Token()
	if err := root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not ready while it is sealed", func() bool {
		err := check()
		return err != nil && strings.Contains(err.Error(), "vault does not serve") && strings.Contains(err.Error(), "sealed") && gauge() == 0
	})
	said.unseal(t, root)
	eventually(t, "ready when it is open again", ready)
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not ready while it does not answer", func() bool { return check() != nil && gauge() == 0 })
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready when it answers again", ready)
	if client.Token() != token {
		t.Error("it has logged in again: the token was good all the time")
	}
}
