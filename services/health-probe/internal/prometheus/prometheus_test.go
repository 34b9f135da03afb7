package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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
	label := ""
	if name != "" {
		label = fmt.Sprintf(`"__name__":%q,`, name)
	}
	return fmt.Sprintf(`{"metric":{%s"region":"b"},"value":[1764000000.1,%q]}`, label, value)
}

func answered(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func TestAllPartsAreReadAtOneMoment(t *testing.T) {
	got, query := ask(t, 200, answered(series("gate:healthy", "1"), series("odoo:p95_5m", "0.25"), series("odoo:error_rate_5m", "0"), series("db:replication_lag_seconds", "0.5"), series("", "1")))
	r := got.Readings
	if got.Outcome != events.OutcomeOK || r == nil || *r.Healthy != 1 || *r.P95 != 0.25 || *r.ErrorRate != 0 || *r.ReplicationLag != 0.5 || *r.OdooUp != 1 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(query, `region="b"`) || !strings.Contains(query, "gate:healthy") {
		t.Errorf("asked %s", query)
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
