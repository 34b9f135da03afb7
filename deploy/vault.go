package deploy

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
)

// Vault is one server on integrated storage.
type Vault struct {
	NodeID      string
	ClusterName string // "ofitec" when empty
	DataDir     string
	Listen      string // region:8200, TLS
	Cluster     string // region:8201
	TLS         TLSFiles
	Peers       []string // the other servers' Listen; none while there is one server
	LogLevel    string   // "warn" when empty
}

// Render returns vault.hcl.
func (v Vault) Render() ([]byte, error) {
	if v.ClusterName == "" {
		v.ClusterName = "ofitec"
	}
	if v.LogLevel == "" {
		v.LogLevel = "warn"
	}
	p := problems{of: "vault"}
	p.name("NodeID", v.NodeID)
	p.name("ClusterName", v.ClusterName)
	p.path("DataDir", v.DataDir)
	p.hostPort("Listen", v.Listen)
	p.hostPort("Cluster", v.Cluster)
	p.tls("TLS", v.TLS)
	for i, peer := range v.Peers {
		p.hostPort(fmt.Sprintf("Peers[%d]", i), peer)
	}
	p.oneOf("LogLevel", v.LogLevel, "trace", "debug", "info", "warn", "error")
	if err := p.err(); err != nil {
		return nil, err
	}
	return render("vault/vault.hcl.tmpl", v)
}

// VaultPolicies returns the policies by the name of the service that has them. The mounts that they name are
// database/, secret/ (KV version 2) and transit/ (key credential-fingerprint); KV paths begin with ofitec/:
// credentials/ (rotator writes, deployer reads), rotator/ (its own), etl-ingest/ and etl-transform/. Beside those of services stand break-glass (an operator's),
// backup (restic's), dashboards (whoever reads the marts) and odoo (what its announcements are signed with).
func VaultPolicies() (map[string]string, error) { return vaultFiles("policies") }

func vaultFiles(folder string) (map[string]string, error) {
	entries, err := files.ReadDir("vault/" + folder)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	texts := map[string]string{}
	for _, entry := range entries {
		text, err := files.ReadFile(path.Join("vault", folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", folder, entry.Name(), err)
		}
		texts[strings.TrimSuffix(entry.Name(), ".hcl")] = string(text)
	}
	return texts, nil
}

// VaultRole is a role of the database engine: one string a statement list, as database/roles/<name> takes them in
// creation_statements, renew_statements, revocation_statements and rollback_statements (the same as revocation).
type VaultRole struct{ Creation, Renew, Revocation string }

// VaultOdooRole returns the role odoo-app: users of an hour, a day at most, members of odoo_owner.
func VaultOdooRole() (VaultRole, error) { return vaultRole("odoo-app") }

// VaultReaderRole returns the role analytics-reader: users of an hour, a day at most, members of analytics_reader, who read the marts and change nothing.
func VaultReaderRole() (VaultRole, error) { return vaultRole("analytics-reader") }

// VaultFenceRole returns the role rotator-fence: users of minutes, members of ofitec_fencer, with whom the rotator ends users of odoo-app and analytics-reader.
func VaultFenceRole() (VaultRole, error) { return vaultRole("rotator-fence") }

// VaultBreakGlassRole returns the role break-glass: users of a quarter of an hour for a person, members of odoo_owner.
func VaultBreakGlassRole() (VaultRole, error) { return vaultRole("break-glass") }

// VaultPasswordPolicies returns the password policies by name, as sys/policies/password takes them.
func VaultPasswordPolicies() (map[string]string, error) { return vaultFiles("passwords") }

func vaultRole(name string) (VaultRole, error) {
	var role VaultRole
	for kind, field := range map[string]*string{"creation": &role.Creation, "renew": &role.Renew, "revocation": &role.Revocation} {
		text, err := files.ReadFile("vault/roles/" + name + "." + kind + ".sql")
		if err != nil {
			return VaultRole{}, fmt.Errorf("read %s statements of %s: %w", kind, name, err)
		}
		*field = string(text)
	}
	return role, nil
}

// VaultDatabase is the database engine's connection: through both regions' proxies to the side that takes writes, so
// that a failover needs no new configuration.
type VaultDatabase struct {
	Proxies []string // both regions' host:5432
	CAFile  string   // as Vault's process reads it
}

// ConnectionURL is database/config's connection_url, with Vault's placeholders for user and password. Beside it go
// username=vault_admin, password_authentication=scram-sha-256 (so that Vault sends verifiers, not passwords) and
// max_connection_lifetime=30s.
func (d VaultDatabase) ConnectionURL() (string, error) {
	p := problems{of: "vault database"}
	p.hostPorts("Proxies", d.Proxies)
	p.path("CAFile", d.CAFile)
	if err := p.err(); err != nil {
		return "", err
	}
	options := url.Values{
		"target_session_attrs": {"read-write"},
		"sslmode":              {"verify-full"},
		"sslrootcert":          {d.CAFile},
		"connect_timeout":      {"2"},
	}
	return "postgresql://{{username}}:{{password}}@" + strings.Join(d.Proxies, ",") + "/ofitec_prod?" + options.Encode(), nil
}

// Credentials is the rotator's list: credentials of all kinds.
type Credentials struct {
	Objects        string        // address of the object store that gives sessions, such as https://127.0.0.1:9000
	WebhookOverlap time.Duration // how long after a rotation the webhook's secret before is good as well; 24h when 0
}

// Bucket is the one that a session must be able to list.
func (Credentials) Bucket() string { return MinIOBackup }

// Render returns the file of OFITEC_CONFIG.
func (c Credentials) Render() ([]byte, error) {
	p := problems{of: "credentials"}
	if address, err := url.Parse(c.Objects); err != nil || address.Scheme != "https" || address.Host == "" || address.Path != "" {
		p.add("Objects", "%q is no address such as https://127.0.0.1:9000", c.Objects)
	}
	if c.WebhookOverlap == 0 {
		c.WebhookOverlap = 24 * time.Hour
	}
	if c.WebhookOverlap < time.Second {
		p.add("WebhookOverlap", "%s is no time such as 24h", c.WebhookOverlap)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return render("vault/credentials.yml.tmpl", c)
}

// Rollout returns the deployers' file of OFITEC_CONFIG: the credentials that are brought to Odoo, and by which keys.
func Rollout() ([]byte, error) {
	content, err := files.ReadFile("vault/rollout.yml")
	if err != nil {
		return nil, fmt.Errorf("read what is rolled out: %w", err)
	}
	return content, nil
}
