package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/vault"
)

// server answers the three requests that the package makes as Vault does; its tokens live a second unless told.
type server struct {
	life     int // of its tokens, in seconds
	mu       sync.Mutex
	sealed   bool
	logins   int
	renewals int
	token    string // the one that is alive
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(status int, reason string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{reason}})
	}
	if s.sealed {
		refuse(http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	switch r.URL.Path {
	case "/v1/auth/approle/login":
		var body struct {
			Role   string `json:"role_id"`
			Secret string `json:"secret_id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Role != "role" || body.Secret != "secret" {
			refuse(http.StatusBadRequest, "invalid role or secret ID")
			return
		}
		s.logins++
		s.token = fmt.Sprintf("token-%d", s.logins)
	case "/v1/auth/token/renew-self":
		if r.Header.Get("X-Vault-Token") != s.token {
			refuse(http.StatusForbidden, "permission denied")
			return
		}
		s.renewals++
	default:
		refuse(http.StatusNotFound, r.URL.Path)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{"client_token": s.token, "lease_duration": max(s.life, 1), "renewable": true}})
}

func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *server) counts() (logins, renewals int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins, s.renewals
}

// approle are the settings for a server, and the folder of its AppRole's files.
func approle(t *testing.T, s http.Handler) (settings chassis.Settings, dir string) {
	t.Helper()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	dir, settings = t.TempDir(), chassis.NewSettings()
	settings.Vault = chassis.VaultSettings{Addr: web.URL, RoleIDFile: filepath.Join(dir, "role"), SecretIDFile: filepath.Join(dir, "secret")}
	return settings, dir
}

// hold runs a client against the server; the folder is where its AppRole files are looked for.
func hold(t *testing.T, s *server) (client *vault.Client, dir string) {
	t.Helper()
	settings, dir := approle(t, s)
	client, err := vault.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.Hold(ctx) // only ever the end of ctx
	}()
	t.Cleanup(func() { cancel(); <-done })
	return client, dir
}

func writeRole(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"role", "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestARoleThatComesLaterIsUsedAndItsTokenRenewed(t *testing.T) {
	s := &server{}
	client, dir := hold(t, s)
	eventually(t, "readiness names the missing file", func() bool {
		err := client.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), filepath.Join(dir, "role"))
	})
	writeRole(t, dir)
	eventually(t, "ready", func() bool { return client.Check(t.Context()) == nil })
	eventually(t, "two renewals", func() bool { _, renewals := s.counts(); return renewals >= 2 })
	if logins, _ := s.counts(); logins != 1 {
		t.Errorf("%d logins", logins)
	}
}

func TestADeadTokenIsReplaced(t *testing.T) {
	s := &server{}
	client, dir := hold(t, s)
	writeRole(t, dir)
	eventually(t, "ready", func() bool { return client.Check(t.Context()) == nil })
	s.set(func(s *server) { s.token = "another" })
	eventually(t, "a second login", func() bool { logins, _ := s.counts(); return logins == 2 })
}

func TestASealedVaultMakesNotReadyUntilItIsUnsealed(t *testing.T) {
	s := &server{}
	client, dir := hold(t, s)
	writeRole(t, dir)
	eventually(t, "ready", func() bool { return client.Check(t.Context()) == nil })
	s.set(func(s *server) { s.sealed = true })
	eventually(t, "readiness says sealed", func() bool {
		err := client.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "sealed")
	})
	s.set(func(s *server) { s.sealed = false })
	eventually(t, "ready again", func() bool { return client.Check(t.Context()) == nil })
}
