package main

import (
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
)

// Config is what the health-probe reads.
type Config struct {
	chassis.Settings `yaml:",inline"`

	Interval time.Duration `env:"OFITEC_PROBE_INTERVAL" yaml:"interval" doc:"p: how often each region is observed"`
	Timeout  time.Duration `env:"OFITEC_PROBE_TIMEOUT" yaml:"timeout" doc:"t: deadline of every check; less than the interval"`

	WebA        string `env:"OFITEC_WEB_A_URL" yaml:"web_a" doc:"health page of region a's Odoo behind its web proxy"`
	WebB        string `env:"OFITEC_WEB_B_URL" yaml:"web_b" doc:"the same of region b"`
	PostgresA   string `env:"OFITEC_POSTGRES_A_ADDR" yaml:"postgres_a" doc:"host:port of region a's PostgreSQL itself, not of its proxy"`
	PostgresB   string `env:"OFITEC_POSTGRES_B_ADDR" yaml:"postgres_b" doc:"the same of region b"`
	PrometheusA string `env:"OFITEC_PROMETHEUS_A_URL" yaml:"prometheus_a" doc:"base URL of region a's Prometheus"`
	PrometheusB string `env:"OFITEC_PROMETHEUS_B_URL" yaml:"prometheus_b" doc:"the same of region b"`
	AddressA    string `env:"OFITEC_REGION_A_ADDRESS" yaml:"address_a" doc:"address that the name has while region a is active; any will do when not set"`
	AddressB    string `env:"OFITEC_REGION_B_ADDRESS" yaml:"address_b" doc:"the same of region b"`

	PostgresUser         string        `env:"OFITEC_POSTGRES_USER" yaml:"postgres_user" doc:"role that looks at the databases"`
	PostgresDatabase     string        `env:"OFITEC_POSTGRES_DATABASE" yaml:"postgres_database" doc:"database that holds ofitec.heartbeat"`
	PostgresPasswordFile string        `env:"OFITEC_POSTGRES_PASSWORD_FILE" yaml:"postgres_password_file" doc:"file with its password, read at each login"`
	PostgresLoginEvery   time.Duration `env:"OFITEC_POSTGRES_LOGIN_EVERY" yaml:"postgres_login_every" doc:"how long a session is used before a new login is made"`

	NATSMonitor string `env:"OFITEC_NATS_MONITOR_URL" yaml:"nats_monitor" doc:"base URL of the monitoring of this region's own NATS server, for metrics; not asked when not set"`

	DNSServer string `env:"OFITEC_DNS_SERVER" yaml:"dns_server" doc:"host:port of the authoritative server of the name"`
	DNSName   string `env:"OFITEC_DNS_NAME" yaml:"dns_name" doc:"the name that a failover switches"`
}

// NewConfig gives the defaults, those of the local timing profile.
func NewConfig() *Config {
	c := &Config{
		Settings: chassis.NewSettings(), Interval: 500 * time.Millisecond, Timeout: 400 * time.Millisecond,
		PostgresUser: "ofitec_probe", PostgresDatabase: "ofitec_prod", PostgresLoginEvery: 15 * time.Second, DNSName: "erp.ofitec.test",
	}
	c.HTTPAddr = "127.0.0.1:8701"
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	problems := append(c.Settings.Problems(), c.NATS.Required()...)
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if !events.Region(c.Region).Valid() && c.Region == chassis.Outside {
		bad("OFITEC_REGION", c.Region, "a, b or c: an observer stands in a region")
	}
	if c.Interval < 100*time.Millisecond {
		bad("OFITEC_PROBE_INTERVAL", c.Interval.String(), "100ms or more")
	}
	if c.Timeout <= 0 || c.Timeout >= c.Interval {
		bad("OFITEC_PROBE_TIMEOUT", c.Timeout.String(), fmt.Sprintf("more than 0 and less than OFITEC_PROBE_INTERVAL=%s (rule R5)", c.Interval))
	}
	if c.PostgresLoginEvery < time.Second {
		bad("OFITEC_POSTGRES_LOGIN_EVERY", c.PostgresLoginEvery.String(), "1s or more")
	}
	for _, u := range []struct{ variable, value, example string }{
		{"OFITEC_WEB_A_URL", c.WebA, "http://127.0.0.11:8080/web/health"}, {"OFITEC_WEB_B_URL", c.WebB, "http://127.0.0.12:8080/web/health"},
		{"OFITEC_PROMETHEUS_A_URL", c.PrometheusA, "http://127.0.0.11:9090"}, {"OFITEC_PROMETHEUS_B_URL", c.PrometheusB, "http://127.0.0.12:9090"},
	} {
		if parsed, err := url.Parse(u.value); err != nil || parsed.Hostname() == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			bad(u.variable, u.value, "a URL such as "+u.example)
		}
	}
	if parsed, err := url.Parse(c.NATSMonitor); c.NATSMonitor != "" && (err != nil || parsed.Hostname() == "" || parsed.Scheme != "http" && parsed.Scheme != "https") {
		bad("OFITEC_NATS_MONITOR_URL", c.NATSMonitor, "a URL such as http://127.0.0.11:8222, or nothing")
	}
	for _, a := range []struct{ variable, value, example string }{
		{"OFITEC_POSTGRES_A_ADDR", c.PostgresA, "127.0.0.11:5433"}, {"OFITEC_POSTGRES_B_ADDR", c.PostgresB, "127.0.0.12:5433"}, {"OFITEC_DNS_SERVER", c.DNSServer, "127.0.0.1:5300"},
	} {
		if host, port, err := net.SplitHostPort(a.value); err != nil || host == "" || port == "" {
			bad(a.variable, a.value, "host:port such as "+a.example)
		}
	}
	if (c.AddressA == "") != (c.AddressB == "") {
		bad("OFITEC_REGION_A_ADDRESS", c.AddressA, "set exactly when OFITEC_REGION_B_ADDRESS is, which is "+fmt.Sprintf("%q", c.AddressB))
	}
	return append(problems, config.Require("OFITEC_POSTGRES_PASSWORD_FILE", c.PostgresPasswordFile, "the file with the password of "+c.PostgresUser)...)
}

// target is what is configured of one data region.
type target struct {
	region                    events.Region
	web, postgres, prometheus string
}

func (c *Config) targets() []target {
	return []target{{events.RegionA, c.WebA, c.PostgresA, c.PrometheusA}, {events.RegionB, c.WebB, c.PostgresB, c.PrometheusB}}
}

// addresses are those that the name may have; none when they are not configured.
func (c *Config) addresses() []string {
	if c.AddressA == "" {
		return nil
	}
	return []string{c.AddressA, c.AddressB}
}
