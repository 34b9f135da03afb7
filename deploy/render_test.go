package deploy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestAConfigurationThatIsWrongInPartIsNotRenderedAndEveryFieldIsNamed(t *testing.T) {
	for what, attempt := range map[string]struct {
		render func() ([]byte, error)
		fields []string
	}{
		"nats":        {NATS{Client: "nowhere", RoutePassword: "short", StoreDir: "relative"}.Render, []string{"nats.ServerName", "nats.Client", "nats.Routes", "nats.RoutePassword", "nats.StoreDir", "nats.OperatorJWT", "nats.SystemAccount", "nats.TLS.Cert"}},
		"postgres":    {Postgres{ConfDir: "/d/data/conf", DataDir: "/d/data", ProxySource: "127.0.0.111", Regions: []string{"127.0.0.0/8"}}.RenderConf, []string{"postgres.Name", "postgres.Listen", "postgres.ConfDir", "postgres.Regions[0]"}},
		"haproxy-db":  {HAProxyDB{HAProxyProcess: HAProxyProcess{Socket: "/" + strings.Repeat("x", 120)}, Source: "a"}.Render, []string{"haproxy-db.Socket", "haproxy-db.Metrics", "haproxy-db.Bind", "haproxy-db.Source", "haproxy-db.Arbiter"}},
		"haproxy-web": {HAProxyWeb{Active: "red"}.Render, []string{"haproxy-web.Region", "haproxy-web.Active", "haproxy-web.Peer"}},
		"prometheus":  {Prometheus{Window: 10 * time.Second}.RenderRules, []string{"prometheus.Region", "prometheus.Window", "prometheus.RuleFiles"}},
		"vault":       {Vault{LogLevel: "loud"}.Render, []string{"vault.NodeID", "vault.Listen", "vault.LogLevel", "vault.TLS.CA"}},
		"credentials": {Credentials{Objects: "127.0.0.1:9000", WebhookOverlap: -1}.Render, []string{"credentials.Objects", "credentials.WebhookOverlap"}},
		"minio":       {MinIOBucket{Bucket: "x"}.RenderRawPolicy, []string{"minio.Bucket"}},
	} {
		out, err := attempt.render()
		if err == nil || out != nil {
			t.Errorf("%s was rendered", what)
			continue
		}
		for _, field := range attempt.fields {
			if !strings.Contains(err.Error(), field+":") {
				t.Errorf("%s: the error does not name %s:\n%v", what, field, err)
			}
		}
	}
}

func TestNoFieldCarriesALineOfItsOwnIntoAFile(t *testing.T) {
	h := HAProxyDB{
		HAProxyProcess: HAProxyProcess{Socket: "/s", Metrics: "127.0.0.1:1"},
		Bind:           "127.0.0.1:1", ReadBind: "127.0.0.1:2", Server: "127.0.0.1:3", Source: "127.0.0.111", Arbiter: "127.0.0.1:4",
	}
	if _, err := h.Render(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*HAProxyDB){
		"socket": func(h *HAProxyDB) { h.Socket = "/s\n  user root" },
		"user":   func(h *HAProxyDB) { h.User = "x level admin" },
		"bind":   func(h *HAProxyDB) { h.Bind = "127.0.0.1\n:1" },
	} {
		changed := h
		change(&changed)
		if _, err := changed.Render(); err == nil {
			t.Errorf("%s with a second line was rendered", what)
		}
	}
}

func TestBothTimingsLeaveRoomForTheKillWithinTheFence(t *testing.T) {
	for _, profile := range []struct {
		check          HAProxyCheck
		d, c, k, fence time.Duration
	}{
		{LocalCheck, time.Second, 250 * time.Millisecond, 250 * time.Millisecond, 1500 * time.Millisecond},
		{WANCheck, 2 * time.Second, 500 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second},
	} {
		if d := profile.check.Detection(); d != profile.d || d+profile.c+profile.k > profile.fence {
			t.Errorf("D is %v, want %v with D + C + K within F = %v (rule R2)", d, profile.d, profile.fence)
		}
	}
}

func TestTheRawPolicyDeletesNothing(t *testing.T) {
	policy, err := MinIOBucket{}.RenderRawPolicy()
	if err != nil || !json.Valid(policy) || strings.Contains(string(policy), "Delete") || !strings.Contains(string(policy), "arn:aws:s3:::ofitec-raw/*") {
		t.Errorf("%v\n%s", err, policy)
	}
}

func TestAVerifierIsNotMadeOfAPasswordThatPostgreSQLWouldChange(t *testing.T) {
	salt := []byte("sixteen bytes ok")
	for _, password := range []string{"", "contraseña", "tab\t"} {
		if _, err := SCRAMVerifier(password, salt); err == nil || (password != "" && strings.Contains(err.Error(), password)) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if _, err := (PostgresRoles{Verifiers: map[string]string{"odoo_bootstrap": "a plain password"}}).Scripts(); err == nil || strings.Contains(err.Error(), "a plain password") {
		t.Errorf("a plain password as verifier: %v", err)
	}
}
