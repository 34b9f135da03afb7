package deploy

import (
	"strings"
	"testing"
)

func TestOnlyAFencerEndsUsersAndOnlyThoseThatVaultMadeForTheApplicationAndForReaders(t *testing.T) {
	d := startDatabase(t)
	d.bootstrap(t)
	d.bootstrap(t) // again, as every start does
	d.reload(t, d.RenderHBAOpen)
	odoo, err := VaultOdooRole()
	if err != nil {
		t.Fatal(err)
	}
	fence, err := VaultFenceRole()
	if err != nil {
		t.Fatal(err)
	}
	read, err := VaultReaderRole()
	if err != nil {
		t.Fatal(err)
	}
	const app, reader, fencer = "v-approle-odoo-app-1", "v-approle-analytic-1", "v-approle-rotator--1"
	for name, sql := range map[string]string{app: odoo.Creation, reader: read.Creation, fencer: fence.Creation} {
		d.passwords[name] = "pass-word_1"
		fill := strings.NewReplacer("{{name}}", name, "{{password}}", d.passwords[name], "{{expiration}}", "infinity")
		d.allowed(t, d.relay, "vault_admin", "ofitec_prod", fill.Replace(sql), "")
	}
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.user_sessions('"+app+"')", "0")
	for _, query := range []string{"fence_user('" + app + "')", "end_sessions('" + app + "')", "end_orphan_sessions()"} {
		d.refused(t, d.relay, app, "ofitec_prod", "SELECT ofitec."+query, "permission denied")
	}
	for _, other := range []string{"vault_admin", "odoo_bootstrap", "odoo_owner", "analytics_reader", "postgres", fencer} {
		d.refused(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('"+other+"')", "none that Vault has made")
	}
	d.refused(t, d.relay, fencer, "ofitec_prod", "CREATE ROLE more", "permission denied")
	d.refused(t, d.relay, fencer, "ofitec_prod", "SET ROLE odoo_owner", "permission denied")
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('v-nobody')", "f")
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('"+app+"')", "t")
	d.refused(t, d.relay, app, "ofitec_prod", "SELECT 1", "not permitted to log in")
	d.allowed(t, d.relay, reader, "analytics", "SELECT session_user", reader)
	d.refused(t, d.relay, reader, "ofitec_prod", "SELECT 1", "pg_hba.conf rejects")
	d.refused(t, d.relay, reader, "analytics", "SET transaction_read_only = off; CREATE TABLE public.mine (n int)", "permission denied")
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('"+reader+"')", "t")
	d.refused(t, d.relay, reader, "analytics", "SELECT 1", "not permitted to log in")
	d.allowed(t, d.relay, "vault_admin", "ofitec_prod", strings.ReplaceAll(read.Revocation, "{{name}}", reader), "")
	end := strings.NewReplacer("{{name}}", fencer)
	d.allowed(t, d.relay, "vault_admin", "ofitec_prod", end.Replace(fence.Revocation), "")
	d.refused(t, d.relay, fencer, "ofitec_prod", "SELECT 1", "")
}
