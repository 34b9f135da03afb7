package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

func vector(values ...string) string {
	var series []string
	for _, value := range values {
		series = append(series, fmt.Sprintf(`{"metric":{},"value":[1767268800,%q]}`, value))
	}
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func TestOnlyANumberIsAFigureAndTheRestIsSaid(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int
		problem      string // empty: the figure is there
	}{
		{"a number", vector("0.25"), 200, ""},
		{"nothing", vector(), 200, "no data"},
		{"NaN", vector("NaN"), 200, `"NaN"`},
		{"infinity", vector("+Inf"), 200, `"+Inf"`},
		{"two series", vector("1", "2"), 200, "2 series"},
		{"an error", `{"status":"error","errorType":"execution","error":"out of memory"}`, 500, "500 out of memory"},
		{"no JSON", "<html>", 502, "502"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				query := r.FormValue("query")
				if !strings.Contains(query, `region="a"`) || !strings.Contains(query, `colour="green"`) && !strings.Contains(query, `colour="blue"`) || strings.Contains(query, "$") {
					t.Errorf("asked %s", query)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.answer))
			}))
			defer server.Close()
			s := New(server.URL, "a", Standard())
			f := s.Figures(t.Context(), state.Green, 7*time.Second)
			if there := f.P95 != nil && f.ErrorRate != nil && f.Up != nil; there != (c.problem == "") || !strings.Contains(f.Problem, c.problem) {
				t.Errorf("%+v", f)
			}
			if c.problem == "" && (*f.P95 != 0.25 || *f.ErrorRate != 0.25 || *f.Up) {
				t.Errorf("figures %v %v %v", *f.P95, *f.ErrorRate, *f.Up)
			}
			if err := s.Check(t.Context()); (err == nil) != (c.problem == "" || c.problem == "no data") {
				t.Errorf("check: %v", err)
			}
		})
	}
	if f := New("http://127.0.0.1:1", "a", Standard()).Figures(t.Context(), state.Green, time.Second); f.Up != nil || f.Problem == "" {
		t.Errorf("nobody is there: %+v", f)
	}
}
