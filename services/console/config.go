package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
)

// Config is what the console reads.
type Config struct {
	chassis.Settings `yaml:",inline"`

	Arbiters   []string      `env:"OFITEC_ARBITERS" yaml:"arbiters" doc:"where the regions' arbiters serve HTTP, region=host:port; without them roles are unknown"`
	Transforms []string      `env:"OFITEC_TRANSFORMS" yaml:"transforms" doc:"where the data regions' etl-transforms serve HTTP, region=host:port; without them the list of datasets comes from events alone"`
	Analytics  []string      `env:"OFITEC_ANALYTICS_DSN_FILES" yaml:"analytics_dsn_files" doc:"files with the analytics reader's connection string, region=path; without them the page has no plot"`
	LinkFile   string        `env:"OFITEC_CONSOLE_LINK_FILE" yaml:"link_file" doc:"file in which the page's one-time link stands, mode 0600; by default link in OFITEC_DATA_DIR, or in a temporary folder"`
	History    time.Duration `env:"OFITEC_CONSOLE_HISTORY" yaml:"history" doc:"how far back facts are read at the start; failovers are read from the beginning"`
}

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings(), History: 30 * 24 * time.Hour}
	c.Region = chassis.Outside
	c.HTTPAddr = "127.0.0.1:8080"
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	problems := slices.Concat(c.Settings.Problems(), c.NATS.Required(), c.Etcd.Required())
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if host, _, err := net.SplitHostPort(c.HTTPAddr); c.HTTPAddr == "" || err == nil && !isLoopback(host) {
		bad("OFITEC_HTTP_ADDR", c.HTTPAddr, "an address on loopback such as 127.0.0.1:8080, since the page speaks plain HTTP; reach it from elsewhere through ssh -L")
	}
	for variable, list := range map[string][]string{"OFITEC_ARBITERS": c.Arbiters, "OFITEC_TRANSFORMS": c.Transforms} {
		for _, entry := range list {
			if r, addr := place(entry); !r.Valid() || variable == "OFITEC_TRANSFORMS" && !r.HoldsData() || !isHostPort(addr) {
				bad(variable, entry, "a comma list such as a=127.0.0.11:8702,b=127.0.0.12:8702")
			}
		}
	}
	for _, entry := range c.Analytics {
		if r, path := place(entry); !r.HoldsData() || path == "" {
			bad("OFITEC_ANALYTICS_DSN_FILES", entry, "a comma list such as a=/etc/ofitec/analytics-a.dsn,b=/etc/ofitec/analytics-b.dsn")
		}
	}
	if c.History <= 0 {
		bad("OFITEC_CONSOLE_HISTORY", c.History.String(), "a duration such as 720h")
	}
	return problems
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isHostPort(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil
}

// place takes "a=127.0.0.11:8702" apart.
func place(entry string) (events.Region, string) {
	r, where, _ := strings.Cut(entry, "=")
	return events.Region(r), where
}

// linkFile is where the one-time link stands, and what to do when the service ends.
func (c *Config) linkFile() (path string, clean func(), err error) {
	switch {
	case c.LinkFile != "":
		return c.LinkFile, func() {}, nil
	case c.DataDir != "":
		return filepath.Join(c.DataDir, "link"), func() {}, nil
	}
	dir, err := os.MkdirTemp("", "ofitec-console-") // mode 0700
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "link"), func() { _ = os.RemoveAll(dir) }, nil
}
