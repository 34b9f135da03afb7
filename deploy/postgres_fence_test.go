package deploy

import (
	"strings"
	"testing"
)

func TestOnlyAFencerEndsUsersAndOnlyThoseThatVaultMadeForTheApplication(t *testing.T) {
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
	const app, fencer = "v-approle-odoo-app-1", "v-approle-rotator--1"
	for name, sql := range map[string]string{app: odoo.Creation, fencer: fence.Creation} {
		d.passwords[name] = "pass-word_1"
		fill := strings.NewReplacer("{{name}}", name, "{{password}}", d.passwords[name], "{{expiration}}", "infinity")
		d.allowed(t, d.relay, "vault_admin", "ofitec_prod", fill.Replace(sql), "")
	}
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.user_sessions('"+app+"')", "0")
	for _, query := range []string{"fence_user('" + app + "')", "end_sessions('" + app + "')", "end_orphan_sessions()"} {
		d.refused(t, d.relay, app, "ofitec_prod", "SELECT ofitec."+query, "permission denied")
	}
	for _, other := range []string{"vault_admin", "odoo_bootstrap", "odoo_owner", "postgres", fencer} {
		d.refused(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('"+other+"')", "none that Vault has made")
	}
	d.refused(t, d.relay, fencer, "ofitec_prod", "CREATE ROLE more", "permission denied")
	d.refused(t, d.relay, fencer, "ofitec_prod", "SET ROLE odoo_owner", "permission denied")
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('v-nobody')", "f")
	d.allowed(t, d.relay, fencer, "ofitec_prod", "SELECT ofitec.fence_user('"+app+"')", "t")
	d.refused(t, d.relay, app, "ofitec_prod", "SELECT 1", "not permitted to log in")
	end := strings.NewReplacer("{{name}}", fencer)
	d.allowed(t, d.relay, "vault_admin", "ofitec_prod", end.Replace(fence.Revocation), "")
	d.refused(t, d.relay, fencer, "ofitec_prod", "SELECT 1", "")
}
