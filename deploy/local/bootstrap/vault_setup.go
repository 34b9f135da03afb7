package bootstrap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	vault "github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// vaultSetup brings an open Vault to what the services expect. client holds the root token.
type vaultSetup struct {
	client *vault.Client
	layout layout.Layout
	owners identity.Owners
}

// autopilot says aloud what is Vault's default: nobody is forgotten for being away. A dead region comes back, and until then its vote is missed.
func (v vaultSetup) autopilot(ctx context.Context) error {
	return v.write(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{"cleanup_dead_servers": false})
}

func (v vaultSetup) engines(ctx context.Context) error {
	mounts, err := v.client.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("list Vault's engines: %w", err)
	}
	for path, input := range map[string]*vault.MountInput{
		"database": {Type: "database"},
		"secret":   {Type: "kv", Options: map[string]string{"version": "2"}},
		"transit":  {Type: "transit"},
		"pki":      {Type: "pki", Config: vault.MountConfigInput{MaxLeaseTTL: "87600h"}},
	} {
		if mount, ok := mounts[path+"/"]; ok {
			if mount.Type != input.Type {
				return fmt.Errorf("enable Vault's engine %s: a %s is mounted there", path, mount.Type)
			}
			continue
		}
		if err := v.client.Sys().MountWithContext(ctx, path, input); err != nil {
			return fmt.Errorf("enable Vault's engine %s: %w", path, err)
		}
	}
	methods, err := v.client.Sys().ListAuthWithContext(ctx)
	if err != nil {
		return fmt.Errorf("list Vault's logins: %w", err)
	}
	if _, ok := methods["approle/"]; !ok {
		if err := v.client.Sys().EnableAuthWithOptionsWithContext(ctx, "approle", &vault.EnableAuthOptions{Type: "approle"}); err != nil {
			return fmt.Errorf("enable AppRole: %w", err)
		}
	}
	// Writing a key that is there changes nothing.
	return v.write(ctx, "transit/keys/credential-fingerprint", map[string]any{"type": "aes256-gcm96"})
}

func (v vaultSetup) policies(ctx context.Context) error {
	policies, err := deploy.VaultPolicies()
	if err != nil {
		return err
	}
	for name, rules := range policies {
		if err := v.client.Sys().PutPolicyWithContext(ctx, name, rules); err != nil {
			return fmt.Errorf("write Vault policy %s: %w", name, err)
		}
	}
	return nil
}

// roles makes an AppRole for each instance of a service that has a policy; the others have no business with Vault.
func (v vaultSetup) roles(ctx context.Context) error {
	policies, err := deploy.VaultPolicies()
	if err != nil {
		return err
	}
	for _, service := range layout.Services {
		if _, ok := policies[service.Name]; !ok {
			continue
		}
		for _, r := range service.Regions {
			if err := v.role(ctx, service.Name, r); err != nil {
				return fmt.Errorf("give %s in region %s its login to Vault: %w", service.Name, r, err)
			}
		}
	}
	return nil
}

func (v vaultSetup) role(ctx context.Context, service string, r layout.Region) error {
	return v.login(ctx, "auth/approle/role/"+service+"."+string(r), map[string]any{
		"token_policies": []string{service}, "token_period": tokenPeriod(service), "secret_id_num_uses": 0, "secret_id_ttl": "0", "token_no_default_policy": false,
	}, v.layout.IdentityDir(r, service), service)
}

// login makes an AppRole and leaves in a folder what logs in by it. Whether it does is tried, not looked up: an attempt that ran out of time may have been carried
// out in part, or later. A role whose first writing was cut off may lack the index by which a login finds it, which writing it again does not make: it is made anew.
func (v vaultSetup) login(ctx context.Context, role string, settings map[string]any, dir, owner string) error {
	refusal, err := v.tryLogin(ctx, role, settings, dir, owner)
	if err != nil || refusal == "" {
		return err
	}
	if _, err := v.client.Logical().DeleteWithContext(ctx, role); err != nil {
		return fmt.Errorf("remove %s, which opens nothing: %w", role, err)
	}
	refusal, err = v.tryLogin(ctx, role, settings, dir, owner)
	if err == nil && refusal != "" {
		err = fmt.Errorf("make secret id: Vault refuses the one that it has just made for %s: %s", role, refusal)
	}
	return err
}

// tryLogin returns why Vault refuses a secret id that it has just made, empty when it does not.
func (v vaultSetup) tryLogin(ctx context.Context, role string, settings map[string]any, dir, owner string) (refusal string, err error) {
	if err := v.write(ctx, role, settings); err != nil {
		return "", err
	}
	answer, err := v.client.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil {
		return "", fmt.Errorf("read role id: %w", err)
	}
	id, err := text(answer, "role_id")
	if err != nil {
		return "", err
	}
	if err := v.keep(filepath.Join(dir, "vault-role-id"), id, owner); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "vault-secret-id")
	secret, err := identity.ReadFile(file)
	if err != nil {
		return "", err
	}
	if refused, err := v.opens(ctx, id, string(secret)); err != nil || refused == "" {
		return "", err
	}
	made, err := v.newSecretID(ctx, role)
	if err != nil {
		return "", err
	}
	if err := v.keep(file, made, owner); err != nil {
		return "", err
	}
	return v.opens(ctx, id, made)
}

// opens logs in, and out again; it returns why Vault refused that, empty when it did not.
func (v vaultSetup) opens(ctx context.Context, role, secret string) (refusal string, err error) {
	if secret == "" {
		return "no secret id", nil
	}
	visitor, err := v.client.Clone()
	if err != nil {
		return "", fmt.Errorf("make Vault client: %w", err)
	}
	visitor.ClearToken()
	answer, err := visitor.Logical().WriteWithContext(ctx, "auth/approle/login", map[string]any{"role_id": role, "secret_id": secret})
	var refused *vault.ResponseError
	if errors.As(err, &refused) && (refused.StatusCode == http.StatusBadRequest || refused.StatusCode == http.StatusForbidden) {
		return strings.Join(refused.Errors, "; "), nil
	}
	if err != nil {
		return "", fmt.Errorf("try a login: %w", err)
	}
	if answer == nil || answer.Auth == nil {
		return "", errors.New("try a login: Vault's answer has no token")
	}
	if err := v.client.Auth().Token().RevokeAccessorWithContext(ctx, answer.Auth.Accessor); err != nil { // not every policy lets a token end itself
		return "", fmt.Errorf("log out: %w", err)
	}
	return "", nil
}

// tokenPeriod is how long a token lives after its service's last sign of life. Leases die with the token that asked for them, and the users that the rotator makes
// live a day at most: its token must outlive them when its process, or its region, does not come back.
func tokenPeriod(service string) string {
	if service == "rotator" {
		return "26h"
	}
	return "1h"
}

// newSecretID replaces a secret id that is lost or unknown; earlier ones open nothing any more.
func (v vaultSetup) newSecretID(ctx context.Context, role string) (string, error) {
	old, err := v.client.Logical().ListWithContext(ctx, role+"/secret-id")
	if err != nil {
		return "", fmt.Errorf("list secret ids: %w", err)
	}
	if old != nil {
		accessors, _ := old.Data["keys"].([]any)
		for _, accessor := range accessors {
			if err := v.write(ctx, role+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor}); err != nil {
				return "", err
			}
		}
	}
	answer, err := v.client.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	if err != nil {
		return "", fmt.Errorf("make secret id: %w", err)
	}
	return text(answer, "secret_id")
}

// keep writes a file unless it says the same already.
func (v vaultSetup) keep(path, content, service string) error {
	have, err := identity.ReadFile(path)
	if err != nil {
		return err
	}
	if string(have) == content {
		return nil
	}
	return identity.WriteFile(path, []byte(content), v.owners, service)
}

// database tells Vault how to reach the database that takes writes, wherever it is.
func (v vaultSetup) database(ctx context.Context) error {
	a := v.layout.Addressing
	connection := deploy.VaultDatabase{CAFile: vaultCAFile}
	for _, r := range layout.DataRegions {
		connection.Proxies = append(connection.Proxies, a.Addr(r, layout.PortDatabaseProxy))
	}
	url, err := connection.ConnectionURL()
	if err != nil {
		return err
	}
	details := map[string]any{
		"connection_url": url, "username": "vault_admin", "password_authentication": "scram-sha-256", "max_connection_lifetime": "30s",
	}
	have, err := v.client.Logical().ReadWithContext(ctx, "database/config/ofitec")
	if err != nil {
		return fmt.Errorf("read Vault's database connection: %w", err)
	}
	if have == nil || !configured(have.Data, details) {
		details["plugin_name"], details["allowed_roles"], details["verify_connection"] = "postgresql-database-plugin", databaseRoles, false
		if have == nil {
			// Later, Vault may have changed the password to one that only it knows: it is never set back.
			password, err := identity.Master(v.layout, "postgres-vault_admin")
			if err != nil {
				return err
			}
			details["password"] = string(password)
		}
		if err := v.write(ctx, "database/config/ofitec", details); err != nil {
			return err
		}
	}
	if err := v.databaseRole(ctx, "odoo-app", "1h", "24h", deploy.VaultOdooRole); err != nil {
		return err
	}
	if err := v.databaseRole(ctx, "analytics-reader", "1h", "24h", deploy.VaultReaderRole); err != nil {
		return err
	}
	if err := v.databaseRole(ctx, "break-glass", "15m", "15m", deploy.VaultBreakGlassRole); err != nil {
		return err
	}
	return v.databaseRole(ctx, "rotator-fence", "5m", "15m", deploy.VaultFenceRole)
}

// vaultCAFile is each node's own copy of the CA's certificate: all nodes share one configuration, and no region reads another one's files. It is not
// given by value (tls_ca), for Vault 1.21 would then look for the first proxy's name in the second one's certificate.
const vaultCAFile = "/proc/self/cwd/ca.crt"

// databaseRoles are the roles that may use the connection.
var databaseRoles = []string{"odoo-app", "analytics-reader", "rotator-fence", "break-glass"}

func (v vaultSetup) databaseRole(ctx context.Context, name, ttl, most string, statements func() (deploy.VaultRole, error)) error {
	role, err := statements()
	if err != nil {
		return err
	}
	return v.write(ctx, "database/roles/"+name, map[string]any{
		"db_name": "ofitec", "default_ttl": ttl, "max_ttl": most, "creation_statements": []string{role.Creation}, "renew_statements": []string{role.Renew},
		"revocation_statements": []string{role.Revocation}, "rollback_statements": []string{role.Revocation},
	})
}

func configured(have, want map[string]any) bool {
	details, _ := have["connection_details"].(map[string]any)
	for name, value := range want {
		if details[name] != value {
			return false
		}
	}
	roles, _ := have["allowed_roles"].([]any)
	return slices.EqualFunc(roles, databaseRoles, func(have any, want string) bool { return have == want })
}

// secrets brings what the stack made before Vault was there: the keys of personal-data tokens and of raw files, and the first database user.
func (v vaultSetup) secrets(ctx context.Context) error {
	key, err := identity.Master(v.layout, "token-key")
	if err != nil {
		return err
	}
	password, err := identity.Master(v.layout, "postgres-odoo_bootstrap")
	if err != nil {
		return err
	}
	if err := v.bring(ctx, "ofitec/etl-transform/token-key", map[string]any{"key": base64.StdEncoding.EncodeToString(key)}); err != nil {
		return err
	}
	raw, err := identity.Master(v.layout, "raw-key")
	if err != nil {
		return err
	}
	for _, service := range []string{"etl-ingest", "etl-transform"} { // each in its own place, which its policy lets it read
		if err := v.bring(ctx, "ofitec/"+service+"/raw-key", map[string]any{"key": string(raw)}); err != nil {
			return err
		}
	}
	return v.bring(ctx, "ofitec/credentials/odoo-app", map[string]any{"username": "odoo_bootstrap", "password": string(password)})
}

// bring writes a secret's first version. One that has a version, or had, belongs to the services and is left alone.
func (v vaultSetup) bring(ctx context.Context, name string, data map[string]any) error {
	have, err := v.client.Logical().ReadWithContext(ctx, "secret/metadata/"+name)
	if err != nil {
		return fmt.Errorf("read secret %s: %w", name, err)
	}
	if have != nil {
		return nil
	}
	return v.write(ctx, "secret/data/"+name, map[string]any{"data": data, "options": map[string]any{"cas": 0}})
}

func (v vaultSetup) write(ctx context.Context, path string, data map[string]any) error {
	if _, err := v.client.Logical().WriteWithContext(ctx, path, data); err != nil {
		return fmt.Errorf("write %s to Vault: %w", path, err)
	}
	return nil
}

func text(answer *vault.Secret, field string) (string, error) {
	if answer != nil {
		if value, ok := answer.Data[field].(string); ok && value != "" {
			return value, nil
		}
	}
	return "", fmt.Errorf("read %s: Vault's answer has none", field)
}
