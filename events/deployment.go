package events

import "time"

// Rollout is what a deployer did with one version of a credential in its region.
type Rollout struct {
	Credential
	Region   Region    `json:"region"`
	Colour   string    `json:"colour" jsonschema:"enum=blue,enum=green,description=the instance that got the version"`
	Standby  bool      `json:"standby" jsonschema:"description=the region's database was read-only: login and reads were tested; writes were not"`
	Started  time.Time `json:"started_at"`
	Ended    time.Time `json:"ended_at"`
	Readings Readings  `json:"readings"`
}

// Readings counts how the gates answered while the canary was watched. No data is inconclusive, never good.
type Readings struct {
	Green        int `json:"green"`
	Red          int `json:"red"`
	Inconclusive int `json:"inconclusive"`
}

// Key implements Payload.
func (r Rollout) Key() string { return r.version() + "-" + string(r.Region) }

func (r Rollout) problems() []Problem {
	c := Check{problems: r.Problems()}
	c.DataRegion("region", r.Region)
	OneOf(&c, "colour", r.Colour, "blue", "green")
	c.Time("started_at", r.Started)
	c.Order("ended_at", r.Ended, "started_at", r.Started)
	NotNegative(&c, "readings.green", r.Readings.Green)
	NotNegative(&c, "readings.red", r.Readings.Red)
	NotNegative(&c, "readings.inconclusive", r.Readings.Inconclusive)
	return c.Problems()
}

// CredentialDeployed: the traffic runs on the version; the one before may be drained and revoked.
type CredentialDeployed struct {
	Rollout
	Previous int64 `json:"previous_version" jsonschema:"description=0 when it is the first"`
}

// Type implements Payload.
func (CredentialDeployed) Type() Type { return TypeCredentialDeployed }

// Validate implements Payload.
func (p CredentialDeployed) Validate() error {
	c := Check{problems: p.problems()}
	c.That(p.Previous >= 0 && p.Previous < p.Version, "previous_version", p.Previous, "0 or more, and less than version")
	return invalid(p, c.problems)
}

// CredentialRolledBack: the version did not pass; the traffic stays on the one before.
type CredentialRolledBack struct {
	Rollout
	Kept   int64  `json:"kept_version" jsonschema:"description=the version that the traffic runs on; 0 for none"`
	Step   string `json:"step" jsonschema:"enum=render,enum=start,enum=login,enum=gate,enum=switch"`
	Reason string `json:"reason"`
	Gates  *Gates `json:"gates,omitempty" jsonschema:"description=the last reading"`
}

// Type implements Payload.
func (CredentialRolledBack) Type() Type { return TypeCredentialRolledBack }

// Validate implements Payload.
func (p CredentialRolledBack) Validate() error {
	c := Check{problems: p.problems()}
	NotNegative(&c, "kept_version", p.Kept)
	OneOf(&c, "step", p.Step, "render", "start", "login", "gate", "switch")
	c.Text("reason", p.Reason, 1000)
	if p.Gates != nil {
		c.Part("gates", p.Gates.problems())
	}
	return invalid(p, c.problems)
}
