package chassis

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/tlsfile"
)

// Outside is the region's name for what stands outside all regions: the console.
const Outside = "outside"

var regions = []string{"a", "b", "c", Outside}

// EarlierNames are the variables of the earlier delivery and their names of today. Load ignores those that a service does not have.
var EarlierNames = []config.Alias{
	{Old: "PROM_A", New: "OFITEC_PROMETHEUS_A_URL"},
	{Old: "PROM_B", New: "OFITEC_PROMETHEUS_B_URL"},
	{Old: "DNS_API", New: "OFITEC_DNS_API_URL"},
	{Old: "IP_A", New: "OFITEC_REGION_A_ADDRESS"},
	{Old: "IP_B", New: "OFITEC_REGION_B_ADDRESS"},
	{Old: "ETCD", New: "ETCD_ENDPOINTS"},
	{Old: "VAULT_TOKEN", New: "OFITEC_VAULT_TOKEN"},
}

// Settings is what every service reads. A service embeds it in its Config with the tag `yaml:",inline"`.
type Settings struct {
	Region   string     `env:"OFITEC_REGION" yaml:"region" doc:"region in which this process runs: a, b, c, or outside for the console"`
	HTTPAddr string     `env:"OFITEC_HTTP_ADDR" yaml:"http_addr" doc:"host:port of /healthz, /readyz and /metrics; nothing is served when empty"`
	LogLevel slog.Level `env:"OFITEC_LOG_LEVEL" yaml:"log_level" doc:"least level that is logged"`
	DataDir  string     `env:"OFITEC_DATA_DIR" yaml:"data_dir" doc:"the service's own state folder, mode 0700"`

	TLS   TLSFiles      `yaml:"tls"`
	NATS  NATSSettings  `yaml:"nats"`
	Etcd  EtcdSettings  `yaml:"etcd"`
	Vault VaultSettings `yaml:"vault"`
}

// TLSFiles is the service's identity towards etcd, NATS, Vault and PostgreSQL.
type TLSFiles struct {
	Cert string `env:"OFITEC_TLS_CERT_FILE" yaml:"cert" doc:"PEM certificate chain of this service"`
	Key  string `env:"OFITEC_TLS_KEY_FILE" yaml:"key" doc:"its PEM key"`
	CA   string `env:"OFITEC_TLS_CA_FILE" yaml:"ca" doc:"PEM certificates of the trusted authorities; the system's when empty"`
}

// Open reads the files; the result follows their changes.
func (f TLSFiles) Open() (*tlsfile.Source, error) {
	return tlsfile.Open(tlsfile.Files{Cert: f.Cert, Key: f.Key, CA: f.CA})
}

// NATSSettings says how to reach the bus.
type NATSSettings struct {
	URLs        []string `env:"NATS_URL" yaml:"urls" doc:"NATS servers, nats:// or tls://, own region first"`
	Credentials string   `env:"OFITEC_NATS_CREDENTIALS_FILE" yaml:"credentials" doc:"NATS credentials file (user JWT and seed)"`
}

// Required is the problem of a service that needs the bus and has none configured.
func (n NATSSettings) Required() []error {
	return config.Require("NATS_URL", strings.Join(n.URLs, ","), "a comma list such as tls://127.0.0.11:4222,tls://127.0.0.12:4222")
}

// EtcdSettings says how to reach etcd; the client certificate is the identity.
type EtcdSettings struct {
	Endpoints []string `env:"ETCD_ENDPOINTS" yaml:"endpoints" doc:"etcd members, host:port or URL, own region first"`
}

// Required is the problem of a service that needs etcd and has none configured.
func (e EtcdSettings) Required() []error {
	return config.Require("ETCD_ENDPOINTS", strings.Join(e.Endpoints, ","), "a comma list such as https://127.0.0.11:2379,https://127.0.0.12:2379")
}

// VaultSettings says how to reach Vault. The files are read at each login, not at the start: they may come, and change, later.
type VaultSettings struct {
	Addr         string        `env:"VAULT_ADDR" yaml:"addr" doc:"addresses of Vault's nodes, URLs, separated by commas, the nearest first: one is asked, and the next when it is away, sealed or without an active node"`
	RoleIDFile   string        `env:"OFITEC_VAULT_ROLE_ID_FILE" yaml:"role_id_file" doc:"file with the AppRole's role id"`
	SecretIDFile string        `env:"OFITEC_VAULT_SECRET_ID_FILE" yaml:"secret_id_file" doc:"file with the AppRole's secret id"`
	Token        config.Secret `env:"OFITEC_VAULT_TOKEN" yaml:"-" doc:"a token to use in place of the AppRole; it is renewed but never replaced"`
}

// Required is the problem of a service that needs Vault and has none configured.
func (v VaultSettings) Required() []error {
	return config.Require("VAULT_ADDR", v.Addr, "a URL such as https://127.0.0.13:8200, or several separated by commas")
}

// Addrs are the addresses of Vault's nodes in the order in which they are asked.
func (v VaultSettings) Addrs() []string {
	var addrs []string
	for _, addr := range strings.Split(v.Addr, ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// NewSettings gives the defaults.
func NewSettings() Settings { return Settings{LogLevel: slog.LevelInfo} }

// Problems are all that is wrong with the settings themselves. Whether the bus, etcd or Vault are needed is for the service to say,
// by their Required methods.
func (s Settings) Problems() []error {
	var problems []error
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	if !slices.Contains(regions, s.Region) {
		bad("OFITEC_REGION", s.Region, "one of "+strings.Join(regions, ", "))
	}
	if s.HTTPAddr != "" {
		if _, _, err := net.SplitHostPort(s.HTTPAddr); err != nil {
			bad("OFITEC_HTTP_ADDR", s.HTTPAddr, "host:port such as 127.0.0.11:8701")
		}
	}
	if s.TLS.Cert != "" && s.TLS.Key == "" {
		bad("OFITEC_TLS_KEY_FILE", "", "the key of OFITEC_TLS_CERT_FILE="+s.TLS.Cert)
	}
	if s.TLS.Key != "" && s.TLS.Cert == "" {
		bad("OFITEC_TLS_CERT_FILE", "", "the certificate of OFITEC_TLS_KEY_FILE="+s.TLS.Key)
	}
	for _, address := range s.NATS.URLs {
		if !wellFormed(address, "nats", "tls") {
			bad("NATS_URL", withoutPassword(address), "nats://host:port or tls://host:port, separated by commas")
		}
	}
	for _, address := range s.Etcd.Endpoints {
		if !wellFormed(endpointURL(address), "http", "https") {
			bad("ETCD_ENDPOINTS", withoutPassword(address), "host:port, http://host:port or https://host:port, separated by commas")
		}
	}
	for _, address := range s.Vault.Addrs() {
		if !wellFormed(address, "http", "https") {
			bad("VAULT_ADDR", withoutPassword(address), "a URL such as https://127.0.0.13:8200, or several separated by commas")
		} else if first := s.Vault.Addrs()[0]; strings.HasPrefix(address, "https://") != strings.HasPrefix(first, "https://") {
			bad("VAULT_ADDR", withoutPassword(address), "all nodes by https://, or all by http://")
		}
	}
	if (s.Vault.RoleIDFile == "") != (s.Vault.SecretIDFile == "") {
		problems = append(problems, fmt.Errorf("OFITEC_VAULT_ROLE_ID_FILE=%q and OFITEC_VAULT_SECRET_ID_FILE=%q: want both or neither", s.Vault.RoleIDFile, s.Vault.SecretIDFile))
	}
	return problems
}

// endpointURL lets the earlier delivery's host:port stand for a URL.
func endpointURL(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}

func wellFormed(address string, schemes ...string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && slices.Contains(schemes, u.Scheme)
}

// withoutPassword lets a URL be shown that might carry one.
func withoutPassword(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return "...@" + address[at+1:]
	}
	return address
}
