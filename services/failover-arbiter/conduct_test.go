package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
)

func metric(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return string(body)
}

func value(t *testing.T, metrics, name string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if text, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			must(t, err)
			return v
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

func TestAtRestItTakesNextToNothing(t *testing.T) {
	r := startRegion(t)
	r.arbiter(t, "arbiter", r.address, "NATS_URL="+chassistest.NATS(t))
	await(t, 10*time.Second, "applications can log in", r.open)
	time.Sleep(1500 * time.Millisecond)
	first := value(t, metric(t, r.address), "process_cpu_seconds_total")
	began := time.Now()
	time.Sleep(5 * time.Second)
	metrics := metric(t, r.address)
	share := (value(t, metrics, "process_cpu_seconds_total") - first) / time.Since(began).Seconds()
	t.Logf("%.2f %% of a core", 100*share)
	if share > 0.04 { // 1.4 % as it is built; the race detector and a starved machine charge more for each switch
		t.Errorf("%.2f %% of a core", 100*share)
	}
	if value(t, metrics, "ofitec_failover_arbiter_holds_mandate") != 1 || value(t, metrics, "ofitec_failover_arbiter_epoch") != 1 {
		t.Error("the metrics do not tell of the mandate")
	}
	if left := value(t, metrics, "ofitec_failover_arbiter_mandate_remaining_seconds"); left < 3 || left > 5 {
		t.Errorf("%g s of the mandate remain", left)
	}
	if age := float64(time.Now().UnixMilli())/1000 - value(t, metrics, "ofitec_failover_arbiter_mandate_renewed_timestamp_seconds"); age < 0 || age > 2 {
		t.Errorf("renewed %g s ago", age)
	}
	problems, err := promlint.New(strings.NewReader(metrics)).Lint()
	must(t, err)
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "ofitec_") {
			t.Errorf("metric %s: %s", p.Metric, p.Text)
		}
	}
}

func TestRegionCOnlyWatches(t *testing.T) {
	p := chassistest.Start(t, "OFITEC_REGION=c", "NATS_URL="+noNATS, "ETCD_ENDPOINTS="+etcdtest.Start(t), "OFITEC_DATA_DIR="+t.TempDir())
	if body := p.Await(t, "/mandate", 503); !strings.Contains(body, "nobody has ever held the mandate") {
		// the first answer may come before etcd's
		time.Sleep(time.Second)
		if _, body = p.Get("/mandate"); !strings.Contains(body, "nobody has ever held the mandate") {
			t.Errorf("/mandate says %s", body)
		}
	}
	if body := p.Await(t, "/standby", 503); !strings.Contains(body, "no data") {
		t.Errorf("/standby says %s", body)
	}
	if body := p.Await(t, "/readyz", 503); !strings.Contains(body, `"etcd":"ok"`) || !strings.Contains(body, `"mandate":"nobody`) {
		t.Errorf("readyz says %s", body)
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for line := range strings.Lines(p.Output()) {
		var entry struct{ Service, Region, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Service != name || entry.Region != "c" || entry.Msg == "" {
			t.Errorf("log line %q", line)
		}
	}
}

func TestWrongConfigurationIsReportedInOneGo(t *testing.T) {
	status, _, complaints := chassistest.Run(t, nil, "OFITEC_REGION=a", "OFITEC_TIMING=lunar", "OFITEC_FIRST_ACTIVE=c", "OFITEC_POSTGRES_CONF_DIR=conf", "OFITEC_GATES_RED_FOR=5ms")
	if status != 2 {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{
		`OFITEC_TIMING="lunar"`, `OFITEC_FIRST_ACTIVE="c"`, `OFITEC_POSTGRES_CONF_DIR="conf"`, "OFITEC_DATABASE_PROXY_SOCKET", "OFITEC_POSTGRES_SOCKET_DIR", "OFITEC_DATA_DIR", "ETCD_ENDPOINTS", "NATS_URL", `OFITEC_GATES_RED_FOR="5ms"`,
	} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no %s in %q", want, complaints)
		}
	}
	status, _, complaints = chassistest.Run(t, nil, "OFITEC_REGION=c", "OFITEC_TIMING=local", "OFITEC_COOLDOWN=5s")
	if status != 2 || !strings.Contains(complaints, `OFITEC_COOLDOWN="5s"`) || !strings.Contains(complaints, "rule R9") {
		t.Errorf("a cooldown that breaks a rule: status %d, %q", status, complaints)
	}
	for profile, least := range map[string]string{"local": "5.5s", "wan": "10s"} {
		status, _, complaints = chassistest.Run(t, nil, "OFITEC_REGION=c", "OFITEC_TIMING="+profile, "OFITEC_MAX_LOSS=5s")
		if status != 2 || !strings.Contains(complaints, `OFITEC_MAX_LOSS="5s"`) || !strings.Contains(complaints, "at least "+least+", M + delta") {
			t.Errorf("a largest loss that every failover without a receipt is exposed to, %s: status %d, %q", profile, status, complaints)
		}
		if _, _, complaints = chassistest.Run(t, nil, "OFITEC_REGION=c", "OFITEC_TIMING="+profile, "OFITEC_MAX_LOSS="+least); strings.Contains(complaints, "OFITEC_MAX_LOSS") {
			t.Errorf("%s refuses %s: %q", profile, least, complaints)
		}
	}
	status, _, complaints = chassistest.Run(t, nil, "OFITEC_REGION=c", "NATS_URL="+noNATS, "ETCD_ENDPOINTS=127.0.0.1:1", "OFITEC_DATA_DIR=/tmp", "OFITEC_POSTGRES_CONF_DIR=/tmp")
	if status != 2 || !strings.Contains(complaints, "has no data") {
		t.Errorf("hands in region c: status %d, %q", status, complaints)
	}
}

func TestASecondProcessOnTheSameDataFolderIsRefused(t *testing.T) {
	dir, etcd := t.TempDir(), etcdtest.Start(t)
	p := chassistest.Start(t, "OFITEC_REGION=c", "NATS_URL="+noNATS, "ETCD_ENDPOINTS="+etcd, "OFITEC_DATA_DIR="+dir)
	p.Await(t, "/healthz", 200)
	status, _, complaints := chassistest.Run(t, nil, "OFITEC_REGION=c", "NATS_URL="+noNATS, "ETCD_ENDPOINTS="+etcd, "OFITEC_DATA_DIR="+dir, "OFITEC_HTTP_ADDR="+freeAddr(t))
	if status != 1 || !strings.Contains(complaints, "another failover-arbiter runs on this data folder") {
		t.Errorf("status %d, %q", status, complaints)
	}
	if _, err := os.Stat(dir + "/lock"); err != nil {
		t.Error(err)
	}
}
