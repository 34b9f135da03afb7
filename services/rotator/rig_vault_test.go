package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
)

// vaultServer is a real Vault with what the local stack brings it to: engines, the rotator's policy and login, both database roles, the first user.
type vaultServer struct {
	addr, dir, unsealKey string
	root                 *api.Client
}

func vaultProgram(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "vault-*", "vault")) // the pattern is well formed
	if len(built) > 0 {
		return built[len(built)-1]
	}
	program, err := exec.LookPath("vault")
	if err != nil {
		t.Skip("Vault is neither built (ofitec setup builds it) nor in PATH: rotations are tested where it is")
	}
	return program
}

func startVault(t *testing.T, ttl, most string, d *postgrestest.Database, proxy string) *vaultServer {
	t.Helper()
	return startVaultOn(t, `storage "inmem" {}`, ttl, most, d, proxy)
}

// startVaultOn starts one whose data are where the stanza says.
func startVaultOn(t *testing.T, storage, ttl, most string, d *postgrestest.Database, proxy string) *vaultServer {
	t.Helper()
	v := &vaultServer{addr: "http://" + chassistest.FreeAddr(t), dir: shortDir(t)}
	config := fmt.Sprintf(storage+"\nlistener \"tcp\" {\n  address = %q\n  tls_disable = true\n}\napi_addr = %q\ndisable_mlock = true\n", strings.TrimPrefix(v.addr, "http://"), v.addr)
	must(t, os.WriteFile(v.dir+"/vault.hcl", []byte(config), 0o600))
	start(t, exec.Command(vaultProgram(t), "server", "-config="+v.dir+"/vault.hcl"))
	settings := api.DefaultConfig()
	settings.Address = v.addr
	var err error
	v.root, err = api.NewClient(settings)
	must(t, err)
	await(t, 30*time.Second, "Vault answers", func() bool { _, err := v.root.Sys().InitStatus(); return err == nil })
	made, err := v.root.Sys().Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	must(t, err)
	v.unsealKey = made.Keys[0]
	v.unseal(t)
	v.root.SetToken(made.RootToken)
	await(t, 30*time.Second, "Vault is active", func() bool {
		health, err := v.root.Sys().Health()
		return err == nil && !health.Sealed && !health.Standby
	})
	for path, input := range map[string]*api.MountInput{"database": {Type: "database"}, "transit": {Type: "transit"}, "secret": {Type: "kv", Options: map[string]string{"version": "2"}}} {
		must(t, v.root.Sys().Mount(path, input))
	}
	must(t, v.root.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}))
	v.write(t, "transit/keys/credential-fingerprint", nil)
	policies, err := deploy.VaultPolicies()
	must(t, err)
	must(t, v.root.Sys().PutPolicy("rotator", policies["rotator"]))
	v.login(t)
	v.reach(t, d, chassistest.FreeAddr(t), proxy)
	fence, err := deploy.VaultFenceRole()
	must(t, err)
	v.databaseRole(t, "rotator-fence", "5m", "15m", fence)
	odoo, err := deploy.VaultOdooRole()
	must(t, err)
	v.databaseRole(t, "odoo-app", ttl, most, odoo)
	v.write(t, "secret/data/"+path, map[string]any{"data": map[string]any{"username": "odoo_bootstrap", "password": postgrestest.Password}})
	return v
}

// reach tells Vault through which proxies the database is found.
func (v *vaultServer) reach(t *testing.T, d *postgrestest.Database, proxies ...string) {
	t.Helper()
	url, err := deploy.VaultDatabase{Proxies: proxies, CAFile: d.TLS.CA}.ConnectionURL()
	must(t, err)
	connection := map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url, "username": "vault_admin",
		"password": postgrestest.Password, "password_authentication": "scram-sha-256", "max_connection_lifetime": "30s",
	}
	await(t, 60*time.Second, "Vault logs in to the database", func() bool { _, err := v.root.Logical().Write("database/config/ofitec", connection); return err == nil })
}

// login makes the rotator's AppRole, with no more than its policy.
func (v *vaultServer) login(t *testing.T) {
	t.Helper()
	v.write(t, "auth/approle/role/rotator", map[string]any{"token_policies": []string{"rotator"}, "token_period": "26h", "token_no_default_policy": true})
	id, err := v.root.Logical().Read("auth/approle/role/rotator/role-id")
	must(t, err)
	secret, err := v.root.Logical().Write("auth/approle/role/rotator/secret-id", nil)
	must(t, err)
	for name, content := range map[string]any{"role": id.Data["role_id"], "secret": secret.Data["secret_id"]} {
		must(t, os.WriteFile(filepath.Join(v.dir, name), []byte(content.(string)), 0o600))
	}
}

func (v *vaultServer) databaseRole(t *testing.T, name, ttl, most string, role deploy.VaultRole) {
	t.Helper()
	v.write(t, "database/roles/"+name, map[string]any{
		"db_name": "ofitec", "default_ttl": ttl, "max_ttl": most, "creation_statements": []string{role.Creation}, "renew_statements": []string{role.Renew},
		"revocation_statements": []string{role.Revocation}, "rollback_statements": []string{role.Revocation},
	})
}

func (v *vaultServer) write(t *testing.T, path string, data map[string]any) {
	t.Helper()
	if _, err := v.root.Logical().Write(path, data); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}

func (v *vaultServer) unseal(t *testing.T) {
	t.Helper()
	answer, err := v.root.Sys().Unseal(v.unsealKey)
	must(t, err)
	if answer.Sealed {
		t.Fatal("Vault stays sealed")
	}
}

// leases lists the living leases of the application's role.
func (v *vaultServer) leases(t *testing.T) []string {
	t.Helper()
	answer, err := v.root.Logical().List("sys/leases/lookup/database/creds/odoo-app/")
	must(t, err)
	if answer == nil {
		return nil
	}
	var leases []string
	for _, key := range answer.Data["keys"].([]any) {
		leases = append(leases, "database/creds/odoo-app/"+key.(string))
	}
	return leases
}

// secret reads a version as a deployer does; ok is false when it cannot be read any more.
func (v *vaultServer) secret(t *testing.T, version int64) (user, password string, ok bool) {
	t.Helper()
	answer, err := v.root.Logical().ReadWithData("secret/data/"+path, map[string][]string{"version": {fmt.Sprint(version)}})
	must(t, err)
	if answer == nil {
		return "", "", false
	}
	data, _ := answer.Data["data"].(map[string]any)
	user, _ = data["username"].(string)
	password, _ = data["password"].(string)
	return user, password, user != ""
}

// stored is the current version in KV v2.
func (v *vaultServer) stored(t *testing.T) int64 {
	t.Helper()
	answer, err := v.root.Logical().Read("secret/metadata/" + path)
	must(t, err)
	number, err := answer.Data["current_version"].(json.Number).Int64()
	must(t, err)
	return number
}
