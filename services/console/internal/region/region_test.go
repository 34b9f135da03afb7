package region_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/region"
)

// serve answers paths with a status and a body, and gives its host:port.
func serve(t *testing.T, answers map[string]func() (int, string)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		if !known {
			http.NotFound(w, r)
			return
		}
		status, body := answer()
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func says(status int, body string) func() (int, string) {
	return func() (int, string) { return status, body }
}

func TestAnArbiterIsAskedForItsMandateAndThenWhetherItIsAStandby(t *testing.T) {
	no := says(503, `{"yes":false,"reason":"the mandate is region a's"}`)
	yes := says(200, `{"yes":true}`)
	for name, c := range map[string]struct {
		region           events.Region
		mandate, standby func() (int, string)
		want             board.Answer
	}{
		"it takes writes":       {"a", yes, no, board.Answer{Region: "a", Reached: true, Mandate: true}},
		"it is a standby":       {"b", no, yes, board.Answer{Region: "b", Reached: true, Standby: true, Reason: "the mandate is region a's"}},
		"it is fenced":          {"b", no, says(503, `{"reason":"the database restarts"}`), board.Answer{Region: "b", Reached: true, Reason: "the database restarts"}},
		"it votes only":         {"c", no, yes, board.Answer{Region: "c", Reached: true, Reason: "the mandate is region a's"}},
		"it answers in no JSON": {"b", says(503, "busy"), says(503, "busy"), board.Answer{Region: "b", Reached: true}},
	} {
		addr := serve(t, map[string]func() (int, string){"/mandate": c.mandate, "/standby": c.standby})
		if got := region.NewAsker().Arbiter(t.Context(), c.region, addr); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAnArbiterThatIsAwayIsAnAnswerThatSaysWhy(t *testing.T) {
	got := region.NewAsker().Arbiter(t.Context(), "a", chassistest.FreeAddr(t))
	if got.Reached || got.Mandate || !strings.Contains(got.Reason, "refused") || strings.Contains(got.Reason, "http") {
		t.Errorf("%+v", got)
	}
}

func TestDatasetsAreReadAndWhatIsUnknownIsLeftAlone(t *testing.T) {
	addr := serve(t, map[string]func() (int, string){"/v1/status": says(200, `{"region":"a","active":true,"failure":"disk full","load":4,
		"datasets":[{"dataset":"invoice","rows":812,"files":9,"asof":"2026-11-24T12:00:00Z","quarantined":3},{"dataset":"project","rows":4,"asof":null,"quarantined":0},{"novel":1}]}`)})
	got, err := region.NewAsker().Transform(t.Context(), "a", addr)
	if err != nil || len(got.Datasets) != 2 || got.Failure != "disk full" {
		t.Fatalf("%+v, %v", got, err)
	}
	if d := got.Datasets[0]; d.Name != "invoice" || *d.Rows != 812 || *d.Quarantined != 3 || d.AsOf.Hour() != 12 {
		t.Errorf("%+v", d)
	}
	if d := got.Datasets[1]; d.AsOf != nil {
		t.Errorf("%+v", d)
	}
}

func TestATransformThatIsAwayOrBrokenIsAnError(t *testing.T) {
	broken := serve(t, map[string]func() (int, string){"/v1/status": says(200, `{"datasets":`)})
	busy := serve(t, map[string]func() (int, string){"/v1/status": says(503, "locked")})
	for addr, want := range map[string]string{broken: "unexpected end", busy: "status 503", chassistest.FreeAddr(t): "refused"} {
		_, err := region.NewAsker().Transform(t.Context(), "a", addr)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "region a") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
