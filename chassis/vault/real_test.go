package vault_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/vault"
)

// realVault runs a development server and gives its address and a client with the root token.
func realVault(t *testing.T) *api.Client {
	t.Helper()
	binary := os.Getenv("OFITEC_VAULT_BINARY")
	if binary == "" {
		found, err := exec.LookPath("vault")
		if err != nil {
			t.Skip("no vault in PATH and OFITEC_VAULT_BINARY is not set")
		}
		binary = found
	}
	addr := chassistest.FreeAddr(t)
	c := exec.Command(binary, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token", "-dev-listen-address="+addr)
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
	return root
}

func TestARealVaultsPeriodicTokenIsKeptAndReplacedWhenRevoked(t *testing.T) {
	root := realVault(t)
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
	must(root.Logical().Write("auth/approle/role/rotator", map[string]any{"token_period": "3s"}))
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
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = client.Hold(ctx) }()
	eventually(t, "ready", func() bool { return client.Check(ctx) == nil })
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
