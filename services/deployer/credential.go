package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// Credential is one that is rolled out: which keys of the environment file hold which fields of its versions in KV v2.
type Credential struct {
	Name string                `yaml:"name"`
	Kind events.CredentialKind `yaml:"kind"` // database when empty
	Keys map[string]string     `yaml:"keys"` // KEY: field; the usual ones of the kind when empty
}

// fieldsOf says for each kind that can be rolled out which fields the rotator stages, and which keys usually hold them.
var fieldsOf = map[events.CredentialKind]struct {
	fields []string
	usual  map[string]string
}{
	events.CredentialDatabase: {[]string{"username", "password"}, map[string]string{"POSTGRES_USER": "username", "POSTGRES_PASSWORD": "password"}},
	events.CredentialKV:       {[]string{"value"}, nil},
	events.CredentialSTS: {[]string{"access_key_id", "secret_access_key", "session_token", "expiration"}, map[string]string{
		"AWS_ACCESS_KEY_ID": "access_key_id", "AWS_SECRET_ACCESS_KEY": "secret_access_key", "AWS_SESSION_TOKEN": "session_token",
	}},
}

// rolledOut are the credentials of the configuration with what goes without saying: the list, or the one of OFITEC_CREDENTIAL.
func (c *Config) rolledOut() []Credential {
	if len(c.Credentials) == 0 {
		return []Credential{Credential{Name: c.Credential}.whole()}
	}
	all := make([]Credential, 0, len(c.Credentials))
	for _, credential := range c.Credentials {
		all = append(all, credential.whole())
	}
	return all
}

func (c Credential) whole() Credential {
	if c.Kind == "" {
		c.Kind = events.CredentialDatabase
	}
	if len(c.Keys) == 0 {
		c.Keys = fieldsOf[c.Kind].usual
	}
	return c
}

// keys are the credential's keys in order; fields are what they hold, each once.
func (c Credential) keys() []string { return slices.Sorted(maps.Keys(c.Keys)) }

func (c Credential) fields() []string {
	return slices.Compact(slices.Sorted(maps.Values(c.Keys)))
}

// edit sets the credential's keys to a version; others is what comes along from the other colour.
func (c Credential) edit(version map[string]config.Secret, others []string) dotenv.Edit {
	set := map[string]string{}
	for key, field := range c.Keys {
		set[key] = version[field].Reveal()
	}
	return dotenv.Edit{Set: set, Keep: others}
}

// credentialProblems are all that is wrong with what is to be rolled out.
func (c *Config) credentialProblems() []error {
	var problems []error
	if !events.IsToken(c.Credential) {
		problems = append(problems, &config.Problem{Variable: "OFITEC_CREDENTIAL", Value: c.Credential, Want: "a name such as odoo-app"})
	}
	if len(c.Credentials) > 0 && c.Credential != usualCredential {
		problems = append(problems, &config.Problem{Variable: "OFITEC_CREDENTIAL", Value: c.Credential, Want: "nothing, since the file has a list of credentials"})
	}
	names, owners := map[string]bool{}, map[string]string{}
	for n, credential := range c.Credentials {
		bad := func(field, value, want string) {
			problems = append(problems, &config.Problem{Variable: fmt.Sprintf("credentials[%d].%s", n, field), Value: value, Want: want})
		}
		credential = credential.whole()
		if !events.IsToken(credential.Name) || names[credential.Name] {
			bad("name", credential.Name, "a name such as odoo-app, each once")
		}
		names[credential.Name] = true
		kind, known := fieldsOf[credential.Kind]
		if !known {
			bad("kind", string(credential.Kind), "one of database, kv, sts")
			continue
		}
		if len(credential.Keys) == 0 {
			bad("keys", "", "KEY: field, such as ODOO_MASTER_PASSWORD: value")
		}
		for _, key := range credential.keys() {
			field := credential.Keys[key]
			if !dotenv.IsKey(key) {
				bad("keys", key, "a key such as ODOO_MASTER_PASSWORD: letters, digits and _")
			}
			if !slices.Contains(kind.fields, field) {
				bad("keys."+key, field, "a field of kind "+string(credential.Kind)+": "+strings.Join(kind.fields, ", "))
			}
			if owner := owners[key]; owner != "" {
				bad("keys", key, "a key that is not "+owner+"'s as well")
			}
			owners[key] = credential.Name
		}
	}
	return problems
}
