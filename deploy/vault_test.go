package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// vaultClient speaks Vault's HTTP API with one token.
type vaultClient struct {
	http    *http.Client
	address string
	token   string
}

// call returns the status and the answer.
func (c vaultClient) call(t *testing.T, method, path string, body any) (int, map[string]any) {
	t.Helper()
	content, _ := json.Marshal(body)
	request, _ := http.NewRequest(method, "https://"+c.address+"/v1/"+path, bytes.NewReader(content))
	request.Header.Set("X-Vault-Token", c.token)
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	raw, _ := io.ReadAll(response.Body)
	answer := map[string]any{}
	_ = json.Unmarshal(raw, &answer)
	return response.StatusCode, answer
}

func (c vaultClient) must(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	status, answer := c.call(t, method, path, body)
	if status < 200 || status > 299 {
		t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

type object = map[string]any

// startVault starts a server from the template, unsealed, with the mounts that the policies name.
func startVault(t *testing.T) (root vaultClient) {
	t.Helper()
	program := built(t, "vault")
	dir := shortDir(t)
	files := newAuthority(t).issue(t, dir+"/tls", -1)
	dataDir := dir + "/data"
	if err := os.Mkdir(dataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	v := Vault{NodeID: "vault-c", DataDir: dataDir, Listen: freeAddress(t), Cluster: freeAddress(t), TLS: files}
	content, err := v.Render()
	start(t, exec.Command(program, "server", "-config="+write(t, dir, "vault.hcl", content, err)))
	root = vaultClient{http: &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(t, files)}, Timeout: 20 * time.Second}, address: v.Listen}
	within(t, 30*time.Second, "vault answers", func() bool { status, _ := root.call(t, "GET", "sys/init", nil); return status == 200 })
	made := root.must(t, "PUT", "sys/init", object{"secret_shares": 1, "secret_threshold": 1})
	root.token = made["root_token"].(string)
	root.must(t, "PUT", "sys/unseal", object{"key": made["keys"].([]any)[0]})
	within(t, 30*time.Second, "vault is active", func() bool { status, _ := root.call(t, "GET", "sys/health", nil); return status == 200 })
	root.must(t, "POST", "sys/mounts/secret", object{"type": "kv", "options": object{"version": "2"}})
	root.must(t, "POST", "sys/mounts/database", object{"type": "database"})
	root.must(t, "POST", "sys/mounts/transit", object{"type": "transit"})
	root.must(t, "POST", "transit/keys/credential-fingerprint", object{})
	return root
}

// withPolicy is a client whose token has one service's policy only.
func (c vaultClient) withPolicy(t *testing.T, service string) vaultClient {
	t.Helper()
	policies, err := VaultPolicies()
	if err != nil {
		t.Fatal(err)
	}
	c.must(t, "PUT", "sys/policies/acl/"+service, object{"policy": policies[service]})
	made := c.must(t, "POST", "auth/token/create", object{"policies": []string{service}, "no_default_policy": true})
	c.token = made["auth"].(map[string]any)["client_token"].(string)
	return c
}

func (c vaultClient) denied(t *testing.T, method, path string, body any) {
	t.Helper()
	if status, answer := c.call(t, method, path, body); status != http.StatusForbidden {
		t.Errorf("%s %s: %d %v, want 403", method, path, status, answer)
	}
}

// theReadersOwn is what the rotator and whoever reads the marts may do about a user that reads.
func theReadersOwn(t *testing.T, d *database, root, rotator vaultClient) {
	t.Helper()
	made := rotator.must(t, "GET", "database/creds/analytics-reader", nil)
	lease, data := made["lease_id"].(string), made["data"].(map[string]any)
	name := data["username"].(string)
	d.passwords[name] = data["password"].(string)
	d.allowed(t, d.relay, name, "analytics", "SHOW transaction_read_only", "on")
	rotator.must(t, "GET", "database/roles/analytics-reader", nil)
	// The first start's reader is good until one of Vault's is in use, which its first renewal tells; another run of the bootstrap changes nothing about it.
	d.allowed(t, d.relay, "analytics_reader", "analytics", "SHOW transaction_read_only", "on")
	rotator.must(t, "PUT", "sys/leases/renew", object{"lease_id": lease, "increment": 1800})
	d.refused(t, d.relay, "analytics_reader", "analytics", "SELECT 1", "password authentication failed")
	d.bootstrap(t)
	d.refused(t, d.relay, "analytics_reader", "analytics", "SELECT 1", "password authentication failed")
	d.allowed(t, d.relay, name, "analytics", "SHOW transaction_read_only", "on")
	// A site may have given the group another name: its readers are renewed all the same.
	d.super(t, "analytics", "ALTER ROLE analytics_reader RENAME TO readers_of_a_site")
	rotator.must(t, "PUT", "sys/leases/renew", object{"lease_id": lease, "increment": 1800})
	d.super(t, "analytics", "ALTER ROLE readers_of_a_site RENAME TO analytics_reader")
	rotator.must(t, "PUT", "sys/leases/lookup", object{"lease_id": lease})
	rotator.must(t, "LIST", "sys/leases/lookup/database/creds/analytics-reader/", nil)
	rotator.must(t, "POST", "secret/data/ofitec/credentials/analytics-reader", object{"data": data})
	dashboards := root.withPolicy(t, "dashboards")
	dashboards.must(t, "GET", "secret/data/ofitec/credentials/analytics-reader", nil)
	dashboards.denied(t, "GET", "secret/data/ofitec/credentials/odoo-app", nil)
	dashboards.denied(t, "GET", "database/creds/analytics-reader", nil)
	dashboards.denied(t, "POST", "secret/data/ofitec/credentials/analytics-reader", object{"data": data})
	rotator.must(t, "PUT", "sys/leases/revoke/"+lease, object{"sync": true})
	if left := d.super(t, "ofitec_prod", "SELECT count(*) FROM pg_roles WHERE rolname = '"+name+"'"); left != "0" {
		t.Errorf("the reader of the revoked lease is still there")
	}
}

func TestVaultMakesUsersOfAnHourAndEachServiceMayDoItsOwnPartOnly(t *testing.T) {
	root := startVault(t)
	d := startDatabase(t)
	d.bootstrap(t)
	d.reload(t, d.RenderHBAOpen)

	url, err := VaultDatabase{Proxies: []string{freeAddress(t), d.relay}, CAFile: d.TLS.CA}.ConnectionURL()
	if err != nil {
		t.Fatal(err)
	}
	role, err := VaultOdooRole()
	if err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "vault reaches the database", func() bool {
		status, answer := root.call(t, "POST", "database/config/odoo", object{
			"plugin_name": "postgresql-database-plugin", "allowed_roles": "odoo-app,analytics-reader,rotator-fence,else", "connection_url": url, "username": "vault_admin",
			"password": d.passwords["vault_admin"], "password_authentication": "scram-sha-256", "max_connection_lifetime": "30s",
		})
		if status >= 300 {
			t.Log(answer)
		}
		return status > 0 && status < 300
	})
	fence, err := VaultFenceRole()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := VaultReaderRole()
	if err != nil {
		t.Fatal(err)
	}
	for name, role := range map[string]VaultRole{"odoo-app": role, "analytics-reader": reader, "rotator-fence": fence, "else": role} {
		root.must(t, "POST", "database/roles/"+name, object{
			"db_name": "odoo", "default_ttl": "1h", "max_ttl": "24h", "creation_statements": []string{role.Creation},
			"renew_statements": []string{role.Renew}, "revocation_statements": []string{role.Revocation}, "rollback_statements": []string{role.Revocation},
		})
	}
	elseLease := root.must(t, "GET", "database/creds/else", nil)["lease_id"].(string)
	root.must(t, "POST", "secret/data/ofitec/etl-transform/token-key", object{"data": object{"key": "k"}})
	otherLease := root.must(t, "POST", "auth/token/create", object{"ttl": "1h"})["auth"].(map[string]any)["accessor"]

	rotator, deployer := root.withPolicy(t, "rotator"), root.withPolicy(t, "deployer")
	made := rotator.must(t, "GET", "database/creds/odoo-app", nil)
	lease, data := made["lease_id"].(string), made["data"].(map[string]any)
	name := data["username"].(string)
	d.passwords[name] = data["password"].(string)
	d.allowed(t, d.relay, name, "ofitec_prod", "CREATE TABLE made(n int); SELECT current_user", "odoo_owner")

	rotator.must(t, "PUT", "sys/leases/renew", object{"lease_id": lease, "increment": 1800})
	rotator.must(t, "PUT", "sys/leases/lookup", object{"lease_id": lease})
	rotator.must(t, "LIST", "sys/leases/lookup/database/creds/odoo-app/", nil)
	for range 2 {
		rotator.must(t, "POST", "secret/data/ofitec/credentials/odoo-app", object{"data": data})
	}
	deployer.must(t, "GET", "secret/data/ofitec/credentials/odoo-app?version=1", nil)
	for _, path := range []string{"sys/leases/revoke", "sys/leases/renew"} {
		rotator.denied(t, "PUT", path, object{"lease_id": fmt.Sprint("auth/token/create/", otherLease)})
	}
	rotator.must(t, "GET", "database/roles/odoo-app", nil)
	rotator.must(t, "PUT", "transit/hmac/credential-fingerprint", object{"input": "cmF3"})
	rotator.must(t, "PUT", "auth/token/renew-self", object{})
	rotator.must(t, "GET", "auth/token/lookup-self", nil)
	rotator.must(t, "GET", "secret/metadata/ofitec/credentials/odoo-app", nil)
	rotator.must(t, "PUT", "secret/destroy/ofitec/credentials/odoo-app", object{"versions": []int{1}})
	theReadersOwn(t, d, root, rotator)
	fencer := rotator.must(t, "GET", "database/creds/rotator-fence", nil)["lease_id"].(string)
	rotator.must(t, "PUT", "sys/leases/revoke/"+fencer, object{"sync": true})
	for _, path := range []string{"sys/leases/renew", "sys/leases/lookup", "sys/leases/revoke"} {
		rotator.denied(t, "PUT", path, object{"lease_id": elseLease})
	}
	rotator.denied(t, "PUT", "sys/leases/revoke/"+elseLease, object{"sync": true})
	rotator.denied(t, "PUT", "sys/leases/revoke-prefix/database/creds/odoo-app", nil)
	rotator.denied(t, "LIST", "sys/leases/lookup/database/creds/else/", nil)
	rotator.denied(t, "GET", "database/creds/else", nil)
	rotator.denied(t, "GET", "database/roles/else", nil)
	rotator.denied(t, "POST", "database/roles/odoo-app", object{"db_name": "odoo"})
	rotator.denied(t, "GET", "transit/keys/credential-fingerprint", nil)
	rotator.denied(t, "PUT", "secret/destroy/ofitec/etl-transform/token-key", object{"versions": []int{1}})
	rotator.denied(t, "DELETE", "secret/metadata/ofitec/credentials/odoo-app", nil)
	rotator.denied(t, "POST", "auth/token/create", object{})
	rotator.denied(t, "GET", "secret/data/ofitec/etl-transform/token-key", nil)
	rotator.denied(t, "GET", "database/config/odoo", nil)
	deployer.denied(t, "GET", "database/creds/odoo-app", nil)
	deployer.denied(t, "POST", "secret/data/ofitec/credentials/odoo-app", object{"data": data})
	deployer.denied(t, "PUT", "sys/leases/revoke", object{"lease_id": lease})

	rotator.must(t, "PUT", "sys/leases/revoke/"+lease, object{"sync": true})
	if left := d.super(t, "ofitec_prod", "SELECT count(*) FROM pg_roles WHERE rolname = '"+name+"'"); left != "0" {
		t.Errorf("the user of the revoked lease is still there")
	}

	ingest, transform := root.withPolicy(t, "etl-ingest"), root.withPolicy(t, "etl-transform")
	transform.must(t, "GET", "secret/data/ofitec/etl-transform/token-key", nil)
	for _, service := range []vaultClient{ingest, transform} { // they have their keys from KV
		service.denied(t, "POST", "transit/encrypt/credential-fingerprint", object{"plaintext": "cmF3"})
	}
	ingest.denied(t, "GET", "secret/data/ofitec/etl-transform/token-key", nil)
	transform.denied(t, "GET", "secret/data/ofitec/credentials/odoo-app", nil)
	if log := readFile(t, d.logFile); strings.Contains(log, d.passwords[name]) {
		t.Error("PostgreSQL's log holds a password that Vault made")
	}
}
