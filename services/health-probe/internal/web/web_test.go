package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

func TestHealthIsJudgedByStatusAndByWhoAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		region string
		body   string
		want   events.Outcome
		reads  bool
		says   string
	}{
		{"healthy and reading", 200, "a", `{"status":"pass","database":"writable"}`, events.OutcomeOK, true, ""},
		{"a standby's", 200, "a", `{"status":"pass","database":"read-only"}`, events.OutcomeOK, true, ""},
		{"Odoo's own page, which does not look at the database", 200, "", `{"status":"pass"}`, events.OutcomeOK, false, ""},
		{"no colour is up", 503, "", "", events.OutcomeFailed, false, "answers 503"},
		{"Odoo without its database", 503, "a", `{"status":"fail","database":"away"}`, events.OutcomeFailed, false, "answers 503"},
		{"moved", 302, "a", "", events.OutcomeFailed, false, "answers 302"},
		{"another region answered", 200, "b", `{"status":"pass","database":"writable"}`, events.OutcomeUnknown, false, "region b answered in place of a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.region != "" {
					w.Header().Set(regionHeader, c.region)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer server.Close()
			got := New(events.RegionA, server.URL+"/web/health").Look(t.Context())
			if got.Outcome != c.want || got.Reads != c.reads || !strings.Contains(got.Reason, c.says) {
				t.Errorf("got %+v, want %s, reads %v", got, c.want, c.reads)
			}
		})
	}
}

func TestADoorThatIsShutAndOneThatHangsHaveFailed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := New(events.RegionA, server.URL).Look(ctx); got.Outcome != events.OutcomeFailed || got.Reason != "no answer in time" {
		t.Errorf("a hanging door is %+v", got)
	}
	url := server.URL
	server.Close()
	if got := New(events.RegionA, url).Look(t.Context()); got.Outcome != events.OutcomeFailed {
		t.Errorf("a shut door is %+v", got)
	}
}
