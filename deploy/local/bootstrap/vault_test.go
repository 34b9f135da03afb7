package bootstrap_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// vault starts an empty server, and gives its address and what starts it again.
func (s *stage) vault(t *testing.T) (address string, restart func()) {
	t.Helper()
	program := find(t, servers.Vault)
	dir := s.layout.ComponentDir(layout.C, "vault")
	if err := os.MkdirAll(dir+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	a := s.layout.Addressing
	v := deploy.Vault{
		NodeID: "vault-c", DataDir: dir + "/data", Listen: a.Addr(layout.C, layout.PortVault), Cluster: a.Addr(layout.C, layout.PortVaultCluster), TLS: s.serverTLS(layout.C, "vault"),
	}
	config := s.write(t, dir+"/vault.hcl", v.Render)
	run := func() func() {
		stop := start(t, exec.Command(program, "server", "-config="+config))
		eventually(t, "vault listens", listening(v.Listen))
		return stop
	}
	stop := run()
	return "https://" + v.Listen, func() { stop(); stop = run() }
}

func (s *stage) vaultClient(t *testing.T, address string) *vault.Client {
	t.Helper()
	client, err := vault.NewClient(&vault.Config{Address: address, Timeout: 10 * time.Second, HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls}}})
	if err != nil {
		t.Fatal(err)
	}
	client.ClearToken()
	client.SetMaxRetries(0)
	return client
}

// login is a service's own, with what stands in its folder.
func (s *stage) login(t *testing.T, address, service string, r layout.Region) (*vault.Client, error) {
	t.Helper()
	dir := s.layout.IdentityDir(r, service)
	client := s.vaultClient(t, address)
	secret, err := client.Logical().Write("auth/approle/login", map[string]any{
		"role_id": string(read(t, dir+"/vault-role-id")), "secret_id": string(read(t, dir+"/vault-secret-id")),
	})
	if err != nil {
		return nil, err
	}
	client.SetToken(secret.Auth.ClientToken)
	life := 3600
	if service == "rotator" {
		life = 26 * 3600
	}
	if secret.Auth.LeaseDuration != life || !secret.Auth.Renewable {
		t.Errorf("%s: token of %d s, renewable %v", service, secret.Auth.LeaseDuration, secret.Auth.Renewable)
	}
	return client, nil
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func (s *stage) bootVault(t *testing.T, address string) {
	t.Helper()
	eventually(t, "vault", func(ctx context.Context) error { return bootstrap.Vault(ctx, s.layout, s.owners, address, s.tls) })
}

func TestVaultServesEachServiceWhatItsPolicySays(t *testing.T) {
	s := newStage(t)
	address, _ := s.vault(t)
	s.bootVault(t, address)
	const user, key, ingest = "secret/data/ofitec/credentials/odoo-app", "secret/data/ofitec/etl-transform/token-key", "secret/data/ofitec/etl-ingest/x"
	for _, c := range []struct{ service, may, mayNot string }{
		{"rotator", user, key + " " + ingest + " sys/policies/acl/rotator auth/approle/role/deployer.a/role-id"},
		{"deployer", user, key + " " + ingest + " database/creds/odoo-app"},
		{"etl-transform", key, user + " " + ingest + " database/creds/odoo-app transit/keys/ofitec-raw"},
		{"etl-ingest", "", user + " " + key + " database/config/ofitec pki/ca_chain/x"},
	} {
		client, err := s.login(t, address, c.service, layout.B)
		if err != nil {
			t.Errorf("%s: %v", c.service, err)
			continue
		}
		for _, path := range strings.Fields(c.may) {
			if answer, err := client.Logical().Read(path); err != nil || answer == nil {
				t.Errorf("%s reads %s: %v", c.service, path, err)
			}
		}
		for _, path := range strings.Fields(c.mayNot) {
			if _, err := client.Logical().Read(path); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("%s reads %s: %v", c.service, path, err)
			}
		}
	}
	for _, service := range []string{"failover-arbiter", "health-probe"} {
		if _, err := os.Stat(s.layout.IdentityDir(layout.A, service) + "/vault-role-id"); err == nil {
			t.Errorf("%s has a login that it does not need", service)
		}
	}
}

func TestASecondBootOfVaultKeepsLoginsAndSecrets(t *testing.T) {
	s := newStage(t)
	address, restart := s.vault(t)
	s.bootVault(t, address)
	dir := s.layout.IdentityDir(layout.A, "rotator")
	before := string(read(t, dir+"/vault-role-id")) + string(read(t, dir+"/vault-secret-id")) + string(read(t, s.layout.OperatorDir()+"/vault.json"))
	rotator, err := s.login(t, address, "rotator", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	const path = "secret/data/ofitec/credentials/odoo-app"
	if _, err := rotator.Logical().Write(path, map[string]any{"data": map[string]any{"username": "v-2", "password": "x"}}); err != nil {
		t.Fatal(err)
	}
	restart()
	eventually(t, "unseal", func(ctx context.Context) error { return bootstrap.Unseal(ctx, s.layout, address, s.tls) })
	s.bootVault(t, address)
	if after := string(read(t, dir+"/vault-role-id")) + string(read(t, dir+"/vault-secret-id")) + string(read(t, s.layout.OperatorDir()+"/vault.json")); after != before {
		t.Error("logins or keys have changed")
	}
	answer, err := rotator.Logical().Read(path)
	if err != nil || answer.Data["data"].(map[string]any)["username"] != "v-2" {
		t.Errorf("the rotator's version was overwritten: %v, %v", answer, err)
	}
	// A secret id that is lost is replaced, and opens nothing any more if somebody else has found it.
	lost := read(t, dir+"/vault-secret-id")
	if err := os.Remove(dir + "/vault-secret-id"); err != nil {
		t.Fatal(err)
	}
	s.bootVault(t, address)
	if _, err := s.login(t, address, "rotator", layout.A); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(dir+"/vault-secret-id", lost, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.login(t, address, "rotator", layout.A); err == nil {
		t.Error("the lost secret id still opens")
	}
	s.bootVault(t, address) // an unknown one in the file is replaced too
	if _, err := s.login(t, address, "rotator", layout.A); err != nil {
		t.Error(err)
	}
}

func TestVaultWithoutItsKeysAndKeysWithoutTheirVaultAreNamed(t *testing.T) {
	s := newStage(t)
	address, _ := s.vault(t)
	file := s.layout.OperatorDir() + "/vault.json"
	if err := os.WriteFile(file, []byte(`{"unseal_key":"eA==","root_token":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bootstrap.Vault(t.Context(), s.layout, s.owners, address, s.tls); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("an empty Vault beside keys: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.bootVault(t, address)
	for _, content := range []string{"", "{"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := bootstrap.Vault(t.Context(), s.layout, s.owners, address, s.tls); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("keys %q: %v", content, err)
		}
	}
}

func TestVaultMakesAndEndsDatabaseUsersThroughTheProxies(t *testing.T) {
	s := newStage(t)
	s.primary(t)
	s.proxy(t, layout.A)
	address, _ := s.vault(t)
	s.bootVault(t, address)
	rotator, err := s.login(t, address, "rotator", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	user, err := rotator.Logical().Read("database/creds/odoo-app")
	if err != nil {
		t.Fatal(err)
	}
	open := func() error {
		dsn := fmt.Sprintf("postgres://%s:%s@%s/ofitec_prod?sslmode=verify-full&sslrootcert=%s", user.Data["username"], user.Data["password"],
			s.layout.Addressing.Addr(layout.A, layout.PortDatabaseProxy), s.layout.IdentityDir(layout.A, "odoo")+"/ca.crt")
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.Background()) }()
		var role string
		if err := conn.QueryRow(t.Context(), "SELECT current_user").Scan(&role); err != nil || role != "odoo_owner" {
			return fmt.Errorf("is %q: %w", role, err)
		}
		return nil
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if user.LeaseDuration != 3600 {
		t.Errorf("the user lives %d s", user.LeaseDuration)
	}
	if _, err := rotator.Logical().Write("sys/leases/revoke/"+user.LeaseID, map[string]any{"sync": true}); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil {
		t.Error("the revoked user still gets in")
	}
}
