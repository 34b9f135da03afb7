package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// credentials brings what the rotator needs beside database roles: password policies, the engine's own login as its first version, and the keys that may ask the
// object store for sessions; and logins to Vault: the operator's, which opens the role break-glass and takes snapshots, and the dashboards' and Odoo's, which read one path each.
func (v vaultSetup) credentials(ctx context.Context) error {
	policies, err := deploy.VaultPasswordPolicies()
	if err != nil {
		return err
	}
	for name, policy := range policies {
		if err := v.write(ctx, "sys/policies/password/"+name, map[string]any{"policy": policy}); err != nil {
			return err
		}
	}
	password, err := identity.Master(v.layout, "postgres-vault_admin")
	if err != nil {
		return err
	}
	if err := v.bring(ctx, "ofitec/rotator/vault-root", map[string]any{"username": "vault_admin", "password": string(password)}); err != nil {
		return err
	}
	keys, err := identity.Master(v.layout, identity.BackupSecret)
	if err != nil {
		return err
	}
	if err := v.bring(ctx, "ofitec/rotator/restic", map[string]any{"access_key_id": identity.BackupUser, "secret_access_key": string(keys)}); err != nil {
		return err
	}
	return errors.Join(v.operator(ctx), v.dashboards(ctx), v.odoo(ctx))
}

// operator gives whoever runs the command a login of its own, for break-glass and for snapshots. Its tokens are short, and leases die with them: a quarter of an hour is all that break-glass gives.
func (v vaultSetup) operator(ctx context.Context) error {
	return v.login(ctx, "auth/approle/role/operator", map[string]any{
		"token_policies": []string{"break-glass", "snapshot"}, "token_ttl": "1h", "token_max_ttl": "1h", "secret_id_num_uses": 0, "secret_id_ttl": "0", "token_no_default_policy": true,
	}, v.layout.OperatorIdentityDir(), "operator")
}

// dashboards gives whoever reads the marts a login that reads where their own login to the database stands.
func (v vaultSetup) dashboards(ctx context.Context) error {
	dir := v.layout.DashboardsDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder of the dashboards' login: %w", err)
	}
	return v.login(ctx, "auth/approle/role/dashboards", map[string]any{
		"token_policies": []string{"dashboards"}, "token_ttl": "1h", "token_max_ttl": "1h", "secret_id_num_uses": 0, "secret_id_ttl": "0", "token_no_default_policy": true,
	}, dir, "operator")
}

// odoo gives whoever keeps the file that a region's Odoo signs by a login that reads where the secret is rotated.
func (v vaultSetup) odoo(ctx context.Context) error {
	for _, r := range layout.DataRegions {
		err := v.login(ctx, "auth/approle/role/odoo."+string(r), map[string]any{
			"token_policies": []string{"odoo"}, "token_ttl": "1h", "token_max_ttl": "1h", "secret_id_num_uses": 0, "secret_id_ttl": "0", "token_no_default_policy": true,
		}, v.layout.IdentityDir(r, "odoo"), "odoo")
		if err != nil {
			return fmt.Errorf("give Odoo in region %s its login to Vault: %w", r, err)
		}
	}
	return nil
}
