package arbiter

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

func TestARegionIsWhatItsArbiterSaysOfIt(t *testing.T) {
	for yes, want := range map[string]rollout.Role{"/mandate": rollout.Active, "/standby": rollout.Standby, "": rollout.Between} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != yes {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		role, problem := New(server.URL).Role(t.Context())
		if role != want || (problem != "") != (want == rollout.Between) {
			t.Errorf("%q: role %q, %s", yes, role, problem)
		}
		server.Close()
	}
	if role, problem := New("http://127.0.0.1:1").Role(t.Context()); role != rollout.Between || !strings.Contains(problem, "refused") {
		t.Errorf("an arbiter that is away: role %q, %s", role, problem)
	}
	if role, _ := New("").Role(t.Context()); role != rollout.Active {
		t.Errorf("a site of one region: role %q", role)
	}
}
