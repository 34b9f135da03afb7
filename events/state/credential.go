package state

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Stage is where a version of a credential is in its life.
type Stage string

// The stages of rotation.md.
const (
	StageMinted     Stage = "minted"
	StageTested     Stage = "tested"
	StageStaged     Stage = "staged"
	StageCanary     Stage = "canary"
	StageCurrent    Stage = "current"
	StageDraining   Stage = "draining"
	StageRevoked    Stage = "revoked"
	StageRejected   Stage = "rejected"
	StageRolledBack Stage = "rolledback"
)

// Stages lists all stages.
var Stages = []Stage{StageMinted, StageTested, StageStaged, StageCanary, StageCurrent, StageDraining, StageRevoked, StageRejected, StageRolledBack}

// Credential is what the rotator knows of one credential: references, never a secret.
type Credential struct {
	Version  V1                    `json:"version"`
	Name     string                `json:"name"`
	Method   events.CredentialKind `json:"kind"`
	Term     int64                 `json:"term"`     // of the rotator that wrote it
	Versions []CredentialVersion   `json:"versions"` // oldest first
	NextAt   *time.Time            `json:"next_rotation_at,omitempty"`
	Alarm    string                `json:"alarm,omitempty"`

	Attempt float64 `json:"attempt_seconds,omitempty"` // what one rollout takes, gate and all: so many fit before a version's deadline
	Grace   float64 `json:"grace_seconds,omitempty"`   // between a switch and the end of the old version
}

// CredentialVersion is one version and its lease.
type CredentialVersion struct {
	Number      int64        `json:"number"`
	Stage       Stage        `json:"stage"`
	Path        string       `json:"path,omitempty"`     // KV v2 path, once staged
	Lease       string       `json:"lease_id,omitempty"` // Vault's lease; an id, not a secret
	User        string       `json:"user,omitempty"`     // database user
	Fingerprint string       `json:"fingerprint,omitempty"`
	MintedAt    time.Time    `json:"minted_at"`
	RenewedAt   *time.Time   `json:"renewed_at,omitempty"`
	ExpiresAt   time.Time    `json:"expires_at"`
	DeadlineAt  time.Time    `json:"deadline_at"`     // max_ttl: no renewal goes past it
	Epoch       events.Epoch `json:"epoch,omitempty"` // failover epoch under which a database user was made
	Reason      string       `json:"reason,omitempty"`
	Verified    events.Epoch `json:"verified_epoch,omitempty"` // failover epoch under which it was last seen to log in, or seen not to
	Missing     bool         `json:"missing,omitempty"`        // it did not: the failover has lost its user

	Previous    int64           `json:"previous,omitempty"` // the version that was current when this one was made
	Trigger     string          `json:"trigger,omitempty"`  // as in credential.rotated
	Act         *events.Act     `json:"act,omitempty"`      // when somebody asked for it
	Correlation string          `json:"correlation,omitempty"`
	Causation   string          `json:"causation,omitempty"`
	TTL         float64         `json:"ttl_seconds,omitempty"` // granted by the last renewal
	Renewals    int64           `json:"renewals,omitempty"`
	Asked       []events.Region `json:"asked,omitempty"`       // to whose deployers it was published, in that order
	AskedAt     *time.Time      `json:"asked_at,omitempty"`    // when the last of them was asked
	Deployed    []events.Region `json:"deployed,omitempty"`    // whose traffic runs, or ran, on it
	RolledBack  []events.Region `json:"rolled_back,omitempty"` // where it did not pass
	DrainFrom   *time.Time      `json:"drain_from,omitempty"`  // since when it has no use; the cause says why
	Cause       string          `json:"cause,omitempty"`       // as in credential.revoked
}

// Kind implements Document.
func (Credential) Kind() string { return "credential state" }

// Validate implements Document.
func (s Credential) Validate() error {
	var c events.Check
	c.Token("name", s.Name)
	events.OneOf(&c, "kind", s.Method, events.CredentialKinds...)
	current, last := 0, int64(0)
	for n, v := range s.Versions {
		field := fmt.Sprintf("versions[%d].", n)
		c.That(v.Number > last, field+"number", v.Number, fmt.Sprintf("more than %d", last))
		last = v.Number
		events.OneOf(&c, field+"stage", v.Stage, Stages...)
		c.Time(field+"minted_at", v.MintedAt)
		if v.Stage == StageCurrent {
			current++
		}
	}
	c.That(current <= 1, "versions", current, "at most one current version")
	return c.Err(s.Kind())
}

// Colour is one of the two Odoo instances of a region.
type Colour string

// The colours.
const (
	Blue  Colour = "blue"
	Green Colour = "green"
)

// DeploymentPhase is how far a rollout has come.
type DeploymentPhase string

// The phases of a rollout.
const (
	DeploymentPlanned    DeploymentPhase = "planned"
	DeploymentRendered   DeploymentPhase = "rendered"
	DeploymentStarted    DeploymentPhase = "started"
	DeploymentWatching   DeploymentPhase = "watching"
	DeploymentSwitched   DeploymentPhase = "switched"
	DeploymentDone       DeploymentPhase = "done"
	DeploymentRolledBack DeploymentPhase = "rolledback"
)

// Deployment is the rollout of one credential in one region.
type Deployment struct {
	Version      V1              `json:"version"`
	Region       events.Region   `json:"region"`
	Name         string          `json:"name"`
	Number       int64           `json:"number"`   // version of the credential
	Previous     int64           `json:"previous"` // version that runs on the other colour; 0 for none
	Hot          Colour          `json:"hot"`      // takes the traffic
	Phase        DeploymentPhase `json:"phase"`
	Since        time.Time       `json:"since"`
	WatchUntil   *time.Time      `json:"watch_until,omitempty"`
	Inconclusive int             `json:"inconclusive,omitempty"` // gate readings without an answer
	Cause        string          `json:"cause"`                  // message id of the credential.rotated event
	Announced    string          `json:"announced,omitempty"`    // id of the result's event
	Reason       string          `json:"reason,omitempty"`

	Colour      Colour           `json:"colour,omitempty"`  // the canary
	Standby     bool             `json:"standby,omitempty"` // the region's database was read-only: writes were not tested
	Started     *time.Time       `json:"started_at,omitempty"`
	Step        string           `json:"step,omitempty"` // where it was rolled back, as in credential.rolledback
	Readings    *events.Readings `json:"readings,omitempty"`
	Correlation string           `json:"correlation,omitempty"`

	Method      events.CredentialKind `json:"kind,omitempty"`
	Path        string                `json:"path,omitempty"` // KV v2 path, where the version is read
	Fingerprint string                `json:"fingerprint,omitempty"`
	Ended       *time.Time            `json:"ended_at,omitempty"`
	Gates       *events.Gates         `json:"gates,omitempty"`   // the last reading
	Settled     bool                  `json:"settled,omitempty"` // the colour without traffic runs on the same version as the one with it

	Weight      int        `json:"weight,omitempty"`       // percent of the traffic that the canary has been given, while it is watched
	GreenBefore int        `json:"green_before,omitempty"` // green readings before the present step of weights
	WatchFrom   *time.Time `json:"watch_from,omitempty"`   // when the canary had logged in
	SwitchedAt  *time.Time `json:"switched_at,omitempty"`  // when the canary got all of the traffic
	Limits      *Limits    `json:"limits,omitempty"`
	Samples     []Sample   `json:"samples,omitempty"` // readings, oldest first
}

// Kind implements Document.
func (Deployment) Kind() string { return "deployment state" }

// Validate implements Document.
func (d Deployment) Validate() error {
	var c events.Check
	c.DataRegion("region", d.Region)
	c.Token("name", d.Name)
	events.AtLeastOne(&c, "number", d.Number)
	events.NotNegative(&c, "previous", d.Previous)
	events.OneOf(&c, "hot", d.Hot, Blue, Green)
	events.OneOf(&c, "phase", d.Phase, DeploymentPlanned, DeploymentRendered, DeploymentStarted, DeploymentWatching, DeploymentSwitched, DeploymentDone, DeploymentRolledBack)
	c.Time("since", d.Since)
	return c.Err(d.Kind())
}
