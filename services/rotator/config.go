package main

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
)

// fenceRole makes those who see the application's users out.
const fenceRole = "rotator-fence"

// Config is what the rotator reads.
type Config struct {
	chassis.Settings `yaml:",inline"`

	Database Database `yaml:"database"`
	Rotation Rotation `yaml:"rotation"`

	// Credentials has structure, so it stands in the file only.
	Credentials []Credential `yaml:"credentials"`
}

// Database says how to reach PostgreSQL.
type Database struct {
	Proxies     []string `env:"OFITEC_DATABASE_PROXIES" yaml:"proxies" doc:"host:port of the database proxies of all data regions; the one that leads to a writable server is used"`
	ReadProxies []string `env:"OFITEC_DATABASE_READ_PROXIES" yaml:"read_proxies" doc:"host:port of the read-only proxies; sessions of a fenced user on a standby are ended there"`
	Name        string   `env:"OFITEC_DATABASE_NAME" yaml:"name" doc:"the application's database"`
}

// Rotation is the schedule.
type Rotation struct {
	RenewAt  float64       `env:"OFITEC_RENEW_AT" yaml:"renew_at" doc:"fraction of the ttl at which a lease is renewed, +- 0.05"`
	RotateAt float64       `env:"OFITEC_ROTATE_AT" yaml:"rotate_at" doc:"fraction of max_ttl at which a version is replaced, +- 0.05"`
	Grace    time.Duration `env:"OFITEC_DRAIN_GRACE" yaml:"drain_grace" doc:"time between the switch and the end of the old version"`
	Order    []string      `env:"OFITEC_REGION_ORDER" yaml:"region_order" doc:"in which regions get a version, such as b,a; empty: the region that writes is the last"`
	Patience time.Duration `env:"OFITEC_REGION_PATIENCE" yaml:"region_patience" doc:"how long a region that says nothing is waited for, and keeps an old version alive"`
	Away     time.Duration `env:"OFITEC_REGION_AWAY_AFTER" yaml:"region_away_after" doc:"a region whose arbiter has stopped to report for so long is not waited for"`
	Attempt  time.Duration `env:"OFITEC_ROLLOUT_TIME" yaml:"rollout_time" doc:"what one rollout takes, gate and all; attempts left before max_ttl are counted by it"`
	Again    time.Duration `env:"OFITEC_RETRY_AFTER" yaml:"retry_after" doc:"pause after a version that did not pass; a job does not wait for it"`
	Leader   time.Duration `env:"OFITEC_LEADER_TTL" yaml:"leader_ttl" doc:"how long a leader that has died keeps the others waiting, whole seconds"`
	Stray    time.Duration `env:"OFITEC_STRAY_AFTER" yaml:"stray_after" doc:"a lease in Vault that nobody has recorded for so long is ended; also how often it is looked"`
	Compare  time.Duration `env:"OFITEC_RECONCILE_EVERY" yaml:"reconcile_every" doc:"how often the users in the database are compared with leases and records; also at each start of a leader"`
}

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings()}
	c.HTTPAddr = "127.0.0.1:8703"
	c.Database.Name = "ofitec_prod"
	c.Rotation = Rotation{RenewAt: 0.67, RotateAt: 0.6, Grace: 10 * time.Second, Patience: 30 * time.Minute, Attempt: 20 * time.Minute, Again: 15 * time.Minute,
		Away: 30 * time.Second, Stray: 5 * time.Minute, Compare: time.Hour, Leader: 10 * time.Second}
	c.Credentials = []Credential{{Name: "odoo-app", Kind: events.CredentialDatabase}}
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	problems := slices.Concat(c.Settings.Problems(), c.NATS.Required(), c.Etcd.Required(), c.Vault.Required())
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if c.Region != "" && !events.Region(c.Region).HoldsData() {
		bad("OFITEC_REGION", c.Region, "a or b: rotators run in the data regions")
	}
	if len(c.Database.Proxies) == 0 && slices.ContainsFunc(c.Credentials, Credential.inDatabase) {
		bad("OFITEC_DATABASE_PROXIES", "", "a comma list such as 127.0.0.11:5432,127.0.0.12:5432")
	}
	for variable, addresses := range map[string][]string{"OFITEC_DATABASE_PROXIES": c.Database.Proxies, "OFITEC_DATABASE_READ_PROXIES": c.Database.ReadProxies} {
		for _, address := range addresses {
			if _, _, err := net.SplitHostPort(address); err != nil {
				bad(variable, address, "host:port")
			}
		}
	}
	for variable, fraction := range map[string]float64{"OFITEC_RENEW_AT": c.Rotation.RenewAt, "OFITEC_ROTATE_AT": c.Rotation.RotateAt} {
		if fraction < 0.1 || fraction > 0.9 {
			problems = append(problems, &config.Problem{Variable: variable, Value: strconv.FormatFloat(fraction, 'g', -1, 64), Want: "a fraction from 0.1 to 0.9"})
		}
	}
	if c.Rotation.Leader < 2*time.Second || c.Rotation.Leader%time.Second != 0 {
		bad("OFITEC_LEADER_TTL", c.Rotation.Leader.String(), "whole seconds, 2s or more: etcd grants no less")
	}
	for variable, span := range map[string]time.Duration{
		"OFITEC_DRAIN_GRACE": c.Rotation.Grace, "OFITEC_REGION_PATIENCE": c.Rotation.Patience, "OFITEC_ROLLOUT_TIME": c.Rotation.Attempt, "OFITEC_RETRY_AFTER": c.Rotation.Again,
		"OFITEC_STRAY_AFTER": c.Rotation.Stray, "OFITEC_RECONCILE_EVERY": c.Rotation.Compare, "OFITEC_REGION_AWAY_AFTER": c.Rotation.Away,
	} {
		if span < time.Second {
			bad(variable, span.String(), "a duration of 1s or more")
		}
	}
	if order := c.Rotation.Order; len(order) > 0 && !slices.Equal(slices.Sorted(slices.Values(order)), []string{"a", "b"}) {
		bad("OFITEC_REGION_ORDER", strings.Join(order, ","), "each data region once: a,b or b,a; or empty")
	}
	return slices.Concat(problems, problemsOf(c.Credentials))
}
