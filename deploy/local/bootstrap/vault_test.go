package bootstrap_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// vault starts the server of region c from the production template.
func (s *stage) vault(t *testing.T) (address string, stop func()) {
	t.Helper()
	program := find(t, servers.Vault)
	a := s.layout.Addressing
	dir := s.layout.ComponentDir(layout.C, "vault")
	if err := os.MkdirAll(dir+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	config := s.write(t, dir+"/vault.hcl", deploy.Vault{
		NodeID: "vault-c", DataDir: dir + "/data", Listen: a.Addr(layout.C, layout.PortVault), Cluster: a.Addr(layout.C, layout.PortVaultCluster), TLS: s.serverTLS(layout.C, "vault"),
	}.Render)
	cmd := exec.Command(program, "server", "-config="+config)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	return "https://" + a.Addr(layout.C, layout.PortVault), start(t, cmd)
}

func (s *stage) vaultReady(t *testing.T, address string) {
	t.Helper()
	eventually(t, "vault", func(ctx context.Context) error { return bootstrap.Vault(ctx, s.layout, s.owners, address, s.tls) })
}

func (s *stage) vaultClient(t *testing.T, address string) *vault.Client {
	t.Helper()
	client, err := vault.NewClient(&vault.Config{Address: address, Timeout: 10 * time.Second, HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls.Clone()}}})
	if err != nil {
		t.Fatal(err)
	}
	client.ClearToken()
	client.SetMaxRetries(0)
	return client
}

// login takes what stands in a service's folder, as the service does.
func (s *stage) login(t *testing.T, address, service string, r layout.Region) (*vault.Client, error) {
	t.Helper()
	client := s.vaultClient(t, address)
	login := map[string]any{}
	for field, file := range map[string]string{"role_id": "vault-role-id", "secret_id": "vault-secret-id"} {
		content, err := os.ReadFile(filepath.Join(s.layout.IdentityDir(r, service), file))
		if err != nil {
			t.Fatal(err)
		}
		login[field] = string(content)
	}
	answer, err := client.Logical().Write("auth/approle/login", login)
	if err != nil {
		return nil, err
	}
	client.SetToken(answer.Auth.ClientToken)
	return client, nil
}

// secretIDs is the content of all files that log in.
func (s *stage) secretIDs(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.layout.Root, "*", "identity", "*", "vault-*-id"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no service has a login: %v", err)
	}
	var all []string
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		all = append(all, path+string(content))
	}
	return strings.Join(all, "\n")
}

func TestVaultComesUpWithoutADatabaseAndEachServiceReadsItsOwnOnly(t *testing.T) {
	s := newStage(t)
	address, _ := s.vault(t)
	s.vaultReady(t, address)
	before := s.secretIDs(t)
	s.vaultReady(t, address)
	if s.secretIDs(t) != before {
		t.Error("a second bootstrap changed logins that work")
	}
	const tokenKey, credential = "secret/data/ofitec/etl-transform/token-key", "secret/data/ofitec/credentials/odoo-app"
	mayRead := map[string][]string{"etl-transform": {tokenKey}, "rotator": {credential}, "deployer": {credential}, "etl-ingest": nil}
	for service, may := range mayRead {
		for _, r := range layout.DataRegions {
			client, err := s.login(t, address, service, r)
			if err != nil {
				t.Errorf("%s of region %s logs in: %v", service, r, err)
				continue
			}
			for _, path := range []string{tokenKey, credential, "sys/mounts", "database/config/ofitec", "auth/approle/role/rotator.a/role-id"} {
				_, err := client.Logical().Read(path)
				if allowed := slices.Contains(may, path); allowed != (err == nil) {
					t.Errorf("%s of region %s reads %s: %v", service, r, path, err)
				}
			}
			if _, err := client.Logical().Write("sys/policies/acl/"+service, map[string]any{"policy": `path "*" { capabilities = ["sudo"] }`}); err == nil {
				t.Errorf("%s of region %s changes its own policy", service, r)
			}
		}
	}
	transform, err := s.login(t, address, "etl-transform", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transform.Logical().Read(tokenKey)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := os.ReadFile(filepath.Join(s.layout.IdentityDir(layout.A, "etl-transform"), "token.key"))
	inVault, _ := base64.StdEncoding.DecodeString(answer.Data["data"].(map[string]any)["key"].(string))
	if !bytes.Equal(key, inVault) {
		t.Error("the token key of Vault is not the one in the folder")
	}
}

func TestALostSecretIDIsReplacedAndTheOldOneOpensNothing(t *testing.T) {
	s := newStage(t)
	address, _ := s.vault(t)
	s.vaultReady(t, address)
	file := filepath.Join(s.layout.IdentityDir(layout.B, "deployer"), "vault-secret-id")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.vaultReady(t, address)
	if _, err := s.login(t, address, "deployer", layout.B); err != nil {
		t.Errorf("the new secret id: %v", err)
	}
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.login(t, address, "deployer", layout.B); err == nil {
		t.Error("the lost secret id still opens Vault")
	}
	if err := os.WriteFile(file, []byte("no secret id"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.vaultReady(t, address)
	if _, err := s.login(t, address, "deployer", layout.B); err != nil {
		t.Errorf("after a damaged secret id: %v", err)
	}
}

func TestVaultIsOpenedAgainAfterARestartAndNothingIsMadeAnewWithoutItsKey(t *testing.T) {
	s := newStage(t)
	address, stop := s.vault(t)
	s.vaultReady(t, address)
	stop()
	address, _ = s.vault(t)
	eventually(t, "unseal", func(ctx context.Context) error { return bootstrap.Unseal(ctx, s.layout, address, s.tls) })
	eventually(t, "login", func(context.Context) error { _, err := s.login(t, address, "rotator", layout.A); return err })

	keys := filepath.Join(s.layout.OperatorDir(), "vault.json")
	if err := os.Rename(keys, keys+".lost"); err != nil {
		t.Fatal(err)
	}
	err := bootstrap.Vault(t.Context(), s.layout, s.owners, address, s.tls)
	if err == nil || !strings.Contains(err.Error(), keys) {
		t.Errorf("without vault.json: %v", err)
	}
	if err := os.WriteFile(keys, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bootstrap.Unseal(t.Context(), s.layout, address, s.tls); err == nil || !strings.Contains(err.Error(), keys) {
		t.Errorf("with a damaged vault.json: %v", err)
	}
}
