package deploy

import (
	"fmt"
	"net/url"
	"time"
)

// Prometheus is the server of one data region; it looks at its own region and, beyond that, at all nodes of Vault, all members of etcd, and the services of the region
// without data, which has none.
type Prometheus struct {
	Region           string
	Listen           string // region:9090
	OdooBlue         string
	OdooGreen        string
	PostgresExporter string // region:9187
	HAProxyDB        string // region:8404
	HAProxyWeb       string // region:8405
	Services         []PrometheusTarget
	Vault            []PrometheusTarget // all of its nodes, by the name of their region: region c has no Prometheus. None while Vault is left out
	CAFile           string             // checks the certificates of Vault's nodes; needed with them
	Quorum           string             // name of the region without data
	QuorumServices   []PrometheusTarget // its services, each of them also one of Services
	Etcd             []PrometheusTarget // the metrics listeners of all members, by the name of their region
	RuleFiles        []string           // where the files of RenderRules and PrometheusAlerts are

	// Window is the range of the rules named _5m: 5 min in production and when zero, shorter where a test cannot wait.
	// It must hold four scrapes at least, for a rate needs two points also when one scrape was missed.
	Window             time.Duration
	ScrapeInterval     time.Duration // 15 s when zero; at most 30 s
	EvaluationInterval time.Duration // ScrapeInterval when zero
}

// PrometheusTarget is a service by its name and its OFITEC_HTTP_ADDR.
type PrometheusTarget struct{ Name, Address string }

// ScrapeTimeout is below the interval, so that a hung target is a failed scrape and not a late one.
func (m Prometheus) ScrapeTimeout() time.Duration { return min(m.ScrapeInterval*4/5, 10*time.Second) }

// RenderConfig returns prometheus.yml.
func (m Prometheus) RenderConfig() ([]byte, error) { return m.render("prometheus/prometheus.yml.tmpl") }

// RenderRules returns ofitec.rules.yml: odoo:p95_5m (seconds), odoo:error_rate_5m (0 to 1), db:replication_lag_seconds and
// gate:healthy (1 or 0), each with the label region, each absent when unknown.
func (m Prometheus) RenderRules() ([]byte, error) {
	return m.render("prometheus/rules/ofitec.rules.yml.tmpl")
}

// PrometheusAlerts returns ofitec.alerts.yml: the rules that wake or call an operator. It is the same everywhere, for each Prometheus sees one region.
func PrometheusAlerts() ([]byte, error) {
	return files.ReadFile("prometheus/rules/ofitec.alerts.yml")
}

// PostgresExporterQueries returns the file for prometheus-postgres-exporter's --extend.query-path.
func PostgresExporterQueries() ([]byte, error) {
	return files.ReadFile("prometheus/postgres-exporter-queries.yaml")
}

func (m Prometheus) render(name string) ([]byte, error) {
	if m.Window == 0 {
		m.Window = 5 * time.Minute
	}
	if m.ScrapeInterval == 0 {
		m.ScrapeInterval = 15 * time.Second
	}
	if m.EvaluationInterval == 0 {
		m.EvaluationInterval = m.ScrapeInterval
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return render(name, m)
}

func (m Prometheus) check() error {
	p := problems{of: "prometheus"}
	p.name("Region", m.Region)
	p.hostPort("Listen", m.Listen)
	p.hostPort("OdooBlue", m.OdooBlue)
	p.hostPort("OdooGreen", m.OdooGreen)
	p.hostPort("PostgresExporter", m.PostgresExporter)
	p.hostPort("HAProxyDB", m.HAProxyDB)
	p.hostPort("HAProxyWeb", m.HAProxyWeb)
	for i, service := range m.Services {
		p.name(fmt.Sprintf("Services[%d].Name", i), service.Name)
		p.hostPort(fmt.Sprintf("Services[%d].Address", i), service.Address)
	}
	own := map[string]bool{}
	for _, service := range m.Services {
		own[service.Name] = true
	}
	if m.QuorumServices != nil {
		p.name("Quorum", m.Quorum)
	}
	for i, service := range m.QuorumServices {
		p.hostPort(fmt.Sprintf("QuorumServices[%d].Address", i), service.Address)
		if !own[service.Name] {
			p.add(fmt.Sprintf("QuorumServices[%d].Name", i), "is %q, which is none of Services", service.Name)
		}
	}
	for i, member := range m.Etcd {
		p.name(fmt.Sprintf("Etcd[%d].Name", i), member.Name)
		p.hostPort(fmt.Sprintf("Etcd[%d].Address", i), member.Address)
	}
	for i, node := range m.Vault {
		p.name(fmt.Sprintf("Vault[%d].Name", i), node.Name)
		p.hostPort(fmt.Sprintf("Vault[%d].Address", i), node.Address)
	}
	if m.Vault != nil {
		p.path("CAFile", m.CAFile)
	}
	if len(m.RuleFiles) == 0 {
		p.add("RuleFiles", "is empty")
	}
	for i, file := range m.RuleFiles {
		p.path(fmt.Sprintf("RuleFiles[%d]", i), file)
	}
	p.duration("ScrapeInterval", m.ScrapeInterval, 500*time.Millisecond, 30*time.Second)
	p.duration("EvaluationInterval", m.EvaluationInterval, 500*time.Millisecond, time.Minute)
	p.duration("Window", m.Window, 4*m.ScrapeInterval, time.Hour)
	return p.err()
}

// PostgresExporter says how prometheus-postgres-exporter is started: its configuration is arguments and environment.
// The password is read from a file and stands in neither.
type PostgresExporter struct {
	Listen       string // region:9187
	Postgres     string // region:5433
	PasswordFile string // of ofitec_exporter; letters, digits, dash and underscore only: version 0.11 logs a password that it cannot parse
	CAFile       string
	QueriesFile  string // where the file of PostgresExporterQueries is
}

// Args are the command's arguments.
func (e PostgresExporter) Args() ([]string, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return []string{
		"--web.listen-address=" + e.Listen,
		"--extend.query-path=" + e.QueriesFile,
		"--disable-settings-metrics",
		"--no-collector.database",
		"--log.level=warn",
	}, nil
}

// Env are the command's environment variables.
func (e PostgresExporter) Env() ([]string, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	options := url.Values{
		"sslmode":          {"verify-full"},
		"sslrootcert":      {e.CAFile},
		"connect_timeout":  {"2"},
		"application_name": {"ofitec_exporter"},
	}
	return []string{
		"DATA_SOURCE_URI=" + e.Postgres + "/ofitec_prod?" + options.Encode(),
		"DATA_SOURCE_USER=ofitec_exporter",
		"DATA_SOURCE_PASS_FILE=" + e.PasswordFile,
	}, nil
}

func (e PostgresExporter) check() error {
	p := problems{of: "postgres exporter"}
	p.hostPort("Listen", e.Listen)
	p.hostPort("Postgres", e.Postgres)
	p.path("PasswordFile", e.PasswordFile)
	p.path("CAFile", e.CAFile)
	p.path("QueriesFile", e.QueriesFile)
	return p.err()
}
