package local

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// environments is what each service reads beside the settings that all share; a service without an entry needs nothing else.
var environments = map[string]func(s *Stack, r layout.Region) []string{
	"failover-arbiter": (*Stack).arbiterEnv,
	"rotator":          (*Stack).rotatorEnv,
	"deployer":         (*Stack).deployerEnv,
	"health-probe":     (*Stack).probeEnv,
	"etl-ingest":       (*Stack).ingestEnv,
	"etl-transform":    (*Stack).transformEnv,
}

// rawURL is where all regions find the raw files.
const rawURL = "s3://" + bootstrap.RawBucket + "/raw"

// arbiterEnv are the hands of a data region's arbiter; region c has none.
func (s *Stack) arbiterEnv(r layout.Region) []string {
	a := s.layout.Addressing
	env := []string{
		"OFITEC_FIRST_ACTIVE=a", "OFITEC_TIMING=local",
		"OFITEC_DNS_SERVER=" + s.outside(layout.PortDNS), "OFITEC_DNS_ZONE=" + layout.Zone, "OFITEC_DNS_NAME=" + layout.Name, "OFITEC_DNS_TTL=1s",
		"OFITEC_DNS_KEY_FILE=" + filepath.Join(s.layout.IdentityDir(r, "failover-arbiter"), "tsig.key"),
		"OFITEC_REGION_A_ADDRESS=" + a.Region[layout.A], "OFITEC_REGION_B_ADDRESS=" + a.Region[layout.B],
	}
	if s.options.Strict {
		env = append(env, "OFITEC_SYNCHRONOUS_AWAY=strict")
	}
	if !r.HoldsData() {
		return env
	}
	if s.options.CommitWitness {
		env = append(env, "OFITEC_COMMIT_WITNESS=true")
	}
	postgres := s.postgresSettings(r)
	return append(env,
		"OFITEC_POSTGRES_ADDRESS="+postgres.Listen,
		"OFITEC_DATABASE_PROXY_SOURCE="+postgres.ProxySource,
		"OFITEC_POSTGRES_BIN_DIR="+debian.PostgresBin,
		"OFITEC_POSTGRES_DATA_DIR="+postgres.DataDir,
		"OFITEC_POSTGRES_UPSTREAM="+postgres.Upstream,
		"OFITEC_POSTGRES_PASS_FILE="+postgres.PassFile,
		"OFITEC_POSTGRES_CA_FILE="+postgres.TLS.CA,
		"OFITEC_DATABASE_PROXY_SOCKET="+s.layout.DatabaseProxySocket(r),
		"OFITEC_POSTGRES_SOCKET_DIR="+s.layout.PostgresSocketDir(r),
		"OFITEC_POSTGRES_CONF_DIR="+s.layout.PostgresConfDir(r),
		"OFITEC_SUPERVISOR_SOCKET="+s.layout.SupervisorSocket(r),
		"OFITEC_ARCHIVE_FILE="+filepath.Join(postgres.ConfDir, archiveFile),
	)
}

// rotatorEnv lists both regions' proxies: the one that leads to the writable side is used, whichever it is. A rollout takes seconds here, where production watches
// its canaries for a quarter of an hour, and so all that is counted in rollouts is shorter.
func (s *Stack) rotatorEnv(r layout.Region) []string {
	return []string{
		"OFITEC_CONFIG=" + s.credentialsFile(r),
		"OFITEC_DATABASE_PROXIES=" + s.dataRegions(layout.PortDatabaseProxy),
		"OFITEC_DATABASE_READ_PROXIES=" + s.dataRegions(layout.PortReadProxy),
		"OFITEC_DRAIN_GRACE=5s", "OFITEC_REGION_PATIENCE=5m", "OFITEC_ROLLOUT_TIME=2m", "OFITEC_RETRY_AFTER=1m", "OFITEC_LEADER_TTL=5s",
	}
}

// ingestEnv reads through the region's own web proxy, which knows the live colour, and keeps raw files where all regions find them. The
// stand-in's longest transaction is 2 minutes, which the look-back must be longer than.
func (s *Stack) ingestEnv(r layout.Region) []string {
	dir, a := s.layout.IdentityDir(r, "etl-ingest"), s.layout.Addressing
	return append(s.webhookEnv(),
		"OFITEC_ODOO_URL=http://"+a.Addr(r, layout.PortWebProxy),
		"OFITEC_ODOO_TOKEN_FILE="+filepath.Join(dir, "export-token"),
		"OFITEC_RAW_KEY_FILE="+filepath.Join(dir, "raw-key"),
		"OFITEC_RAW_URL="+rawURL,
		"OFITEC_S3_ENDPOINT=https://"+fmt.Sprintf("%s:%d", a.Outside, layout.PortObjects),
		"OFITEC_S3_ACCESS_KEY_FILE="+filepath.Join(dir, "s3-access-key"),
		"OFITEC_S3_SECRET_KEY_FILE="+filepath.Join(dir, "s3-secret-key"),
		"OFITEC_INTERVAL=30s",
		"OFITEC_RECONCILE_INTERVAL=5m",
		"OFITEC_EXPORT_LOOKBACK=5m",
	)
}

// probeEnv are the regions that are looked at, and who looks.
func (s *Stack) probeEnv(r layout.Region) []string {
	a := s.layout.Addressing
	env := []string{
		"OFITEC_POSTGRES_PASSWORD_FILE=" + filepath.Join(s.layout.IdentityDir(r, "health-probe"), "postgres-password"),
		"OFITEC_DNS_SERVER=" + s.outside(layout.PortDNS),
		"OFITEC_DNS_NAME=" + layout.Name,
		"OFITEC_NATS_MONITOR_URL=" + s.url(r, layout.PortNATSMonitor, ""),
	}
	for name, target := range map[string]layout.Region{"A": layout.A, "B": layout.B} {
		env = append(env,
			"OFITEC_WEB_"+name+"_URL="+s.url(target, layout.PortWebProxy, "/web/health"),
			"OFITEC_POSTGRES_"+name+"_ADDR="+a.Addr(target, layout.PortPostgres),
			"OFITEC_PROMETHEUS_"+name+"_URL="+s.url(target, layout.PortPrometheus, ""),
			"OFITEC_REGION_"+name+"_ADDRESS="+a.Region[target],
		)
	}
	return env
}

// deployerEnv is how a region's deployer reaches the two colours, and gates that are short: a newcomer watches a rotation. Prometheus needs a few scrapes before it
// can say something of a colour that has just started.
func (s *Stack) deployerEnv(r layout.Region) []string {
	a := s.layout.Addressing
	return []string{
		"OFITEC_CONFIG=" + s.rolloutFile(r),
		"OFITEC_ARBITER_URL=http://" + a.Addr(r, layout.PortArbiter),
		"OFITEC_ODOO_BLUE_URL=http://" + a.Addr(r, layout.PortOdooBlue),
		"OFITEC_ODOO_GREEN_URL=http://" + a.Addr(r, layout.PortOdooGreen),
		"OFITEC_ODOO_SUPERVISOR_SOCKET=" + s.layout.OdooSocket(r),
		"OFITEC_WEB_PROXY_SOCKET=" + s.layout.WebProxySocket(r),
		"OFITEC_ACTIVE_COLOUR_FILE=" + s.layout.ActiveColourFile(r),
		"OFITEC_PROMETHEUS_URL=http://" + a.Addr(r, layout.PortPrometheus),
		"OFITEC_CANARY_READS=/web/health,/of/ledger?writer=deployer-$region",
		"OFITEC_CANARY_WRITE=/of/ledger", `OFITEC_CANARY_WRITE_BODY={"writer":"deployer-$region","seq":$version}`,
		"OFITEC_START_WITHIN=45s", "OFITEC_DRAIN_WITHIN=20s",
		fmt.Sprintf("OFITEC_GATE_DELAY=%s", 3*scrapeInterval), fmt.Sprintf("OFITEC_GATE_INTERVAL=%s", scrapeInterval), fmt.Sprintf("OFITEC_GATE_WINDOW=%s", 7*scrapeInterval),
		"OFITEC_GATE_FAILURES=3", "OFITEC_GATE_INCONCLUSIVE=8",
	}
}

// consoleEnv is whom the page asks, in each region.
func (s *Stack) consoleEnv() []string {
	place := func(r layout.Region, where string) string { return string(r) + "=" + where }
	var arbiters, transforms, readers []string
	for _, r := range layout.Regions {
		arbiters = append(arbiters, place(r, s.layout.Addressing.Addr(r, layout.PortArbiter)))
	}
	for _, r := range layout.DataRegions {
		transforms = append(transforms, place(r, s.layout.Addressing.Addr(r, layout.PortTransform)))
		readers = append(readers, place(r, filepath.Join(s.layout.OutsideIdentityDir("console"), "analytics-"+string(r)+".dsn")))
	}
	return []string{
		"OFITEC_ARBITERS=" + strings.Join(arbiters, ","), "OFITEC_TRANSFORMS=" + strings.Join(transforms, ","),
		"OFITEC_ANALYTICS_DSN_FILES=" + strings.Join(readers, ","), "OFITEC_CONSOLE_LINK_FILE=" + s.layout.ConsoleLinkFile(),
	}
}

// dataRegions is a comma list of a port's address in the regions that hold data.
func (s *Stack) dataRegions(port int) string {
	return s.layout.Addressing.Addr(layout.A, port) + "," + s.layout.Addressing.Addr(layout.B, port)
}
