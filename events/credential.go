package events

import (
	"regexp"
	"strconv"
	"time"
)

// CredentialKind is how a credential is made.
type CredentialKind string

// The kinds of design.md section 5.
const (
	CredentialDatabase CredentialKind = "database"
	CredentialSTS      CredentialKind = "sts"
	CredentialKV       CredentialKind = "kv"
	CredentialRoot     CredentialKind = "vault-root" // the login by which Vault makes the database's users
)

// CredentialKinds lists all kinds.
var CredentialKinds = []CredentialKind{CredentialDatabase, CredentialSTS, CredentialKV, CredentialRoot}

// Credential names one version of a credential, by reference: whoever may read it does so at Path with an identity of its own.
type Credential struct {
	Name        string         `json:"name"`
	Kind        CredentialKind `json:"kind"`
	Version     int64          `json:"version" jsonschema:"description=the rotator's number; equal to the KV v2 version at path"`
	Path        string         `json:"path" jsonschema:"description=KV v2 path; relative to the mount"`
	Fingerprint string         `json:"fingerprint" jsonschema:"description=HMAC-SHA-256 of the secret under a key that stays in Vault; 64 hexadecimal digits"`
}

var vaultPath = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*)(/[a-z0-9][a-z0-9_-]*)*$`)

// Problems says what is wrong with the reference.
func (r Credential) Problems() []Problem {
	var c Check
	c.Token("name", r.Name)
	OneOf(&c, "kind", r.Kind, CredentialKinds...)
	AtLeastOne(&c, "version", r.Version)
	c.That(vaultPath.MatchString(r.Path) && len(r.Path) <= 256, "path", r.Path, "a Vault path such as odoo/database")
	c.SHA256("fingerprint", r.Fingerprint)
	return c.Problems()
}

// Entity implements Payload for all events of a credential.
func (r Credential) Entity() string { return r.Name }

func (r Credential) version() string { return strconv.FormatInt(r.Version, 10) }

// Lease is how long a version lives.
type Lease struct {
	TTLSeconds float64   `json:"ttl_seconds"`
	ExpiresAt  time.Time `json:"expires_at"`
	DeadlineAt time.Time `json:"deadline_at" jsonschema:"description=max_ttl; no renewal goes past it"`
}

// Problems says what is wrong with the lease.
func (l Lease) Problems() []Problem {
	var c Check
	c.That(l.TTLSeconds > 0, "ttl_seconds", l.TTLSeconds, "more than 0")
	c.Time("expires_at", l.ExpiresAt)
	c.Order("deadline_at", l.DeadlineAt, "expires_at", l.ExpiresAt)
	return c.Problems()
}

// CredentialRotated: a new version is tested and staged; the deployer of Region may take it. Regions are asked one after the other, each by an event of its own, and no
// further one is asked when a region has rolled the version back.
type CredentialRotated struct {
	Credential
	Region   Region `json:"region,omitempty" jsonschema:"description=whose deployer takes it now; absent: each region's"`
	Lease    Lease  `json:"lease"`
	Previous int64  `json:"previous_version" jsonschema:"description=0 when it is the first"`
	Trigger  string `json:"trigger" jsonschema:"enum=schedule,enum=job,enum=failover,enum=breakglass,enum=first"`
	Act      *Act   `json:"act,omitempty" jsonschema:"description=when somebody asked for it"`
}

// Type implements Payload.
func (CredentialRotated) Type() Type { return TypeCredentialRotated }

// Key implements Payload.
func (p CredentialRotated) Key() string {
	if p.Region == "" {
		return p.version()
	}
	return p.version() + "-" + string(p.Region)
}

// Validate implements Payload.
func (p CredentialRotated) Validate() error {
	c := Check{problems: p.Problems()}
	if p.Region != "" {
		c.DataRegion("region", p.Region)
	}
	c.Part("lease", p.Lease.Problems())
	c.That(p.Previous >= 0 && p.Previous < p.Version, "previous_version", p.Previous, "0 or more, and less than version")
	OneOf(&c, "trigger", p.Trigger, "schedule", "job", "failover", "breakglass", "first")
	if p.Act != nil {
		c.Part("act", p.Act.Problems())
	}
	return invalid(p, c.problems)
}

// CredentialRenewed: the lease of a version in use was prolonged.
type CredentialRenewed struct {
	Credential
	Lease   Lease `json:"lease"`
	Renewal int64 `json:"renewal" jsonschema:"description=running number of the renewals of this version; from 1"`
}

// Type implements Payload.
func (CredentialRenewed) Type() Type { return TypeCredentialRenewed }

// Key implements Payload.
func (p CredentialRenewed) Key() string {
	return p.version() + "-" + strconv.FormatInt(p.Renewal, 10)
}

// Validate implements Payload.
func (p CredentialRenewed) Validate() error {
	c := Check{problems: p.Problems()}
	c.Part("lease", p.Lease.Problems())
	AtLeastOne(&c, "renewal", p.Renewal)
	return invalid(p, c.problems)
}

// CredentialRevoked: a version opens nothing any more.
type CredentialRevoked struct {
	Credential
	Manner          string    `json:"manner" jsonschema:"enum=revoked,enum=expired,description=an STS session cannot be revoked: it has expired"`
	Cause           string    `json:"cause" jsonschema:"enum=superseded,enum=rolledback,enum=rejected,enum=lost,enum=breakglass"`
	RevokedAt       time.Time `json:"revoked_at"`
	SessionsEnded   int       `json:"sessions_ended" jsonschema:"description=database sessions of its user that were ended"`
	DrainedProven   bool      `json:"drained_proven" jsonschema:"description=no session of its user was left; read in the database"`
	DrainSeconds    float64   `json:"drain_seconds"`
	OrphansReturned int       `json:"orphans_returned" jsonschema:"description=objects that it owned and that now belong to the owner role"`
}

// Type implements Payload.
func (CredentialRevoked) Type() Type { return TypeCredentialRevoked }

// Key implements Payload.
func (p CredentialRevoked) Key() string { return p.version() }

// Validate implements Payload.
func (p CredentialRevoked) Validate() error {
	c := Check{problems: p.Problems()}
	OneOf(&c, "manner", p.Manner, "revoked", "expired")
	c.That(p.Kind != CredentialSTS || p.Manner == "expired", "manner", p.Manner, "expired, since an STS session cannot be revoked")
	OneOf(&c, "cause", p.Cause, "superseded", "rolledback", "rejected", "lost", "breakglass")
	c.Time("revoked_at", p.RevokedAt)
	NotNegative(&c, "sessions_ended", p.SessionsEnded)
	NotNegative(&c, "drain_seconds", p.DrainSeconds)
	NotNegative(&c, "orphans_returned", p.OrphansReturned)
	return invalid(p, c.problems)
}

// CredentialExpiring: a version in use nears its deadline and no successor is in sight.
type CredentialExpiring struct {
	Credential
	Level        string  `json:"level" jsonschema:"enum=warn,enum=page"`
	Lease        Lease   `json:"lease"`
	AttemptsLeft int     `json:"attempts_left" jsonschema:"description=how many rollouts still fit before the deadline"`
	SecondsLeft  float64 `json:"seconds_left"`
	Reason       string  `json:"reason"`
}

// Type implements Payload.
func (CredentialExpiring) Type() Type { return TypeCredentialExpiring }

// Key implements Payload.
func (p CredentialExpiring) Key() string { return p.version() + "-" + p.Level }

// Validate implements Payload.
func (p CredentialExpiring) Validate() error {
	c := Check{problems: p.Problems()}
	OneOf(&c, "level", p.Level, "warn", "page")
	c.Part("lease", p.Lease.Problems())
	NotNegative(&c, "attempts_left", p.AttemptsLeft)
	NotNegative(&c, "seconds_left", p.SecondsLeft)
	c.Text("reason", p.Reason, 1000)
	return invalid(p, c.problems)
}

// CredentialBreakGlass: somebody took a credential by hand, around the rotation.
type CredentialBreakGlass struct {
	Credential
	Act       Act       `json:"act"`
	ExpiresAt time.Time `json:"expires_at" jsonschema:"description=when what was handed out ends"`
}

// Type implements Payload.
func (CredentialBreakGlass) Type() Type { return TypeCredentialBreakGlass }

// Key implements Payload.
func (p CredentialBreakGlass) Key() string { return p.Act.Request }

// Validate implements Payload.
func (p CredentialBreakGlass) Validate() error {
	c := Check{problems: p.Problems()}
	c.Part("act", p.Act.Problems())
	c.Time("expires_at", p.ExpiresAt)
	return invalid(p, c.problems)
}
