package vault

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/vault"
)

// TestOneVersionIsReadOrItIsSaidWhyNot uses answers as a real Vault 1.21 gives them; a real one is in the service's own tests.
func TestOneVersionIsReadOrItIsSaidWhyNot(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int
		gone         bool
		want         string // of the error
	}{
		{"a login", `{"data":{"data":{"username":"u","password":"p-secret","id":"9"},"metadata":{"version":7}}}`, 200, false, ""},
		{"a number that was used up", `{"data":{"data":{"void":"rejected"},"metadata":{"version":7}}}`, 200, true, "does not hold what is asked for"},
		{"a version of another shape", `{"data":{"data":{"value":"p-secret"},"metadata":{"version":7}}}`, 200, true, `no text in field "username"; it has the fields value`},
		{"a destroyed version", `{"data":{"data":null,"metadata":{"destroyed":true,"version":7}}}`, 404, true, "does not hold what is asked for"},
		{"one that is not there", `{"errors":[]}`, 404, false, "Vault has none"},
		{"another version", `{"data":{"data":{"username":"u","password":"p-secret"},"metadata":{"version":8}}}`, 200, false, "another version"},
		{"sealed", `{"errors":["Vault is sealed"]}`, 503, false, "sealed"},
		{"forbidden", `{"errors":["permission denied"]}`, 403, false, "permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/secret/data/ofitec/credentials/odoo-app" || r.FormValue("version") != "7" {
					t.Errorf("asked %s", r.URL)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.answer))
			}))
			defer server.Close()
			client, err := vault.Connect(chassis.Settings{Vault: chassis.VaultSettings{Addr: server.URL}})
			if err != nil {
				t.Fatal(err)
			}
			login, err := New(client).Read(t.Context(), "ofitec/credentials/odoo-app", 7, "username", "password")
			if (err == nil) != (c.want == "") || errors.Is(err, ErrGone) != c.gone || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if err == nil && (login["username"].Reveal() != "u" || login["password"].Reveal() != "p-secret") {
				t.Errorf("%+v", login)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", login, login, login)+fmt.Sprint(err), "p-secret") {
				t.Error("the password is shown")
			}
		})
	}
}
