package main

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/seal"
)

// Config is what the etl-ingest reads.
type Config struct {
	chassis.Settings `yaml:",inline"`

	Warehouse string        `env:"OFITEC_WAREHOUSE" yaml:"warehouse" doc:"folder of the warehouse; needed when OFITEC_RAW_URL is not set"`
	RawURL    string        `env:"OFITEC_RAW_URL" yaml:"raw_url" doc:"where raw files and manifest are: file:///folder or s3://bucket/prefix; file://$OFITEC_WAREHOUSE/raw when empty"`
	RawKey    config.Secret `env:"OFITEC_RAW_KEY" yaml:"-" doc:"secret keys of age, one a line: the first one encrypts raw files, all of them open them; raw files are not encrypted when empty"`
	RawPath   string        `env:"OFITEC_RAW_KEY_VAULT_PATH" yaml:"raw_key_vault_path" doc:"in place of OFITEC_RAW_KEY: where Vault keeps these keys, in the field key of a KV v2 path below secret/ such as ofitec/etl-ingest/raw-key"`
	DropDir   string        `env:"OFITEC_DROP_DIR" yaml:"drop_dir" doc:"folder in which people put files to be taken, <dataset>/<any name>.csv, .json or .ndjson, each perhaps with .gz; none when empty"`
	Models    string        `env:"OFITEC_MODELS" yaml:"models" doc:"folder of models over the built-in ones"`

	Odoo    OdooSettings    `yaml:"odoo"`
	S3      S3Settings      `yaml:"s3"`
	Export  ExportSettings  `yaml:"export"`
	Webhook WebhookSettings `yaml:"webhook"`
}

// WebhookSettings say who may announce an export.
type WebhookSettings struct {
	Secret   config.Secret `env:"OFITEC_WEBHOOK_SECRET" yaml:"-" doc:"secret that Odoo signs its announcements with, 16 characters or more; there is no webhook when empty"`
	Previous config.Secret `env:"OFITEC_WEBHOOK_SECRET_PREVIOUS" yaml:"-" doc:"the secret before it, good as well while it is being replaced"`

	VaultPath string        `env:"OFITEC_WEBHOOK_VAULT_PATH" yaml:"vault_path" doc:"in place of these: where the secret is rotated in Vault, a KV v2 path below secret/ such as ofitec/credentials/export-webhook"`
	Refresh   time.Duration `env:"OFITEC_WEBHOOK_VAULT_REFRESH" yaml:"vault_refresh" doc:"how often it is read there; also when a signature is not good"`
	Overlap   time.Duration `env:"OFITEC_WEBHOOK_VAULT_OVERLAP" yaml:"vault_overlap" doc:"how long after a new version was made the one before is good as well; not longer than the rotator's overlap, which destroys it"`
}

// OdooSettings says where the export is.
type OdooSettings struct {
	URL    string        `env:"OFITEC_ODOO_URL" yaml:"url" doc:"Odoo's URL; /of/export/<dataset> is added"`
	Token  config.Secret `env:"OFITEC_ODOO_TOKEN" yaml:"-" doc:"bearer token of the export; none when empty"`
	CAFile string        `env:"OFITEC_ODOO_CA_FILE" yaml:"ca_file" doc:"PEM certificates of the authorities for an https URL; the system's when empty"`
}

// S3Settings says how an s3:// store is reached.
type S3Settings struct {
	Endpoint  string        `env:"OFITEC_S3_ENDPOINT" yaml:"endpoint" doc:"URL of the object store, such as https://127.0.0.1:9000"`
	Region    string        `env:"OFITEC_S3_REGION" yaml:"region" doc:"region that requests are signed for"`
	CAFile    string        `env:"OFITEC_S3_CA_FILE" yaml:"ca_file" doc:"PEM certificates of its authorities; OFITEC_TLS_CA_FILE when empty, else the system's"`
	AccessKey config.Secret `env:"OFITEC_S3_ACCESS_KEY" yaml:"-" doc:"access key"`
	SecretKey config.Secret `env:"OFITEC_S3_SECRET_KEY" yaml:"-" doc:"secret key"`
}

// ExportSettings says how datasets are read.
type ExportSettings struct {
	Interval         time.Duration `env:"OFITEC_INTERVAL" yaml:"interval" doc:"time from one run to the next"`
	Reconcile        time.Duration `env:"OFITEC_RECONCILE_INTERVAL" yaml:"reconcile_interval" doc:"time from one reconciliation to the next"`
	Reread           time.Duration `env:"OFITEC_REREAD_INTERVAL" yaml:"reread_interval" doc:"time from one complete reading to the next, for a server without ids or summary"`
	Lookback         time.Duration `env:"OFITEC_EXPORT_LOOKBACK" yaml:"lookback" doc:"how far before its cursor a walk begins; not shorter than the longest transaction, or rows are lost"`
	FailoverLookback time.Duration `env:"OFITEC_EXPORT_FAILOVER_LOOKBACK" yaml:"failover_lookback" doc:"added to it at the first walk after a failover"`
	Heartbeat        time.Duration `env:"OFITEC_EXPORT_HEARTBEAT" yaml:"heartbeat" doc:"how old a dataset's last record must be before it is recorded that there is nothing new"`
	PageRows         int           `env:"OFITEC_EXPORT_PAGE_ROWS" yaml:"page_rows" doc:"rows a page, 1 to 100000; a page is a raw file and an event"`
	Format           string        `env:"OFITEC_EXPORT_FORMAT" yaml:"format" doc:"csv or json (one object a line)"`
	Connections      int           `env:"OFITEC_EXPORT_CONNECTIONS" yaml:"connections" doc:"requests under way at the same time, over all datasets; a dataset that was never read uses several"`
	Timeout          time.Duration `env:"OFITEC_EXPORT_TIMEOUT" yaml:"timeout" doc:"how long the server may give no sign of life"`
	Attempts         int           `env:"OFITEC_EXPORT_ATTEMPTS" yaml:"attempts" doc:"how often a page is asked for within a run"`
	Bucket           string        `env:"OFITEC_CURSOR_BUCKET" yaml:"bucket" doc:"JetStream key-value bucket of the cursors"`
}

// Limits of a page: what the contract allows.
const (
	defaultPageRows = 20_000
	maxPageRows     = 100_000

	minWebhookSecret = 16
)

// NewConfig gives the defaults.
func NewConfig() *Config {
	c := &Config{Settings: chassis.NewSettings()}
	c.Region = "a"
	c.HTTPAddr = "127.0.0.1:8705"
	c.S3.Region = "us-east-1"
	c.Webhook = WebhookSettings{Refresh: time.Minute, Overlap: 24 * time.Hour}
	c.Export = ExportSettings{
		Interval: 15 * time.Minute, Reconcile: 6 * time.Hour, Reread: 24 * time.Hour, Lookback: time.Hour, FailoverLookback: 15 * time.Minute, Heartbeat: 5 * time.Minute, PageRows: defaultPageRows, Format: "csv",
		Connections: 2, Timeout: time.Minute, Attempts: 3, Bucket: events.BucketIngest,
	}
	return c
}

// Problems are all that is wrong with the configuration.
func (c *Config) Problems() []error {
	problems := append(c.Settings.Problems(), c.NATS.Required()...)
	bad := func(wrong bool, variable, value, want string) {
		if wrong {
			problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
		}
	}
	problems = append(problems, config.Require("OFITEC_ODOO_URL", c.Odoo.URL, "a URL such as http://127.0.0.11:8069")...)
	bad(c.Odoo.URL != "" && !isURL(c.Odoo.URL, "http", "https"), "OFITEC_ODOO_URL", c.Odoo.URL, "a URL such as http://127.0.0.11:8069, without user or query")
	e := c.Export
	bad(e.Interval < time.Second, "OFITEC_INTERVAL", e.Interval.String(), "1s or more")
	bad(e.Reconcile < time.Second, "OFITEC_RECONCILE_INTERVAL", e.Reconcile.String(), "1s or more")
	bad(e.Reread < time.Second, "OFITEC_REREAD_INTERVAL", e.Reread.String(), "1s or more")
	bad(e.Lookback <= 0, "OFITEC_EXPORT_LOOKBACK", e.Lookback.String(), "longer than the longest transaction")
	bad(e.FailoverLookback < 0, "OFITEC_EXPORT_FAILOVER_LOOKBACK", e.FailoverLookback.String(), "0 or more")
	bad(e.Heartbeat < 0, "OFITEC_EXPORT_HEARTBEAT", e.Heartbeat.String(), "0 or more")
	bad(e.PageRows < 1 || e.PageRows > maxPageRows, "OFITEC_EXPORT_PAGE_ROWS", strconv.Itoa(e.PageRows), "1 to "+strconv.Itoa(maxPageRows))
	bad(e.Format != "csv" && e.Format != "json", "OFITEC_EXPORT_FORMAT", e.Format, "csv or json")
	bad(e.Connections < 1, "OFITEC_EXPORT_CONNECTIONS", strconv.Itoa(e.Connections), "1 or more")
	bad(e.Timeout < time.Second, "OFITEC_EXPORT_TIMEOUT", e.Timeout.String(), "1s or more")
	bad(e.Attempts < 1, "OFITEC_EXPORT_ATTEMPTS", strconv.Itoa(e.Attempts), "1 or more")
	bad(!events.IsToken(e.Bucket), "OFITEC_CURSOR_BUCKET", e.Bucket, "letters, digits, '-' and '_'")
	for variable, secret := range map[string]config.Secret{"OFITEC_WEBHOOK_SECRET": c.Webhook.Secret, "OFITEC_WEBHOOK_SECRET_PREVIOUS": c.Webhook.Previous} {
		bad(secret != "" && len(secret) < minWebhookSecret, variable, "...", "16 characters or more")
	}
	bad(c.Webhook.Secret == "" && c.Webhook.Previous != "", "OFITEC_WEBHOOK_SECRET", "", "the present secret, since OFITEC_WEBHOOK_SECRET_PREVIOUS is set")
	if c.Webhook.VaultPath != "" || c.RawPath != "" {
		problems = append(problems, c.Vault.Required()...)
	}
	bad(c.RawPath != "" && c.RawKey != "", "OFITEC_RAW_KEY_VAULT_PATH", c.RawPath, "nothing, since OFITEC_RAW_KEY is set: one of the two")
	bad(c.RawPath != "" && !vault.BelowSecret(c.RawPath), "OFITEC_RAW_KEY_VAULT_PATH", c.RawPath, "a path below secret/, without secret/data/, such as ofitec/etl-ingest/raw-key")
	if w := c.Webhook; w.VaultPath != "" {
		bad(w.Secret != "", "OFITEC_WEBHOOK_VAULT_PATH", w.VaultPath, "nothing, since OFITEC_WEBHOOK_SECRET is set: one of the two")
		bad(!vault.BelowSecret(w.VaultPath), "OFITEC_WEBHOOK_VAULT_PATH", w.VaultPath, "a path below secret/, without secret/data/, such as ofitec/credentials/export-webhook")
		bad(w.Refresh < time.Second, "OFITEC_WEBHOOK_VAULT_REFRESH", w.Refresh.String(), "1s or more")
		bad(w.Overlap < 0, "OFITEC_WEBHOOK_VAULT_OVERLAP", w.Overlap.String(), "0 or more")
	}
	return append(problems, c.storeProblems()...)
}

func (c *Config) storeProblems() []error {
	var problems []error
	if _, err := c.rawKeys(); err != nil {
		problems = append(problems, &config.Problem{Variable: "OFITEC_RAW_KEY", Value: "...", Want: "secret keys of age, one a line, such as AGE-SECRET-KEY-1... (age-keygen makes one)"})
	}
	if c.Warehouse == "" && c.RawURL == "" {
		return append(problems, &config.Problem{Variable: "OFITEC_WAREHOUSE", Want: "a folder, or OFITEC_RAW_URL"})
	}
	u, err := c.rawURL()
	if err != nil || strings.ContainsAny(u.String(), "@?#") {
		return append(problems, &config.Problem{Variable: "OFITEC_RAW_URL", Value: "...", Want: "file:///folder or s3://bucket/prefix, without credentials or a query"})
	}
	if u.Scheme != "s3" {
		return problems
	}
	if c.Warehouse == "" && c.DataDir == "" {
		problems = append(problems, &config.Problem{Variable: "OFITEC_DATA_DIR", Want: "a folder in which pages wait for their upload"})
	}
	problems = append(problems, config.Require("OFITEC_S3_ENDPOINT", c.S3.Endpoint, "the object store's URL, since OFITEC_RAW_URL is s3://")...)
	problems = append(problems, config.Require("OFITEC_S3_ACCESS_KEY", string(c.S3.AccessKey), "the access key, or OFITEC_S3_ACCESS_KEY_FILE")...)
	return append(problems, config.Require("OFITEC_S3_SECRET_KEY", string(c.S3.SecretKey), "the secret key, or OFITEC_S3_SECRET_KEY_FILE")...)
}

// awaitKey has it read before anything is done, when Vault keeps it; a nil error with ctx ended means that the service was stopped meanwhile.
func (c *Config) awaitKey(ctx context.Context, single bool) error {
	switch {
	case c.RawPath == "":
		return nil
	case single:
		return vault.Within(ctx, c.Settings, vault.KeysWithin, c.readKey)
	default: // alive and not ready meanwhile, and nothing is read from Odoo that would be kept as it is
		return vault.Before(ctx, name, c.Settings, c.readKey)
	}
}

// readKey reads from Vault what raw files are encrypted with.
func (c *Config) readKey(ctx context.Context, client *vault.Client) error {
	text, err := client.Key(ctx, c.RawPath, func(text string) error {
		_, err := seal.Parse(text)
		return err
	})
	if err == nil {
		c.RawKey = config.Secret(text)
	}
	return err
}

// rawKeys are what raw files are encrypted with; nil for nothing.
func (c *Config) rawKeys() (*seal.Keys, error) {
	if c.RawKey == "" {
		return nil, nil
	}
	return seal.Parse(c.RawKey.Reveal())
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

func (c *Config) policy() extract.Policy {
	return extract.Policy{Lookback: c.Export.Lookback, FailoverLookback: c.Export.FailoverLookback, Limit: c.Export.PageRows, Heartbeat: c.Export.Heartbeat}
}

func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return false
	}
	for _, scheme := range schemes {
		if u.Scheme == scheme {
			return true
		}
	}
	return false
}
