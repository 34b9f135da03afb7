package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

func ask(t *testing.T, status int, body string) (observation.Result, string) {
	t.Helper()
	query := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query().Get("query")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	return New(events.RegionB, server.URL).Look(t.Context()), query
}

func series(name, value string) string {
	label := "__name__"
	if name == "odoo_up" {
		label = "part"
	}
	return fmt.Sprintf(`{"metric":{%q:%q,"region":"b"},"value":[1764000000.1,%q]}`, label, name, value)
}

func answered(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func TestAllPartsAreReadAtOneMoment(t *testing.T) {
	got, query := ask(t, 200, answered(series("gate:healthy", "1"), series("odoo:p95_5m", "0.25"), series("odoo:error_rate_5m", "0"), series("db:replication_lag_seconds", "0.5"), series("odoo_up", "1")))
	r := got.Readings
	if got.Outcome != events.OutcomeOK || r == nil || *r.Healthy != 1 || *r.P95 != 0.25 || *r.ErrorRate != 0 || *r.ReplicationLag != 0.5 || *r.OdooUp != 1 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(query, `region="b"`) || !strings.Contains(query, "gate:healthy") {
		t.Errorf("asked %s", query)
	}
}

// TestPrometheusItselfUnderstandsTheQuery lets promtool evaluate it over series as they are recorded.
func TestPrometheusItselfUnderstandsTheQuery(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	var series, samples strings.Builder
	for _, s := range []struct{ recorded, found, value string }{
		{`gate:healthy{region="b"}`, `gate:healthy{region="b"}`, "1"}, {`odoo:p95_5m{region="b"}`, `odoo:p95_5m{region="b"}`, "0.25"},
		{`odoo:error_rate_5m{region="b"}`, `odoo:error_rate_5m{region="b"}`, "0"}, {`db:replication_lag_seconds{region="b"}`, `db:replication_lag_seconds{region="b"}`, "0.5"},
		{`up{job="odoo",colour="blue",region="b"}`, `{part="odoo_up",region="b"}`, "1"}, {`up{job="odoo",colour="green",region="b"}`, "", "0"},
		{`up{job="node",region="b"}`, "", "0"}, {`gate:healthy{region="a"}`, "", "0"},
	} {
		fmt.Fprintf(&series, "      - series: '%s'\n        values: '%s'\n", s.recorded, s.value)
		if s.found != "" {
			fmt.Fprintf(&samples, "          - labels: '%s'\n            value: %s\n", s.found, s.value)
		}
	}
	file := filepath.Join(t.TempDir(), "query.yml")
	content := "tests:\n  - input_series:\n" + series.String() + "    promql_expr_test:\n      - expr: '" + query(events.RegionB) + "'\n        eval_time: 0s\n        exp_samples:\n" + samples.String()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNoDataIsNoReading(t *testing.T) {
	got, _ := ask(t, 200, answered())
	if r := got.Readings; got.Outcome != events.OutcomeOK || r == nil || r.Healthy != nil || r.OdooUp != nil {
		t.Errorf("got %+v", got)
	}
	got, _ = ask(t, 200, answered(series("gate:healthy", "1"), series("gate:healthy", "0")))
	if got.Readings == nil || got.Readings.Healthy != nil {
		t.Errorf("two values of one gate are %+v", got.Readings)
	}
}

func TestAnAnswerThatIsNoneIsNoReading(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   events.Outcome
	}{
		{503, "starting", events.OutcomeFailed},
		{200, `{"status":"error"}`, events.OutcomeUnknown},
		{200, `{"status":"succ`, events.OutcomeUnknown},
		{200, answered(`{"metric":{"__name__":"gate:healthy"},"value":[1,"much"]}`), events.OutcomeUnknown},
	} {
		if got, _ := ask(t, c.status, c.body); got.Outcome != c.want || got.Readings != nil || got.Reason == "" {
			t.Errorf("%d %s is %+v, want %s", c.status, c.body, got, c.want)
		}
	}
}
