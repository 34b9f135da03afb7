package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// recording is a stack that notes what it is asked for.
type recording struct {
	Stack
	asked []string
}

func (r *recording) StopUnit(_ context.Context, id string, _ syscall.Signal) error {
	r.asked = append(r.asked, "stop "+id)
	return nil
}

func (r *recording) StartUnit(id string) error {
	r.asked = append(r.asked, "start "+id)
	return nil
}

func TestADeployerReachesTheColoursOfItsRegionAndNothingElse(t *testing.T) {
	stack := &recording{}
	var fails error
	handler := OdooHandler(stack, "a", func(_ context.Context, colour string, wish io.Reader) error {
		content, _ := io.ReadAll(wish)
		stack.asked = append(stack.asked, "render "+colour+" "+string(content))
		return fails
	})
	post := func(path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		return w
	}
	for _, path := range []string{"/v1/units/postgres/stop", "/v1/units/b/odoo-blue/restart", "/v1/units/odoo-blue/stop", "/v1/units/odoo-red/render", "/v1/down"} {
		if w := post(path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s answers %d", path, w.Code)
		}
	}
	post("/v1/units/odoo-green/render", "login")
	post("/v1/units/odoo-green/restart", "")
	if want := []string{"render green login", "stop a/odoo-green", "start a/odoo-green"}; !slices.Equal(stack.asked, want) {
		t.Errorf("asked %q, want %q", stack.asked, want)
	}
	fails = &Refused{"the file is a link"}
	if w := post("/v1/units/odoo-green/render", "login"); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "is a link") {
		t.Errorf("a refusal answers %d %s", w.Code, w.Body)
	}
	fails = errors.New("disk is full")
	if w := post("/v1/units/odoo-green/render", "login"); w.Code != http.StatusInternalServerError {
		t.Errorf("a failure answers %d", w.Code)
	}
}
