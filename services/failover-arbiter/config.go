package main

import (
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// Config is what the arbiter reads. A region with data has a proxy, a database and a supervisor; region c has none of them and only watches.
type Config struct {
	chassis.Settings `yaml:",inline"`

	FirstActive string `env:"OFITEC_FIRST_ACTIVE" yaml:"first_active" doc:"region that takes the first mandate of all, when nobody has ever held one: a or b"`
	Timing      string `env:"OFITEC_TIMING" yaml:"timing" doc:"timing profile, the same in all regions: local or wan"`

	ProxySocket       string `env:"OFITEC_DATABASE_PROXY_SOCKET" yaml:"database_proxy_socket" doc:"runtime socket of the region's database proxy"`
	PostgresSocketDir string `env:"OFITEC_POSTGRES_SOCKET_DIR" yaml:"postgres_socket_dir" doc:"folder of PostgreSQL's Unix socket"`
	PostgresPort      uint16 `env:"OFITEC_POSTGRES_PORT" yaml:"postgres_port" doc:"port in the name of that socket"`
	PostgresConfDir   string `env:"OFITEC_POSTGRES_CONF_DIR" yaml:"postgres_conf_dir" doc:"folder of pg_hba.open.conf, pg_hba.fenced.conf and of pg_hba.conf, the copy in force"`
	PostgresAddress   string `env:"OFITEC_POSTGRES_ADDRESS" yaml:"postgres_address" doc:"host:port of PostgreSQL, as the region's database proxy reaches it; a login is tried there after a fence"`
	ProxySource       string `env:"OFITEC_DATABASE_PROXY_SOURCE" yaml:"database_proxy_source" doc:"IP address from which the database proxy reaches PostgreSQL"`
	PostgresBinDir    string `env:"OFITEC_POSTGRES_BIN_DIR" yaml:"postgres_bin_dir" doc:"folder of pg_controldata, pg_basebackup and pg_rewind"`
	PostgresDataDir   string `env:"OFITEC_POSTGRES_DATA_DIR" yaml:"postgres_data_dir" doc:"PGDATA; its parent folder belongs to PostgreSQL's user and takes the copy of a rejoin"`
	PostgresUpstream  string `env:"OFITEC_POSTGRES_UPSTREAM" yaml:"postgres_upstream" doc:"host:port of the other region's PostgreSQL"`
	PostgresPassFile  string `env:"OFITEC_POSTGRES_PASS_FILE" yaml:"postgres_pass_file" doc:"libpq password file with the lines of ofitec_replication and ofitec_rewind for it"`
	PostgresCAFile    string `env:"OFITEC_POSTGRES_CA_FILE" yaml:"postgres_ca_file" doc:"certificates of the authority that has signed its certificate"`
	SupervisorSocket  string `env:"OFITEC_SUPERVISOR_SOCKET" yaml:"supervisor_socket" doc:"socket on which PostgreSQL is stopped and started: when it cannot be fenced, for a switchover, for a rejoin"`

	GatesRed time.Duration `env:"OFITEC_GATES_RED_FOR" yaml:"gates_red_for" doc:"how long the active region's gates must be red before the other one takes over"`
	MaxLoss  time.Duration `env:"OFITEC_MAX_LOSS" yaml:"max_loss" doc:"the largest loss of data that a failover takes without an operator's override"`
	Cooldown time.Duration `env:"OFITEC_COOLDOWN" yaml:"cooldown" doc:"least time between two failovers; the timing profile's when 0"`

	PriorityA int `env:"OFITEC_REGION_A_PRIORITY" yaml:"region_a_priority" doc:"how much region a is wanted as the active one; 0: it is never promoted, not by hand either"`
	PriorityB int `env:"OFITEC_REGION_B_PRIORITY" yaml:"region_b_priority" doc:"the same of region b"`

	DNS     DNS         `yaml:"dns"`
	Archive Archive     `yaml:"archive"`
	Sync    Synchronous `yaml:"synchronous"`
}

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings(), FirstActive: "a", Timing: "local", PostgresPort: 5433, GatesRed: time.Minute, MaxLoss: 15 * time.Minute, PriorityA: 1, PriorityB: 1, DNS: newDNS(), Archive: newArchive(), Sync: newSynchronous()}
	c.HTTPAddr = "127.0.0.1:8702"
	return c
}

// Problems are all that is wrong with the configuration, timing rules included.
func (c *Config) Problems() []error {
	problems := append(c.Settings.Problems(), c.Etcd.Required()...)
	problems = append(problems, c.NATS.Required()...)
	problems = append(problems, c.judgementProblems()...)
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if !events.Region(c.FirstActive).HoldsData() {
		bad("OFITEC_FIRST_ACTIVE", c.FirstActive, "a or b")
	}
	if profile, err := timing.Named(c.Timing); err != nil {
		bad("OFITEC_TIMING", c.Timing, "local or wan")
	} else if err := timing.Check(profile); err != nil {
		problems = append(problems, fmt.Errorf("OFITEC_TIMING=%s: %w", c.Timing, err))
	}
	if c.HTTPAddr == "" {
		bad("OFITEC_HTTP_ADDR", "", "host:port, for the proxies ask there for the mandate")
	}
	if c.DataDir == "" {
		bad("OFITEC_DATA_DIR", "", "a folder of this arbiter's own, for the epochs that it has seen")
	}
	for variable, address := range map[string]string{"OFITEC_POSTGRES_ADDRESS": c.PostgresAddress, "OFITEC_POSTGRES_UPSTREAM": c.PostgresUpstream} {
		if _, _, err := net.SplitHostPort(address); c.holdsData() && err != nil {
			bad(variable, address, "host:port, in a region with data")
		}
	}
	if c.holdsData() && net.ParseIP(c.ProxySource) == nil {
		bad("OFITEC_DATABASE_PROXY_SOURCE", c.ProxySource, "an IP address, in a region with data")
	}
	problems = append(problems, c.DNS.problems()...)
	problems = append(problems, c.Archive.problems(c.holdsData())...)
	problems = append(problems, c.Sync.problems(c.holdsData())...)
	for variable, path := range c.hands() {
		switch {
		case path == "" && c.holdsData():
			bad(variable, "", "an absolute path, in a region with data")
		case path != "" && !c.holdsData():
			bad(variable, path, "nothing in region "+c.Region+", which has no data")
		case path != "" && !filepath.IsAbs(path):
			bad(variable, path, "an absolute path")
		}
	}
	return problems
}

func (c *Config) holdsData() bool { return events.Region(c.Region).HoldsData() }

// hands are the paths that only a region with data has; the supervisor is one too, but not required: without it a fence that fails is tried again, and there is
// neither switchover nor rejoin.
func (c *Config) hands() map[string]string {
	paths := map[string]string{
		"OFITEC_DATABASE_PROXY_SOCKET": c.ProxySocket, "OFITEC_POSTGRES_SOCKET_DIR": c.PostgresSocketDir, "OFITEC_POSTGRES_CONF_DIR": c.PostgresConfDir,
		"OFITEC_POSTGRES_BIN_DIR": c.PostgresBinDir, "OFITEC_POSTGRES_DATA_DIR": c.PostgresDataDir,
		"OFITEC_POSTGRES_PASS_FILE": c.PostgresPassFile, "OFITEC_POSTGRES_CA_FILE": c.PostgresCAFile,
	}
	if c.SupervisorSocket != "" {
		paths["OFITEC_SUPERVISOR_SOCKET"] = c.SupervisorSocket
	}
	return paths
}
