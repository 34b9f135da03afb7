package bootstrap_test

import (
	"errors"
	"os"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

func TestTheOperatorsLoginBreaksTheGlassAndDoesNothingElse(t *testing.T) {
	s := newStage(t)
	s.primary(t)
	s.proxy(t, layout.A)
	v := s.vaults(t, layout.Regions...)
	v.boot(t)
	dir := s.layout.OperatorIdentityDir()
	for _, name := range []string{"vault-role-id", "vault-secret-id"} {
		info, err := os.Stat(dir + "/" + name)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	client := s.vaultClient(t, bootstrap.VaultAddress(s.layout, layout.B))
	login, err := client.Logical().Write("auth/approle/login", map[string]any{"role_id": string(read(t, dir+"/vault-role-id")), "secret_id": string(read(t, dir+"/vault-secret-id"))})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(login.Auth.ClientToken)
	user, err := client.Logical().Read("database/creds/break-glass")
	if err != nil {
		t.Fatal(err)
	}
	if user.LeaseDuration != 900 || user.Data["username"] == "" {
		t.Errorf("the user lives %d s", user.LeaseDuration)
	}
	if _, err := client.Logical().Write("sys/leases/revoke/"+user.LeaseID, map[string]any{"sync": true}); err != nil {
		t.Errorf("give the user back: %v", err)
	}
	for _, path := range []string{"database/creds/odoo-app", "secret/data/ofitec/rotator/vault-root", "secret/data/ofitec/credentials/odoo-app"} {
		if _, err := client.Logical().Read(path); err == nil {
			t.Errorf("the operator's login reads %s", path)
		}
	}
	rotator, err := s.login(t, bootstrap.VaultAddress(s.layout, layout.C), "rotator", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	root, err := rotator.Logical().Read("secret/data/ofitec/rotator/vault-root")
	if err != nil || root == nil || root.Data["data"].(map[string]any)["username"] != "vault_admin" {
		t.Errorf("the engine's own login is not kept aside: %v", err)
	}
	if made, err := rotator.Logical().Read("sys/policies/password/ofitec-secret/generate"); err != nil || len(made.Data["password"].(string)) != 40 {
		t.Errorf("the password policy makes nothing: %v", err)
	}
	keys, err := rotator.Logical().Read("secret/data/ofitec/rotator/restic")
	if err != nil || keys == nil || keys.Data["data"].(map[string]any)["access_key_id"] != "ofitec-backup" {
		t.Errorf("the keys that may ask for sessions are not there: %v", err)
	}
	reader := bootstrap.FollowReader(s.layout, s.tls)
	if _, _, err := reader.Login(t.Context()); !errors.Is(err, bootstrap.ErrNothingYet) {
		t.Errorf("before the rotator has made a reader: %v", err)
	}
	if _, err := rotator.Logical().Write("secret/data/ofitec/credentials/analytics-reader", map[string]any{"data": map[string]any{"username": "v-1", "password": "x"}}); err != nil {
		t.Fatal(err)
	}
	if user, password, err := reader.Login(t.Context()); err != nil || user != "v-1" || password != "x" {
		t.Errorf("the dashboards' login finds %q: %v", user, err)
	}
	webhook := bootstrap.FollowWebhook(s.layout, layout.B, s.tls)
	if _, err := webhook.Secret(t.Context()); !errors.Is(err, bootstrap.ErrNothingYet) {
		t.Errorf("before the rotator has made what Odoo signs with: %v", err)
	}
	for _, text := range []string{"first", "second"} {
		if _, err := rotator.Logical().Write("secret/data/"+bootstrap.WebhookPath, map[string]any{"data": map[string]any{"value": text}}); err != nil {
			t.Fatal(err)
		}
		if secret, err := webhook.Secret(t.Context()); err != nil || secret != text {
			t.Errorf("Odoo signs with %q: %v", secret, err)
		}
	}
	odoo, err := s.login(t, bootstrap.VaultAddress(s.layout, layout.A), "odoo", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"secret/data/ofitec/credentials/odoo-app", "secret/data/ofitec/credentials/odoo-master", "secret/data/ofitec/etl-ingest/raw-key", "database/creds/odoo-app"} {
		if _, err := odoo.Logical().Read(path); err == nil {
			t.Errorf("Odoo's login reads %s", path)
		}
	}
	if _, err := odoo.Logical().Write("secret/data/"+bootstrap.WebhookPath, map[string]any{"data": map[string]any{"value": "its own"}}); err == nil {
		t.Error("Odoo's login writes what it signs with")
	}
}
