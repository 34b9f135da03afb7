package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
)

// startDatabase starts a real PostgreSQL with the roles of a region, and makes what the test's Odoo keeps in it.
func (r *rig) startDatabase(t *testing.T) {
	t.Helper()
	r.database = postgrestest.Start(t, true)
	r.databaseProxy = r.database.Relay(t)
	r.super(t, "SET ROLE odoo_owner; CREATE TABLE entry (writer text, seq bigint, PRIMARY KEY (writer, seq))")
}

// super runs SQL as the superuser in Odoo's database and gives what psql printed.
func (r *rig) super(t *testing.T, sql string) string {
	t.Helper()
	return r.database.Super(t, "ofitec_prod", sql)
}

// startEngine gives Vault the database engine as the local stack has it, and passwords that are hard to quote.
func (r *rig) startEngine(t *testing.T) {
	t.Helper()
	r.write(t, "sys/policies/password/hard", map[string]any{"policy": `length = 20
rule "charset" { charset = "abcdefghijkmnpqrstuvwxyz" }
rule "charset" {
  charset = "'\"$ #\\"
  min-chars = 3
}`})
	must(t, r.vault.Sys().Mount("database", &api.MountInput{Type: "database"}))
	url, err := deploy.VaultDatabase{Proxies: []string{chassistest.FreeAddr(t), r.databaseProxy}, CAFile: r.database.TLS.CA}.ConnectionURL()
	must(t, err)
	connection := map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "odoo-app", "connection_url": url, "username": "vault_admin", "password": postgrestest.Password,
		"password_authentication": "scram-sha-256", "password_policy": "hard", "max_connection_lifetime": "30s",
	}
	await(t, 60*time.Second, "Vault logs in to the database", func() bool {
		_, err := r.vault.Logical().Write("database/config/ofitec", connection)
		return err == nil
	})
	role, err := deploy.VaultOdooRole()
	must(t, err)
	r.write(t, "database/roles/odoo-app", map[string]any{
		"db_name": "ofitec", "default_ttl": "1h", "max_ttl": "24h", "creation_statements": []string{role.Creation}, "renew_statements": []string{role.Renew},
		"revocation_statements": []string{role.Revocation}, "rollback_statements": []string{role.Revocation},
	})
}

func (r *rig) write(t *testing.T, path string, data map[string]any) {
	t.Helper()
	if _, err := r.vault.Logical().Write(path, data); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}

// minted is a user that Vault has made.
type minted struct{ user, password, lease string }

func (r *rig) mint(t *testing.T) minted {
	t.Helper()
	answer, err := r.vault.Logical().Read("database/creds/odoo-app")
	must(t, err)
	m := minted{answer.Data["username"].(string), answer.Data["password"].(string), answer.LeaseID}
	r.secrets = append(r.secrets, m.password)
	return m
}

// farewell sees a user out as the rotator does: no new logins, no sessions, no lease, no role.
func (r *rig) farewell(t *testing.T, m minted) {
	t.Helper()
	r.super(t, fmt.Sprintf(`ALTER ROLE "%s" NOLOGIN`, m.user))
	r.super(t, fmt.Sprintf(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'`, m.user))
	await(t, 20*time.Second, "the old user has no session", func() bool { return r.sessions(t, m.user) == "0" })
	if err := r.vault.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: m.lease, Sync: true}); err != nil {
		t.Errorf("revoke the lease of %s: %v", m.user, err)
	}
}

func (r *rig) sessions(t *testing.T, user string) string {
	t.Helper()
	return r.super(t, fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'`, user))
}

// users are those that Vault has made for the application.
func (r *rig) users(t *testing.T) []string {
	t.Helper()
	return strings.Fields(r.super(t, "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'v-%odoo-app-%'"))
}

// leases are the living leases of the application's role.
func (r *rig) leases(t *testing.T) int {
	t.Helper()
	answer, err := r.vault.Logical().List("sys/leases/lookup/database/creds/odoo-app/")
	must(t, err)
	if answer == nil {
		return 0
	}
	return len(answer.Data["keys"].([]any))
}
