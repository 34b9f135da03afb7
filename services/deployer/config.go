package main

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/command"
	"github.com/ofitec/ofitec/services/deployer/internal/odoo"
	"github.com/ofitec/ofitec/services/deployer/internal/prometheus"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// Config is what the deployer reads.
type Config struct {
	chassis.Settings `yaml:",inline"`

	Leader     time.Duration `env:"OFITEC_LEADER_TTL" yaml:"leader_ttl" doc:"how long a leader that has died keeps its successor waiting, whole seconds"`
	Credential string        `env:"OFITEC_CREDENTIAL" yaml:"credential" doc:"the one credential of kind database that this deployer rolls out; several, or other kinds, stand in the file as a list credentials"`
	Arbiter    string        `env:"OFITEC_ARBITER_URL" yaml:"arbiter" doc:"URL of the region's arbiter, asked for /mandate and /standby; when empty the region is always active"`
	Odoo       Odoo          `yaml:"odoo"`
	Proxy      Proxy         `yaml:"proxy"`
	Gate       Gate          `yaml:"gate"`
	Queries    Queries       `yaml:"queries"`

	// Credentials has structure, so it stands in the file only.
	Credentials []Credential `yaml:"credentials"`
}

// usualCredential is rolled out unless something else is said.
const usualCredential = "odoo-app"

// Odoo says where the two colours are, how one is started, and what the canary is asked.
type Odoo struct {
	Blue        string        `env:"OFITEC_ODOO_BLUE_URL" yaml:"blue" doc:"URL of the blue instance itself, beside the proxy"`
	Green       string        `env:"OFITEC_ODOO_GREEN_URL" yaml:"green" doc:"URL of the green instance itself"`
	Supervisor  string        `env:"OFITEC_ODOO_SUPERVISOR_SOCKET" yaml:"supervisor" doc:"socket of a supervisor that writes the environment files and starts the colours, as the local stack has it; without it the files and the command below are used"`
	BlueEnv     string        `env:"OFITEC_ODOO_BLUE_ENV_FILE" yaml:"blue_env" doc:"environment file of the blue instance"`
	GreenEnv    string        `env:"OFITEC_ODOO_GREEN_ENV_FILE" yaml:"green_env" doc:"environment file of the green instance; may be the blue one's, as infra/.env in the earlier delivery"`
	OldCompose  bool          `env:"OFITEC_OLD_COMPOSE" yaml:"old_compose" doc:"docker-compose 1 reads the environment files: a secret that it would misread is refused"`
	Start       string        `env:"OFITEC_START_COMMAND" yaml:"start" doc:"command that starts a colour anew, split at blanks; $colour is replaced and COLOUR set"`
	StartTime   time.Duration `env:"OFITEC_START_COMMAND_TIMEOUT" yaml:"start_timeout" doc:"how long the command may take"`
	StartWithin time.Duration `env:"OFITEC_START_WITHIN" yaml:"start_within" doc:"how long the canary may take from its start until it has logged in"`
	Health      string        `env:"OFITEC_CANARY_HEALTH" yaml:"health" doc:"path that answers 200 once the instance has logged in to its database"`
	Reads       []string      `env:"OFITEC_CANARY_READS" yaml:"reads" doc:"paths that are read from the canary for each reading; $region and $version are replaced"`
	Write       string        `env:"OFITEC_CANARY_WRITE" yaml:"write" doc:"path that commits what is posted to it, for a test of writes in the active region; writes are not tested when empty"`
	Body        string        `env:"OFITEC_CANARY_WRITE_BODY" yaml:"write_body" doc:"JSON that is posted; $region and $version are replaced; the same twice must be harmless"`
}

// Proxy is the web proxy that the traffic comes through.
type Proxy struct {
	Kind    string        `env:"OFITEC_WEB_PROXY" yaml:"kind" doc:"how the traffic is moved: haproxy (its runtime socket), traefik (its file provider) or command"`
	Active  string        `env:"OFITEC_ACTIVE_COLOUR_FILE" yaml:"active" doc:"file that keeps the colour with traffic for the proxy's next start"`
	Drain   time.Duration `env:"OFITEC_DRAIN_WITHIN" yaml:"drain_within" doc:"how long requests on the old colour may take after the switch; waited for in full where the proxy does not count them"`
	Steps   []int         `env:"OFITEC_SWITCH_STEPS" yaml:"steps" doc:"percent of the traffic that the canary gets, one after the other, the last 100; with several it is watched after each as well"`
	Socket  string        `env:"OFITEC_WEB_PROXY_SOCKET" yaml:"socket" doc:"haproxy: runtime socket of the web proxy"`
	Traefik Traefik       `yaml:"traefik"`
	Switch  string        `env:"OFITEC_SWITCH_COMMAND" yaml:"switch" doc:"command: gives a colour the traffic, such as python3 infra/autoscaler/switcher.py --one-shot; split at blanks; $colour is replaced and COLOUR set; another status than 0 is a failed switch"`
	Status  string        `env:"OFITEC_SWITCH_STATUS_COMMAND" yaml:"status" doc:"command: prints blue or green, the colour with traffic; without it the file of the active colour is what counts"`
	Timeout time.Duration `env:"OFITEC_SWITCH_COMMAND_TIMEOUT" yaml:"switch_timeout" doc:"command: how long each may take"`
}

// Traefik is a Traefik with a file provider.
type Traefik struct {
	File    string        `env:"OFITEC_TRAEFIK_FILE" yaml:"file" doc:"traefik: dynamic configuration (YAML) with the weighted service; only its two weights are changed"`
	Service string        `env:"OFITEC_TRAEFIK_SERVICE" yaml:"service" doc:"traefik: name of the weighted service"`
	Servers string        `env:"OFITEC_TRAEFIK_COLOUR_SERVICE" yaml:"servers" doc:"traefik: name of a colour's service in it; $colour is replaced"`
	API     string        `env:"OFITEC_TRAEFIK_API_URL" yaml:"api" doc:"traefik: URL of its API; a switch is then done when Traefik says so, and a colour that it sees down gets nothing"`
	Within  time.Duration `env:"OFITEC_TRAEFIK_WITHIN" yaml:"within" doc:"traefik: how long it may take to load the file"`
}

// Gate is how the canary is watched.
type Gate struct {
	Prometheus   string        `env:"OFITEC_PROMETHEUS_URL" yaml:"prometheus" doc:"URL of the region's Prometheus"`
	Window       time.Duration `env:"OFITEC_GATE_WINDOW" yaml:"window" doc:"how long the canary is watched before it gets traffic"`
	StepWindow   time.Duration `env:"OFITEC_GATE_STEP_WINDOW" yaml:"step_window" doc:"how long it is watched after each of several OFITEC_SWITCH_STEPS; 0: as long as before it gets traffic"`
	Interval     time.Duration `env:"OFITEC_GATE_INTERVAL" yaml:"interval" doc:"time between two readings"`
	Delay        time.Duration `env:"OFITEC_GATE_DELAY" yaml:"delay" doc:"time from the canary's first answer to the first reading; at least three scrapes"`
	Failures     int           `env:"OFITEC_GATE_FAILURES" yaml:"failures" doc:"red readings that roll back"`
	Inconclusive int           `env:"OFITEC_GATE_INCONCLUSIVE" yaml:"inconclusive" doc:"readings without an answer that roll back"`
	ErrorRate    float64       `env:"OFITEC_GATE_ERROR_RATE" yaml:"error_rate" doc:"share of failed answers that is red"`
	P95          time.Duration `env:"OFITEC_GATE_P95" yaml:"p95" doc:"95th percentile of answer times that is red; a request of the deployer's own that takes as long is red too"`
}

// Queries are the gates' PromQL; $colour, $region and $window are replaced.
type Queries struct {
	Up        string `env:"OFITEC_GATE_UP_QUERY" yaml:"up" doc:"1 while Prometheus reaches the colour"`
	ErrorRate string `env:"OFITEC_GATE_ERROR_RATE_QUERY" yaml:"error_rate" doc:"share of the colour's failed answers"`
	P95       string `env:"OFITEC_GATE_P95_QUERY" yaml:"p95" doc:"95th percentile of the colour's answer times in seconds"`
}

// requestsEach is how often each read is sent for one reading: some traffic, for a canary has none of its own.
const requestsEach = 5

// tries is how often a start, a switch or a settling is tried before it has failed.
const tries = 4

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings(), Leader: 5 * time.Second, Credential: usualCredential}
	c.HTTPAddr = "127.0.0.1:8704"
	c.Odoo = Odoo{StartTime: 2 * time.Minute, StartWithin: 3 * time.Minute, Health: "/web/health", Reads: []string{"/web/health"}}
	c.Proxy = Proxy{
		Kind: "haproxy", Drain: 2 * time.Minute, Steps: []int{100}, Timeout: time.Minute,
		Traefik: Traefik{Service: "odoo", Servers: "odoo-$colour", Within: 10 * time.Second},
	}
	c.Gate = Gate{Window: 15 * time.Minute, Interval: 30 * time.Second, Delay: time.Minute, Failures: 3, Inconclusive: 5, ErrorRate: 0.01, P95: 1200 * time.Millisecond}
	standard := prometheus.Standard()
	c.Queries = Queries{standard.Up, standard.ErrorRate, standard.P95}
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	problems := slices.Concat(c.Settings.Problems(), c.NATS.Required(), c.Etcd.Required(), c.Vault.Required())
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	need := func(variable, value, want string) {
		if value == "" {
			problems = append(problems, config.Require(variable, value, want)...)
		}
	}
	if c.Region != "" && !events.Region(c.Region).HoldsData() {
		bad("OFITEC_REGION", c.Region, "a or b: deployers run in the data regions")
	}
	if c.Leader < 2*time.Second || c.Leader%time.Second != 0 {
		bad("OFITEC_LEADER_TTL", c.Leader.String(), "whole seconds, 2s or more: etcd grants no less")
	}
	problems = append(problems, c.credentialProblems()...)
	for variable, address := range map[string]string{"OFITEC_ODOO_BLUE_URL": c.Odoo.Blue, "OFITEC_ODOO_GREEN_URL": c.Odoo.Green, "OFITEC_PROMETHEUS_URL": c.Gate.Prometheus} {
		need(variable, address, "a URL such as http://127.0.0.11:8069")
	}
	for variable, address := range map[string]string{
		"OFITEC_ODOO_BLUE_URL": c.Odoo.Blue, "OFITEC_ODOO_GREEN_URL": c.Odoo.Green, "OFITEC_PROMETHEUS_URL": c.Gate.Prometheus, "OFITEC_ARBITER_URL": c.Arbiter,
	} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			bad(variable, address, "a URL such as http://127.0.0.11:8069")
		}
	}
	need("OFITEC_ACTIVE_COLOUR_FILE", c.Proxy.Active, "a path in a folder of this service")
	problems = append(problems, c.Proxy.problems()...)
	if c.Odoo.Supervisor == "" {
		need("OFITEC_ODOO_BLUE_ENV_FILE", c.Odoo.BlueEnv, "a path, or OFITEC_ODOO_SUPERVISOR_SOCKET")
		need("OFITEC_ODOO_GREEN_ENV_FILE", c.Odoo.GreenEnv, "a path, or OFITEC_ODOO_SUPERVISOR_SOCKET")
		need("OFITEC_START_COMMAND", c.Odoo.Start, "a command such as make -C infra canary, or OFITEC_ODOO_SUPERVISOR_SOCKET")
	}
	return append(problems, c.watching()...)
}

// watching are the problems of times and limits, those that contradict each other included.
func (c *Config) watching() []error {
	var problems []error
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	for variable, span := range map[string]time.Duration{
		"OFITEC_GATE_WINDOW": c.Gate.Window, "OFITEC_GATE_INTERVAL": c.Gate.Interval, "OFITEC_GATE_DELAY": c.Gate.Delay, "OFITEC_START_WITHIN": c.Odoo.StartWithin,
		"OFITEC_START_COMMAND_TIMEOUT": c.Odoo.StartTime, "OFITEC_DRAIN_WITHIN": c.Proxy.Drain,
	} {
		if span < 100*time.Millisecond {
			bad(variable, span.String(), "a duration of 100ms or more")
		}
	}
	if c.Gate.P95 <= 0 {
		bad("OFITEC_GATE_P95", c.Gate.P95.String(), "a duration of more than 0")
	}
	if c.Gate.ErrorRate <= 0 || c.Gate.ErrorRate > 1 {
		bad("OFITEC_GATE_ERROR_RATE", strconv.FormatFloat(c.Gate.ErrorRate, 'g', -1, 64), "a share of more than 0, at most 1")
	}
	for variable, limit := range map[string]int{"OFITEC_GATE_FAILURES": c.Gate.Failures, "OFITEC_GATE_INCONCLUSIVE": c.Gate.Inconclusive} {
		if limit < 1 {
			bad(variable, strconv.Itoa(limit), "1 or more")
		}
	}
	for variable, window := range map[string]time.Duration{"OFITEC_GATE_WINDOW": c.Gate.Window, "OFITEC_GATE_STEP_WINDOW": c.stepWindow()} {
		if fits := window - c.Gate.Delay; c.Gate.Interval > 0 && fits < c.Gate.Interval*time.Duration(c.Gate.Failures) {
			bad(variable, window.String(), "at least the delay and OFITEC_GATE_FAILURES intervals: a shorter one could not see it fail")
		}
	}
	return problems
}

func (c *Config) policy() rollout.Policy {
	return rollout.Policy{
		Region: events.Region(c.Region), StartWithin: c.Odoo.StartWithin, Delay: c.Gate.Delay, Interval: c.Gate.Interval, Window: c.Gate.Window,
		Steps: c.Proxy.Steps, StepWindow: c.stepWindow(),
		OneFile: c.oneFile() != "", Failures: c.Gate.Failures, Inconclusive: c.Gate.Inconclusive, DrainWithin: c.Proxy.Drain, Tries: tries,
		Limits: rollout.Limits{ErrorRate: c.Gate.ErrorRate, P95: c.Gate.P95},
	}
}

// stepWindow is that before the canary gets traffic, unless told.
func (c *Config) stepWindow() time.Duration {
	if c.Gate.StepWindow == 0 {
		return c.Gate.Window
	}
	return c.Gate.StepWindow
}

func (c *Config) colours() *odoo.Colours {
	return odoo.New(c.Region, map[state.Colour]string{state.Blue: c.Odoo.Blue, state.Green: c.Odoo.Green}, odoo.Requests{
		Health: c.Odoo.Health, Reads: c.Odoo.Reads, Write: c.Odoo.Write, Body: c.Odoo.Body, Each: requestsEach,
	})
}

// hands write environment files and start colours: a supervisor's, or this process's own.
func (c *Config) hands() hands {
	if c.Odoo.Supervisor != "" {
		return supervised(c.Odoo.Supervisor)
	}
	return own{
		files:   map[state.Colour]string{state.Blue: c.Odoo.BlueEnv, state.Green: c.Odoo.GreenEnv},
		command: command.Command{Args: strings.Fields(c.Odoo.Start), Timeout: c.Odoo.StartTime},
	}
}

// oneFile is the file that both colours read, if they do: it holds what the canary gets, and a roll-back gives it back what was there.
func (c *Config) oneFile() oneFile {
	file := filepath.Clean(c.Odoo.BlueEnv)
	if c.Odoo.Supervisor != "" || file != filepath.Clean(c.Odoo.GreenEnv) {
		return ""
	}
	return oneFile(file)
}
