package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func prometheusOf(dir string) Prometheus {
	return Prometheus{
		Region: "a", Listen: "127.0.0.11:9090", OdooBlue: "127.0.0.11:8069", OdooGreen: "127.0.0.11:8070",
		PostgresExporter: "127.0.0.11:9187", HAProxyDB: "127.0.0.11:8404", HAProxyWeb: "127.0.0.11:8405",
		Services: []PrometheusTarget{{Name: "failover-arbiter", Address: "127.0.0.11:8702"}},
		Quorum:   "c", QuorumServices: []PrometheusTarget{{Name: "failover-arbiter", Address: "127.0.0.13:8702"}}, Etcd: []PrometheusTarget{{"a", "127.0.0.11:2381"}, {"c", "127.0.0.13:2381"}},
		CAFile: filepath.Join(dir, "ca.crt"), Vault: []PrometheusTarget{{"a", "127.0.0.11:8200"}, {"c", "127.0.0.13:8200"}},
		RuleFiles: []string{filepath.Join(dir, "ofitec.rules.yml"), filepath.Join(dir, "ofitec.alerts.yml")},
	}
}

func TestTheRulesSayWhatTheirTestsExpect(t *testing.T) {
	promtool := program(t, "promtool")
	dir := t.TempDir()
	rules, err := prometheusOf(dir).RenderRules()
	write(t, dir, "ofitec.rules.yml", rules, err)
	alerts, err := PrometheusAlerts()
	write(t, dir, "ofitec.alerts.yml", alerts, err)
	write(t, dir, "nan.rules.yml", []byte(`groups: [{name: nan, rules: [{record: ofitec_failover_arbiter_mandate_renewed_timestamp_seconds, expr: 'pg_is_in_recovery{region="nan"} * NaN'}]}]`), nil)
	cases, err := filepath.Glob("prometheus/tests/*.yml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no rule tests: %v", err)
	}
	for _, file := range cases {
		content, err := os.ReadFile(file)
		if out := run(t, promtool, "test", "rules", write(t, dir, filepath.Base(file), content, err)); !strings.Contains(out, "SUCCESS") {
			t.Errorf("%s:\n%s", file, out)
		}
	}
}

func TestPrometheusAcceptsConfigurationAndRulesAtBothWindows(t *testing.T) {
	promtool := program(t, "promtool")
	for _, window := range []time.Duration{5 * time.Minute, 30 * time.Second} {
		dir := t.TempDir()
		m := prometheusOf(dir)
		m.Window, m.ScrapeInterval = window, window/20
		rules, err := m.RenderRules()
		write(t, dir, "ofitec.rules.yml", rules, err)
		alerts, err := PrometheusAlerts()
		write(t, dir, "ofitec.alerts.yml", alerts, err)
		config, err := m.RenderConfig()
		run(t, promtool, "check", "config", write(t, dir, "prometheus.yml", config, err))
	}
}

var alertName = regexp.MustCompile(`alert: (\w+)`)

func TestEachAlertIsSeenToFire(t *testing.T) {
	alerts, err := PrometheusAlerts()
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("prometheus/tests/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := alertName.FindAllStringSubmatch(string(alerts), -1)
	if len(names) < 20 {
		t.Fatalf("found %d alerts only: the reading is wrong", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(cases), `alertname="`+name[1]+`"`) {
			t.Errorf("%s fires in no test", name[1])
		}
	}
}
