package supervisor

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// serve stands in for deploy/local/control.OdooHandler.
func serve(t *testing.T, status int, body string) (s *Supervisor, asked *[]string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "of") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	asked = &[]string{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+string(content))
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return New(filepath.Join(dir, "s")), asked
}

func TestEachWishIsOnePost(t *testing.T) {
	s, asked := serve(t, 200, "{}")
	err := errors.Join(s.Write(t.Context(), state.Green, dotenv.Edit{Set: map[string]string{"K": "v"}, Keep: []string{"L"}}), s.Restart(t.Context(), state.Green))
	if want := `POST /v1/units/odoo-green/render {"set":{"K":"v"},"take_if_there":["L"]}|POST /v1/units/odoo-green/restart null`; err != nil || strings.Join(*asked, "|") != want {
		t.Errorf("%v, asked %q", err, *asked)
	}
}

func TestARefusalIsToldFromAFailure(t *testing.T) {
	s, _ := serve(t, 422, `{"error":"environment file /x/.env is a link: name the file itself"}`)
	var refused *dotenv.Refused
	if err := s.Write(t.Context(), state.Blue, dotenv.Edit{Take: []string{"K"}}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("%v", err)
	}
	s, _ = serve(t, 500, `{"error":"disk is full"}`)
	if err := s.Write(t.Context(), state.Blue, dotenv.Edit{Take: []string{"K"}}); err == nil || !strings.Contains(err.Error(), "500: disk is full") {
		t.Errorf("%v", err)
	}
	if err := New("/nowhere").Restart(t.Context(), state.Blue); err == nil {
		t.Error("nobody is there")
	}
}
