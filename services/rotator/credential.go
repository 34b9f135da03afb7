package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
)

// Credential is one that is rotated. What does not belong to its kind stays empty.
type Credential struct {
	Name   string                `yaml:"name"`
	Kind   events.CredentialKind `yaml:"kind"`
	Deploy *bool                 `yaml:"deploy"` // whether deployers bring it to Odoo; the application's users and kv: yes, the others: no

	Role       string        `yaml:"role"`       // database: Vault's role; the name when empty
	Reads      Reads         `yaml:"reads"`      // database: users who only read, and where; the application's when empty
	Generate   string        `yaml:"generate"`   // kv, vault-root: Vault's password policy
	Connection string        `yaml:"connection"` // vault-root: Vault's database connection
	Life       time.Duration `yaml:"life"`       // kv, vault-root: what a version lives at most; sts: what is asked for
	Overlap    time.Duration `yaml:"overlap"`    // how long the version before stays valid; the drain's grace when 0

	STS STS `yaml:"sts"`
}

// STS is whom to ask for a session and where to try it. The keys that may ask stand in KV v2 at ofitec/rotator/<name>: access_key_id and secret_access_key.
type STS struct {
	Endpoint string `yaml:"endpoint"` // such as https://sts.eu-west-1.amazonaws.com, or a MinIO
	Region   string `yaml:"region"`   // us-east-1 when empty
	Role     string `yaml:"role_arn"`
	Try      string `yaml:"try"` // a bucket's address, which a new session must be able to list
}

// Reads is what users of the kind database may do who are not the application's.
type Reads struct {
	Database string `yaml:"database"` // such as analytics
	Group    string `yaml:"group"`    // the role whose members they are, such as analytics_reader
}

// inDatabase says that it is a login to the database.
func (c Credential) inDatabase() bool {
	return c.Kind == events.CredentialDatabase || c.Kind == events.CredentialRoot
}

func (c Credential) deployed() bool {
	if c.Deploy != nil {
		return *c.Deploy
	}
	return c.Kind == events.CredentialDatabase && c.Reads == (Reads{}) || c.Kind == events.CredentialKV
}

func (c Credential) role() string {
	if c.Role == "" {
		return c.Name
	}
	return c.Role
}

// path is where it is staged, below the mount secret/. The engine's own login stands where no deployer reads.
func (c Credential) path() string {
	if c.Kind == events.CredentialRoot {
		return "ofitec/rotator/" + c.Name
	}
	return "ofitec/credentials/" + c.Name
}

// The lives that a kind takes.
const (
	leastLife    = time.Second
	leastAside   = time.Hour
	leastSession = 15 * time.Minute // AWS and MinIO give no shorter one
	mostSession  = 12 * time.Hour
)

var word = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$`)

// problemsOf says all that is wrong with the list.
func problemsOf(all []Credential) []error {
	var problems []error
	names, roles := map[string]bool{}, map[string]bool{}
	for n, c := range all {
		bad := func(field, value, want string) {
			problems = append(problems, &config.Problem{Variable: fmt.Sprintf("credentials[%d].%s", n, field), Value: value, Want: want})
		}
		if !word.MatchString(c.Name) || names[c.Name] {
			bad("name", c.Name, "small letters, digits, - and _, each name once")
		}
		names[c.Name] = true
		if !slices.Contains(events.CredentialKinds, c.Kind) {
			bad("kind", string(c.Kind), "one of database, sts, kv, vault-root")
		}
		if c.Kind == events.CredentialDatabase {
			if roles[c.role()] {
				bad("role", c.role(), "a role of its own: its leases are told apart by it")
			}
			roles[c.role()] = true
			if other := c.mistakenFor(all[:n]); other != "" {
				bad("role", c.role(), "one that is told apart from "+other+" by its first eight letters: a user's name has no more of it, and each would fence the other's users")
			}
		}
		if c.Overlap < 0 {
			bad("overlap", c.Overlap.String(), "a duration, or nothing")
		}
		c.own(bad)
	}
	if len(all) == 0 {
		problems = append(problems, &config.Problem{Variable: "credentials", Value: "", Want: "one or more, or no such list: then odoo-app of kind database is rotated"})
	}
	return problems
}

// mistakenFor is the role of another credential whose users cannot be told from this one's (postgres.Fencer.Users), or nothing.
func (c Credential) mistakenFor(others []Credential) string {
	mark := func(role string) string { return "-" + role[:min(len(role), 8)] + "-" }
	for _, o := range others {
		mine, theirs := mark(c.role()), mark(o.role())
		if o.Kind == c.Kind && o.Reads.Group == c.Reads.Group && o.role() != c.role() && (strings.Contains(mine, theirs) || strings.Contains(theirs, mine)) {
			return o.role()
		}
	}
	return ""
}

// own are the problems of what belongs to a kind, and of what does not.
func (c Credential) own(bad func(field, value, want string)) {
	generated := c.Kind == events.CredentialKV || c.Kind == events.CredentialRoot
	switch {
	case generated && c.Generate == "":
		bad("generate", "", "a password policy of Vault's")
	case !generated && c.Generate != "":
		bad("generate", c.Generate, "nothing: only kv and vault-root are generated by a policy")
	}
	switch c.Kind {
	case events.CredentialDatabase:
		if c.Life != 0 {
			bad("life", c.Life.String(), "nothing: Vault's role says how long a user lives")
		}
	case events.CredentialSTS:
		if c.Life < leastSession || c.Life > mostSession {
			bad("life", c.Life.String(), "15m to 12h: that is what a session may live")
		}
	default:
		if c.Life < leastLife {
			bad("life", c.Life.String(), "how long a version may be in use, such as 720h")
		}
	}
	if c.Kind != events.CredentialSTS {
		if c.STS != (STS{}) {
			bad("sts", c.STS.Endpoint, "nothing: the kind is not sts")
		}
	} else {
		for field, value := range map[string]string{"endpoint": c.STS.Endpoint, "try": c.STS.Try} {
			if !address.MatchString(value) {
				bad("sts."+field, value, "an address that begins with https:// (or http://)")
			}
		}
	}
	c.ownReads(bad)
	if (c.Connection != "") != (c.Kind == events.CredentialRoot) {
		bad("connection", c.Connection, "Vault's database connection where the kind is vault-root, else nothing")
	}
	if c.Kind == events.CredentialRoot && c.Overlap < leastAside {
		bad("overlap", c.Overlap.String(), "how long the password before is kept aside, 1h or more: a failover may bring it back")
	}
	if c.deployed() && c.Kind != events.CredentialDatabase && c.Kind != events.CredentialKV {
		bad("deploy", "true", "false: an sts session is read by its own helper, and vault-root by nobody")
	}
}

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func (c Credential) ownReads(bad func(field, value, want string)) {
	if c.Reads == (Reads{}) {
		return
	}
	if c.Kind != events.CredentialDatabase {
		bad("reads", c.Reads.Database, "nothing: the kind is not database")
		return
	}
	for field, value := range map[string]string{"database": c.Reads.Database, "group": c.Reads.Group} {
		if !identifier.MatchString(value) {
			bad("reads."+field, value, "a name of PostgreSQL's such as analytics_reader: small letters, digits and _")
		}
	}
	if c.deployed() {
		bad("deploy", "true", "false: who only reads is none of the application's users, and deployers bring those only")
	}
}

var address = regexp.MustCompile(`^https?://[^/]+`)

// policy is how it is treated.
func (c Credential) policy(r Rotation) rotation.Policy {
	p := rotation.Policy{
		Name: c.Name, Kind: c.Kind, Path: c.path(), RenewAt: r.RenewAt, RotateAt: r.RotateAt, Grace: r.Grace, Patience: r.Patience, Attempt: r.Attempt, Again: r.Again,
	}
	if c.Overlap > 0 {
		p.Grace = c.Overlap
	}
	if c.deployed() {
		p.Regions = events.DataRegions
		for _, region := range r.Order {
			p.Order = append(p.Order, events.Region(region))
		}
	}
	if c.Life > 0 { // a pause that its life bears
		p.Again = min(p.Again, c.Life/10)
	}
	return p
}
