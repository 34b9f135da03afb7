package chassistest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ofitec/ofitec/chassis/health"
)

// Conduct checks what every service must do, on the service as a process. env is what the service needs beside the bus, NATS_URL, which
// Conduct adds.
func Conduct(t *testing.T, name string, env ...string) {
	t.Run("it is alive but not ready while the bus is away, and ready when the bus comes", func(t *testing.T) {
		addr := FreeAddr(t)
		p := Start(t, append(env, "NATS_URL=nats://"+addr)...)
		p.Await(t, "/healthz", 200)
		if why := report(t, p.Await(t, "/readyz", 503)).Checks["nats"]; !strings.Contains(why, "NATS") {
			t.Errorf("readyz says %q of the bus", why)
		}
		NATSAt(t, addr)
		if ready := report(t, p.Await(t, "/readyz", 200)); ready.Checks["nats"] != "ok" {
			t.Errorf("ready, but %v", ready.Checks)
		}
	})
	t.Run("its metrics keep to the naming rule", func(t *testing.T) {
		p := Start(t, append(env, "NATS_URL="+NATS(t))...)
		p.Await(t, "/readyz", 200)
		lintMetrics(t, name, p.Await(t, "/metrics", 200))
	})
	t.Run("SIGTERM ends it with status 0 and every line of its log is JSON", func(t *testing.T) {
		p := Start(t, append(env, "NATS_URL="+NATS(t))...)
		p.Await(t, "/readyz", 200)
		if status := p.Terminate(t); status != 0 {
			t.Errorf("exit status %d", status)
		}
		checkLog(t, name, p.Output())
	})
	t.Run("wrong configuration is reported in one go with status 2", func(t *testing.T) {
		status, _, complaints := Run(t, nil, "OFITEC_REGION=z", "OFITEC_LOG_LEVEL=loud")
		if status != 2 {
			t.Errorf("exit status %d", status)
		}
		for _, want := range []string{`OFITEC_REGION="z"`, `OFITEC_LOG_LEVEL="loud"`, "NATS_URL is not set"} {
			if !strings.Contains(complaints, want) {
				t.Errorf("no %s in %q", want, complaints)
			}
		}
	})
	t.Run("it says its version and its configuration, and refuses other words", func(t *testing.T) {
		if status, out, _ := Run(t, []string{"version"}); status != 0 || !strings.HasPrefix(out, name+" ") {
			t.Errorf("version: status %d, %q", status, out)
		}
		if status, out, _ := Run(t, []string{"config-reference"}); status != 0 || !strings.Contains(out, "`NATS_URL`") {
			t.Errorf("config-reference: status %d, %q", status, out)
		}
		if status, _, complaints := Run(t, []string{"frobnicate"}); status != 2 || !strings.Contains(complaints, "frobnicate") {
			t.Errorf("unknown word: status %d, %q", status, complaints)
		}
	})
}

func report(t *testing.T, body string) health.Report {
	t.Helper()
	var r health.Report
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("readyz is not a report: %v in %q", err, body)
	}
	return r
}

func lintMetrics(t *testing.T, name, text string) {
	t.Helper()
	if !strings.Contains(text, `ofitec_build_info{`) || !strings.Contains(text, `service="`+name+`"`) {
		t.Error("no ofitec_build_info of this service")
	}
	if !strings.Contains(text, "ofitec_nats_connected 1") {
		t.Error("ready, but ofitec_nats_connected is not 1")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatalf("lint metrics: %v", err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "ofitec_") {
			t.Errorf("metric %s: %s", p.Metric, p.Text)
		}
	}
}

func checkLog(t *testing.T, name, output string) {
	t.Helper()
	for line := range strings.Lines(output) {
		var entry struct{ Service, Region, Version, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("log line is not JSON: %q", line)
			continue
		}
		if entry.Service != name || entry.Region == "" || entry.Version == "" || entry.Msg == "" {
			t.Errorf("log line without service, region, version or message: %q", line)
		}
	}
}
