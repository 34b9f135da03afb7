package deploy

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
)

// PostgresLoginRoles are the roles that log in with a password, each of which needs a verifier in PostgresRoles.
var PostgresLoginRoles = []string{
	"ofitec_replication", "ofitec_rewind", "ofitec_probe", "ofitec_exporter",
	"vault_admin", "odoo_bootstrap", "analytics_publisher", "analytics_reader",
}

var postgresGroupRoles = []string{"odoo_owner", "analytics_owner", "ofitec_fencer"}

// PostgresRoles makes the cluster's roles, databases, schemas and grants. It can be run again at any time on a writable
// server, by the superuser over the Unix socket.
type PostgresRoles struct {
	// Verifiers holds a SCRAMVerifier for each of PostgresLoginRoles.
	Verifiers map[string]string
}

// PostgresScript is SQL for one database. It may hold several statements: send it with the simple protocol
// (pgx: conn.PgConn().Exec(ctx, SQL).ReadAll()), which also makes one transaction of it.
type PostgresScript struct {
	Name     string // for messages
	Database string
	// Unless is a query; when it returns a row the script is not needed and must not run. Empty: always run.
	Unless string
	SQL    string // holds verifiers, no passwords; do not log it
}

// Scripts returns what to run, in order.
func (r PostgresRoles) Scripts() ([]PostgresScript, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	scripts := []PostgresScript{
		{Name: "roles", Database: "postgres"},
		{Name: "vault_admin", Database: "postgres", Unless: "SELECT 1 FROM pg_catalog.pg_authid WHERE rolname = 'vault_admin' AND rolpassword IS NOT NULL"},
		createDatabase("ofitec_prod", "odoo_owner"),
		{Name: "ofitec_prod", Database: "ofitec_prod"},
		{Name: "fence", Database: "ofitec_prod"},
		createDatabase("analytics", "analytics_owner"),
		{Name: "analytics", Database: "analytics"},
	}
	for i := range scripts {
		if scripts[i].SQL != "" {
			continue
		}
		sql, err := render("postgres/bootstrap/"+scripts[i].Name+".sql.tmpl", r)
		if err != nil {
			return nil, err
		}
		scripts[i].SQL = string(sql)
	}
	return scripts, nil
}

// createDatabase stands alone: CREATE DATABASE runs in no transaction and knows no IF NOT EXISTS.
func createDatabase(name, owner string) PostgresScript {
	return PostgresScript{
		Name:     "create database " + name,
		Database: "postgres",
		Unless:   fmt.Sprintf("SELECT 1 FROM pg_catalog.pg_database WHERE datname = '%s'", name),
		SQL:      fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'", name, owner),
	}
}

// Roles lists the roles for the template.
func (r PostgresRoles) Roles() []string {
	return append(append([]string{}, postgresGroupRoles...), PostgresLoginRoles...)
}

// Verifier is one role's verifier for the template.
func (r PostgresRoles) Verifier(role string) (string, error) {
	verifier, ok := r.Verifiers[role]
	if !ok {
		return "", fmt.Errorf("role %s has no verifier", role)
	}
	return verifier, nil
}

var scramVerifier = regexp.MustCompile(`^SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$`)

func (r PostgresRoles) check() error {
	p := problems{of: "postgres roles"}
	for _, role := range PostgresLoginRoles {
		// The value is not part of the message: it may be a password by mistake.
		if !scramVerifier.MatchString(r.Verifiers[role]) {
			p.add("Verifiers["+role+"]", "is not a SCRAM-SHA-256 verifier")
		}
	}
	return p.err()
}

const scramIterations = 4096 // PostgreSQL's own

// SCRAMVerifier is what PostgreSQL stores for a password, so that the password itself never travels in a statement.
// The salt is 16 random bytes. Passwords are printable ASCII: others would need SASLprep.
func SCRAMVerifier(password string, salt []byte) (string, error) {
	if password == "" || len(salt) < 16 {
		return "", fmt.Errorf("make verifier: the password is empty or the salt is shorter than 16 bytes")
	}
	for i := 0; i < len(password); i++ {
		if password[i] < ' ' || password[i] > '~' {
			return "", fmt.Errorf("make verifier: the password is not printable ASCII")
		}
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("make verifier: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
