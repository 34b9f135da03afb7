package main

import (
	"errors"
	"net/url"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/seal"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

// Config is what the etl-transform reads.
type Config struct {
	chassis.Settings `yaml:",inline"`

	Warehouse string        `env:"OFITEC_WAREHOUSE" yaml:"warehouse" doc:"folder of ofitec.duckdb, and of raw/ when OFITEC_RAW_URL is not set"`
	RawURL    string        `env:"OFITEC_RAW_URL" yaml:"raw_url" doc:"where raw files and manifest are: file:///folder or s3://bucket/prefix; file://$OFITEC_WAREHOUSE/raw when empty"`
	Snapshots string        `env:"OFITEC_SNAPSHOT_DIR" yaml:"snapshot_dir" doc:"folder of the copies for readers, snapshot/ofitec.duckdb and marts/<mart>.parquet; that of the warehouse when empty"`
	RawKey    config.Secret `env:"OFITEC_RAW_KEY" yaml:"-" doc:"secret keys of age, one a line, that encrypted raw files are opened with"`
	Models    string        `env:"OFITEC_MODELS" yaml:"models" doc:"folder of models over the built-in ones"`
	// TokenKeyFile is read as it is: the key is bytes, not text.
	TokenKeyFile string `env:"OFITEC_TOKEN_KEY_FILE" yaml:"token_key_file" doc:"file with the key of the tokens, any 32 bytes or more"`

	// RevealKeyFile is the same key for who may look behind tokens: another file, with another owner.
	RevealKeyFile string `env:"OFITEC_REVEAL_KEY_FILE" yaml:"reveal_key_file" doc:"file with the key of the tokens for the subcommand reveal, which nothing else reads"`

	Keys      KeySettings       `yaml:"vault_keys"`
	Analytics AnalyticsSettings `yaml:"analytics"`
	S3        S3Settings        `yaml:"s3"`
	Engine    EngineSettings    `yaml:"engine"`
	Load      LoadSettings      `yaml:"load"`

	withoutBus bool        // a command asks files alone
	ring       *token.Ring // once it was read
	fetched    bool        // keys were read from Vault
	kept       bool        // they are those that were read for the same file before
}

// AnalyticsSettings say where the marts are published.
type AnalyticsSettings struct {
	DSN      config.Secret `env:"OFITEC_ANALYTICS_DSN" yaml:"-" doc:"PostgreSQL database that readers see, such as postgres://analytics_publisher@127.0.0.11:5432/analytics?sslmode=verify-full; nothing is published when empty"`
	Password config.Secret `env:"OFITEC_ANALYTICS_PASSWORD" yaml:"-" doc:"password for it, in place of one in the DSN"`
	// VerifyEvery is for what nobody publishes: a row that somebody else has changed there.
	VerifyEvery time.Duration `env:"OFITEC_ANALYTICS_VERIFY_EVERY" yaml:"verify_every" doc:"how often the digests of all marts there are computed; one that somebody else has changed is replaced. 0 for never"`
}

// S3Settings says how an s3:// store is reached.
type S3Settings struct {
	Endpoint  string        `env:"OFITEC_S3_ENDPOINT" yaml:"endpoint" doc:"URL of the object store, such as https://127.0.0.1:9000"`
	Region    string        `env:"OFITEC_S3_REGION" yaml:"region" doc:"region that requests are signed for"`
	CAFile    string        `env:"OFITEC_S3_CA_FILE" yaml:"ca_file" doc:"PEM certificates of its authorities; OFITEC_TLS_CA_FILE when empty, else the system's"`
	AccessKey config.Secret `env:"OFITEC_S3_ACCESS_KEY" yaml:"-" doc:"access key"`
	SecretKey config.Secret `env:"OFITEC_S3_SECRET_KEY" yaml:"-" doc:"secret key"`
}

// EngineSettings bound what DuckDB may use.
type EngineSettings struct {
	MemoryLimit string `env:"OFITEC_DUCKDB_MEMORY_LIMIT" yaml:"memory_limit" doc:"memory of the engine, such as 2GiB; what does not fit is spilled to a folder beside the file"`
	Threads     int    `env:"OFITEC_DUCKDB_THREADS" yaml:"threads" doc:"threads of the engine; 0 for one a processor"`
}

// LoadSettings bound one micro-batch.
type LoadSettings struct {
	Files int   `env:"OFITEC_BATCH_FILES" yaml:"files" doc:"raw files that one transaction takes at most"`
	Bytes int64 `env:"OFITEC_BATCH_BYTES" yaml:"bytes" doc:"plain bytes that one transaction takes at most; one larger file is taken alone"`
}

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings()}
	c.Region = "a"
	c.HTTPAddr = "127.0.0.1:8706"
	c.S3.Region = "us-east-1"
	c.Analytics.VerifyEvery = time.Hour
	c.Engine = EngineSettings{MemoryLimit: "2GiB"}
	c.Load = LoadSettings{Files: 500, Bytes: 1 << 30}
	return c
}

var memory = regexp.MustCompile(`^[1-9][0-9]*(\.[0-9]+)?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`)

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	problems := c.Settings.Problems()
	if !c.withoutBus {
		problems = append(problems, c.NATS.Required()...)
	}
	bad := func(wrong bool, variable, value, want string) {
		if wrong {
			problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
		}
	}
	bad(c.Region == "c" || c.Region == chassis.Outside, "OFITEC_REGION", c.Region, "a or b: the warehouse is where the data are")
	problems = append(problems, config.Require("OFITEC_WAREHOUSE", c.Warehouse, "the folder of the warehouse")...)
	problems = append(problems, c.keyProblems(bad)...)
	bad(!memory.MatchString(c.Engine.MemoryLimit), "OFITEC_DUCKDB_MEMORY_LIMIT", c.Engine.MemoryLimit, "an amount of memory such as 512MiB or 2GiB")
	bad(c.Analytics.VerifyEvery < 0, "OFITEC_ANALYTICS_VERIFY_EVERY", c.Analytics.VerifyEvery.String(), "0 or more, such as 1h")
	bad(c.Engine.Threads < 0, "OFITEC_DUCKDB_THREADS", strconv.Itoa(c.Engine.Threads), "0 or more")
	bad(c.Load.Files < 1, "OFITEC_BATCH_FILES", strconv.Itoa(c.Load.Files), "1 or more")
	bad(c.Load.Bytes < 1, "OFITEC_BATCH_BYTES", strconv.FormatInt(c.Load.Bytes, 10), "1 or more")
	if _, err := seal.Parse(c.RawKey.Reveal()); c.RawKey != "" && err != nil {
		bad(true, "OFITEC_RAW_KEY", "...", "secret keys of age, one a line, such as AGE-SECRET-KEY-1..., the same as at etl-ingest")
	}
	u, err := c.rawURL()
	if c.Warehouse == "" && c.RawURL == "" {
		return problems
	}
	bad(err != nil, "OFITEC_RAW_URL", "...", "file:///folder or s3://bucket/prefix, without credentials or a query")
	if err != nil || u.Scheme != "s3" {
		return problems
	}
	problems = append(problems, config.Require("OFITEC_S3_ENDPOINT", c.S3.Endpoint, "the object store's URL, since OFITEC_RAW_URL is s3://")...)
	problems = append(problems, config.Require("OFITEC_S3_ACCESS_KEY", string(c.S3.AccessKey), "the access key, or OFITEC_S3_ACCESS_KEY_FILE")...)
	return append(problems, config.Require("OFITEC_S3_SECRET_KEY", string(c.S3.SecretKey), "the secret key, or OFITEC_S3_SECRET_KEY_FILE")...)
}

// rawURL is where the raw store is.
func (c *Config) rawURL() (*url.URL, error) {
	if c.RawURL == "" {
		folder, err := filepath.Abs(filepath.Join(c.Warehouse, "raw"))
		return &url.URL{Scheme: "file", Path: folder}, err
	}
	u, err := url.Parse(c.RawURL)
	switch {
	case err != nil:
		return nil, err
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/"), u.Scheme == "s3" && u.Host != "":
		return u, nil
	}
	return nil, errors.New("not the URL of a raw store")
}

// alone says that there is no stack around: no etcd, so the region is active, and what is missing on the bus is made here.
func (c *Config) alone() bool { return len(c.Etcd.Endpoints) == 0 }

func (c *Config) limits() batch.Limits { return batch.Limits{Files: c.Load.Files, Bytes: c.Load.Bytes} }

func (c *Config) file() string { return filepath.Join(c.Warehouse, "ofitec.duckdb") }

// next is a whole new warehouse that waits to take the place of the file.
func (c *Config) next() string { return c.file() + ".next" }

// snapshots is the folder of the copies for readers.
func (c *Config) snapshots() string {
	if c.Snapshots != "" {
		return c.Snapshots
	}
	return c.Warehouse
}

// ownDir is where spills and spooled files go: what is in it may be lost.
func (c *Config) ownDir() string {
	if c.DataDir != "" {
		return c.DataDir
	}
	return filepath.Join(c.Warehouse, name)
}

func (c *Config) threads() int {
	if c.Engine.Threads > 0 {
		return c.Engine.Threads
	}
	return runtime.NumCPU()
}
