package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// startBusiness starts what stands on the base: arbiters, proxies, Odoo, Prometheus and the services. Arbiters come first, for they open the proxies.
func (s *Stack) startBusiness(ctx context.Context) error {
	var arbiters, proxies, others []supervise.Spec
	collect := func(group *[]supervise.Spec, makers ...func() (supervise.Spec, error)) error {
		for _, make := range makers {
			spec, err := make()
			if err != nil {
				return err
			}
			*group = append(*group, spec)
		}
		return nil
	}
	for _, service := range layout.Services {
		for _, r := range service.Regions {
			group := &others
			if service.Name == "failover-arbiter" {
				group = &arbiters
			}
			if err := collect(group, func() (supervise.Spec, error) { return s.service(r, service) }); err != nil {
				return err
			}
		}
	}
	for _, r := range layout.DataRegions {
		err := errors.Join(
			collect(&proxies, func() (supervise.Spec, error) { return s.databaseProxy(r) }),
			collect(&others,
				func() (supervise.Spec, error) { return s.webProxy(r) },
				func() (supervise.Spec, error) { return s.odoo(r, "blue", layout.PortOdooBlue) },
				func() (supervise.Spec, error) { return s.odoo(r, "green", layout.PortOdooGreen) },
				func() (supervise.Spec, error) { return s.postgresExporter(r) },
				func() (supervise.Spec, error) { return s.prometheus(r) },
			),
		)
		if err != nil {
			return err
		}
	}
	if err := collect(&others, s.console); err != nil {
		return err
	}
	for _, group := range [][]supervise.Spec{proxies, arbiters, others} {
		if err := s.add(group...); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// proxyProcess is what both proxies share. They are started as the user who commands them, so that their runtime socket is that user's alone.
func (s *Stack) proxyProcess(r layout.Region, socket string, tap int) deploy.HAProxyProcess {
	return deploy.HAProxyProcess{Socket: socket, Metrics: s.layout.Addressing.Addr(r, tap)}
}

func (s *Stack) databaseProxy(r layout.Region) (supervise.Spec, error) {
	a := s.layout.Addressing
	return s.proxy(r, "haproxy-db", layout.PortDatabaseProxy, layout.PortDatabaseProxyTap, s.layout.DatabaseProxySocket(r), func(process deploy.HAProxyProcess) ([]byte, error) {
		return deploy.HAProxyDB{
			HAProxyProcess: process, Bind: a.Addr(r, layout.PortDatabaseProxy), ReadBind: a.Addr(r, layout.PortReadProxy),
			Server: a.Addr(r, layout.PortPostgres), Source: a.ProxySource[r], Arbiter: a.Addr(r, layout.PortArbiter),
		}.Render()
	})
}

func (s *Stack) webProxy(r layout.Region) (supervise.Spec, error) {
	a := s.layout.Addressing
	return s.proxy(r, "haproxy-web", layout.PortWebProxy, layout.PortWebProxyTap, s.layout.WebProxySocket(r), func(process deploy.HAProxyProcess) ([]byte, error) {
		active, err := s.activeColour(r)
		if err != nil {
			return nil, err
		}
		return deploy.HAProxyWeb{
			HAProxyProcess: process, Region: string(r), Bind: a.Addr(r, layout.PortWebProxy), Blue: a.Addr(r, layout.PortOdooBlue), Green: a.Addr(r, layout.PortOdooGreen),
			Active: active, Arbiter: a.Addr(r, layout.PortArbiter), Peer: a.Addr(r.Peer(), layout.PortWebProxy), PeerArbiter: a.Addr(r.Peer(), layout.PortArbiter),
		}.Render()
	})
}

// activeColour is what the deployer has written last; blue at first.
func (s *Stack) activeColour(r layout.Region) (string, error) {
	content, err := os.ReadFile(s.layout.ActiveColourFile(r))
	if errors.Is(err, fs.ErrNotExist) {
		return "blue", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the active colour: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

func (s *Stack) proxy(r layout.Region, name string, port, tap int, socket string, render func(deploy.HAProxyProcess) ([]byte, error)) (supervise.Spec, error) {
	program, err := s.programs.packaged("haproxy")
	if err != nil {
		return supervise.Spec{}, err
	}
	// HAProxy makes the socket under a temporary name beside it: its folder must be its user's.
	socketDir := filepath.Dir(socket)
	config := filepath.Join(s.layout.ComponentDir(r, name), name+".cfg")
	spec := s.component(r, name, program, s.layout.Addressing.Addr(r, port), file{config, func() ([]byte, error) { return render(s.proxyProcess(r, socket, tap)) }})
	spec = before(spec, func(context.Context) error { return makeDir(socketDir, 0o700, s.owners.of(name)) })
	spec.Args = []string{"-db", "-f", config}
	spec.Nice = -5
	spec.Ready = httpReady(s.url(r, tap, "/metrics"), plainClient())
	return spec, nil
}

// odoo is one colour of the stand-in. Its environment file is written once: from then on the deployer changes it. Lines that only a later version of the stack has are
// added at a start.
func (s *Stack) odoo(r layout.Region, colour string, port int) (supervise.Spec, error) {
	program, err := s.programs.own(odooProgram)
	if err != nil {
		return supervise.Spec{}, err
	}
	name := "odoo-" + colour
	env := s.layout.OdooEnvFile(r, colour)
	spec := s.component(r, name, program, s.layout.Addressing.Addr(r, port))
	spec.Dir = filepath.Dir(env)
	spec.Before = func(context.Context) error {
		if err := makeDir(filepath.Dir(env), 0o700, s.owners.of(name)); err != nil {
			return err
		}
		lines, err := s.odooEnv(r, colour, spec.Addr)
		if err != nil {
			return err
		}
		have, err := identity.ReadFile(env)
		if err != nil {
			return err
		}
		content := withLines(have, lines)
		if bytes.Equal(content, have) {
			return nil
		}
		return identity.WriteFile(env, content, s.owners.forIdentity(), name)
	}
	spec.Args = []string{"--env", env}
	spec.Ready = httpReady("http://"+spec.Addr+"/web/health", plainClient())
	return spec, nil
}

// withLines is an environment file with the lines whose keys it lacks.
func withLines(have []byte, lines []string) []byte {
	keys := map[string]bool{}
	for line := range strings.Lines(string(have)) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		keys[key] = true
	}
	content := slices.Clone(have)
	if n := len(content); n > 0 && content[n-1] != '\n' {
		content = append(content, '\n')
	}
	for _, line := range lines {
		key, _, isKey := strings.Cut(line, "=")
		if !keys[key] && (isKey || len(have) == 0) {
			content = append(content, line+"\n"...)
		}
	}
	return content
}

// odooEnv is a colour's first environment file. Nobody knows its master password: the database manager stays closed until the rotator has made one and the deployer has
// brought it here, after the loss of a region too.
func (s *Stack) odooEnv(r layout.Region, colour, addr string) ([]string, error) {
	dir := s.layout.IdentityDir(r, "odoo")
	password, err := secret(dir, "postgres-password")
	if err != nil {
		return nil, err
	}
	lines := []string{
		"# Odoo's environment, colour " + colour + " of region " + string(r) + ". The deployer rewrites POSTGRES_USER, POSTGRES_PASSWORD and ODOO_MASTER_PASSWORD.",
		"POSTGRES_HOST=" + s.layout.Addressing.Region[r],
		fmt.Sprintf("POSTGRES_PORT=%d", layout.PortDatabaseProxy),
		fmt.Sprintf("POSTGRES_READ_PORT=%d", layout.PortReadProxy),
		"POSTGRES_DB=ofitec_prod",
		"POSTGRES_USER=odoo_bootstrap",
		"POSTGRES_PASSWORD=" + password,
		"POSTGRES_SSLMODE=verify-full",
		"POSTGRES_SSLROOTCERT=" + filepath.Join(dir, "ca.crt"),
		"ODOO_MASTER_PASSWORD=" + rand.Text(),
		"ODOO_COLOUR=" + colour,
		"ODOO_REGION=" + string(r),
		"ODOO_ADDR=" + addr,
		"ODOO_EXPORT_TOKEN_FILE=" + filepath.Join(dir, "export-token"),
	}
	lines = append(lines, s.announceEnv(r)...)
	extra := make([]string, 0, len(s.options.Odoo))
	for key, value := range s.options.Odoo {
		extra = append(extra, key+"="+value)
	}
	slices.Sort(extra)
	return append(lines, extra...), nil
}

func (s *Stack) postgresExporter(r layout.Region) (supervise.Spec, error) {
	program, err := s.programs.packaged("prometheus-postgres-exporter")
	if err != nil {
		return supervise.Spec{}, err
	}
	dir, a := s.layout.IdentityDir(r, "postgres-exporter"), s.layout.Addressing
	queries := filepath.Join(s.layout.ComponentDir(r, "postgres-exporter"), "queries.yaml")
	exporter := deploy.PostgresExporter{
		Listen: a.Addr(r, layout.PortPostgresExporter), Postgres: a.Addr(r, layout.PortPostgres), PasswordFile: filepath.Join(dir, "postgres-password"), CAFile: filepath.Join(dir, "ca.crt"), QueriesFile: queries,
	}
	spec := s.component(r, "postgres-exporter", program, exporter.Listen, file{queries, deploy.PostgresExporterQueries})
	env, envErr := exporter.Env()
	spec.Args, err = exporter.Args()
	if err = errors.Join(err, envErr); err != nil {
		return supervise.Spec{}, err
	}
	spec.Env, spec.Nice = append(spec.Env, env...), 5
	spec.Ready = httpReady("http://"+exporter.Listen+"/", plainClient())
	return spec, nil
}

func (s *Stack) prometheus(r layout.Region) (supervise.Spec, error) {
	program, err := s.programs.packaged("prometheus")
	if err != nil {
		return supervise.Spec{}, err
	}
	a, dir := s.layout.Addressing, s.layout.ComponentDir(r, "prometheus")
	config, rules, alerts := filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "ofitec.rules.yml"), filepath.Join(dir, "ofitec.alerts.yml")
	settings := deploy.Prometheus{
		Region: string(r), Listen: a.Addr(r, layout.PortPrometheus), OdooBlue: a.Addr(r, layout.PortOdooBlue), OdooGreen: a.Addr(r, layout.PortOdooGreen),
		PostgresExporter: a.Addr(r, layout.PortPostgresExporter), HAProxyDB: a.Addr(r, layout.PortDatabaseProxyTap), HAProxyWeb: a.Addr(r, layout.PortWebProxyTap),
		RuleFiles: []string{rules, alerts}, Quorum: string(layout.C), Window: s.options.GateWindow, ScrapeInterval: scrapeInterval,
	}
	for _, service := range layout.Services {
		if slices.Contains(service.Regions, r) {
			settings.Services = append(settings.Services, deploy.PrometheusTarget{Name: service.Name, Address: a.Addr(r, service.Port)})
		}
		if slices.Contains(service.Regions, layout.C) {
			settings.QuorumServices = append(settings.QuorumServices, deploy.PrometheusTarget{Name: service.Name, Address: a.Addr(layout.C, service.Port)})
		}
	}
	for _, member := range layout.Regions {
		settings.Etcd = append(settings.Etcd, deploy.PrometheusTarget{Name: string(member), Address: a.Addr(member, layout.PortEtcdMetrics)})
	}
	if !s.options.WithoutVault {
		settings.CAFile = filepath.Join(s.layout.IdentityDir(r, "prometheus"), "ca.crt")
		for _, node := range layout.Regions {
			settings.Vault = append(settings.Vault, deploy.PrometheusTarget{Name: string(node), Address: a.Addr(node, layout.PortVault)})
		}
	}
	spec := s.component(r, "prometheus", program, settings.Listen, file{config, settings.RenderConfig}, file{rules, settings.RenderRules}, file{alerts, deploy.PrometheusAlerts})
	spec.Args = []string{
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--storage.tsdb.retention.time=2d",
		"--web.listen-address=" + settings.Listen, "--log.level=warn", "--no-scrape.adjust-timestamps", // see out_of_order_time_window
	}
	spec.Nice = 10
	spec.Ready = httpReady("http://"+settings.Listen+"/-/ready", plainClient())
	return spec, nil
}

// service is one of the Go services of a region.
func (s *Stack) service(r layout.Region, unit layout.ServiceUnit) (supervise.Spec, error) {
	program, err := s.programs.own(unit.Name)
	if err != nil {
		return supervise.Spec{}, err
	}
	spec := s.component(r, unit.Name, program, s.layout.Addressing.Addr(r, unit.Port), s.serviceFiles(r, unit.Name)...)
	spec.Env = append(spec.Env, s.serviceEnv(r, unit.Name, spec.Addr)...)
	if own, ok := environments[unit.Name]; ok {
		spec.Env = append(spec.Env, own(s, r)...)
	}
	switch unit.Name {
	case "failover-arbiter":
		spec.Nice = -5
	case "etl-transform":
		spec = before(spec, func(context.Context) error { return s.firstReader() })
	}
	spec.Ready = httpReady("http://"+spec.Addr+"/readyz", plainClient())
	return spec, nil
}

// serviceFiles are the configuration of a service that has structure.
func (s *Stack) serviceFiles(r layout.Region, name string) []file {
	switch name {
	case "rotator":
		return []file{{s.credentialsFile(r), deploy.Credentials{Objects: "https://" + s.outside(layout.PortObjects), WebhookOverlap: webhookOverlap}.Render}}
	case "deployer":
		return []file{{s.rolloutFile(r), deploy.Rollout}}
	}
	return nil
}

// credentialsFile is the rotator's list.
func (s *Stack) credentialsFile(r layout.Region) string {
	return filepath.Join(s.layout.ComponentDir(r, "rotator"), "credentials.yml")
}

// rolloutFile says which credentials the deployer brings to Odoo, and by which keys.
func (s *Stack) rolloutFile(r layout.Region) string {
	return filepath.Join(s.layout.ComponentDir(r, "deployer"), "credentials.yml")
}

// console stands outside the regions: it shows them all.
func (s *Stack) console() (supervise.Spec, error) {
	program, err := s.programs.own("console")
	if err != nil {
		return supervise.Spec{}, err
	}
	spec := s.component("", "console", program, fmt.Sprintf("%s:%d", s.layout.Addressing.Console, layout.PortConsole))
	spec = before(spec, func(context.Context) error { return s.firstReader() })
	spec.Env = append(append(spec.Env, s.serviceEnv("", "console", spec.Addr)...), s.consoleEnv()...)
	spec.Nice = 10
	spec.Ready = httpReady("http://"+spec.Addr+"/readyz", plainClient())
	return spec, nil
}
