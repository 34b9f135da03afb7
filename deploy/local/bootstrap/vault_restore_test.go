package bootstrap_test

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// oneVault is a node that knows one thing: which key opens it. A forced restore changes that, and seals it.
type oneVault struct {
	mu     sync.Mutex
	key    string
	sealed bool
	empty  bool
	next   string // the key of the snapshot that is restored next
	dies   bool   // the restore's answer is lost
}

func (v *oneVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	say := func(status int, answer map[string]any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}
	switch r.URL.Path {
	case "/v1/sys/seal-status", "/v1/sys/health":
		say(http.StatusOK, map[string]any{"initialized": !v.empty, "sealed": v.sealed || v.empty, "standby": false})
	case "/v1/sys/unseal":
		var asked struct{ Key string }
		_ = json.NewDecoder(r.Body).Decode(&asked)
		if asked.Key != v.key {
			say(http.StatusBadRequest, map[string]any{"errors": []string{"failed to decrypt encrypted stored keys"}})
			return
		}
		v.sealed = false
		say(http.StatusOK, map[string]any{"initialized": true, "sealed": false})
	case "/v1/sys/storage/raft/snapshot-force":
		v.key, v.sealed = v.next, true
		if v.dies {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		say(http.StatusNotFound, map[string]any{"errors": []string{r.URL.Path}})
	}
}

// oneNode has such a node, open by the key "one", in region C.
func oneNode(t *testing.T) (*stage, *oneVault) {
	t.Helper()
	s, v := newStage(t), &oneVault{key: "one"}
	s.serve(t, v, layout.C)
	s.put(t, "vault.json", keysOf("one"))
	return s, v
}

// serve lets a node be a region's.
func (s *stage) serve(t *testing.T, v *oneVault, r layout.Region) {
	t.Helper()
	files := s.serverTLS(r, "vault")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", s.layout.Addressing.Addr(r, layout.PortVault))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(v)
	_ = server.Listener.Close()
	server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
}

func keysOf(key string) string { return `{"unseal_key": "` + key + `", "root_token": "root"}` }

func (s *stage) put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.layout.OperatorDir(), name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) change(snapshot, kept, key string) bootstrap.KeyChange {
	return bootstrap.KeyChange{Snapshot: snapshot, Kept: filepath.Join(s.layout.OperatorDir(), kept), Keys: keysOf(key)}
}

func TestEachRestoreOfOtherKeysKeepsThePresentOnesInAFileOfItsOwn(t *testing.T) {
	s, v := oneNode(t)
	for _, step := range []struct{ from, to string }{{"one", "two"}, {"two", "three"}} {
		v.set(step.to, false)
		if err := bootstrap.RestoreVaultOfOtherKeys(t.Context(), s.layout, s.tls, s.change("a.snap", step.from+".keys.json", step.to), strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
		if err := bootstrap.OpenVault(t.Context(), s.layout, layout.C, s.tls); err != nil {
			t.Fatal(err)
		}
	}
	for name, key := range map[string]string{"one.keys.json": "one", "two.keys.json": "two", "vault.json": "three"} {
		if got := string(read(t, filepath.Join(s.layout.OperatorDir(), name))); got != keysOf(key) {
			t.Errorf("%s has %s, want the key %q", name, got, key)
		}
	}
	v.set("four", false)
	err := bootstrap.RestoreVaultOfOtherKeys(t.Context(), s.layout, s.tls, s.change("a.snap", "one.keys.json", "four"), strings.NewReader(""))
	if err == nil || !strings.Contains(err.Error(), "one.keys.json has other ones") {
		t.Errorf("over a file with other keys: %v", err)
	}
	if got := string(read(t, filepath.Join(s.layout.OperatorDir(), "one.keys.json"))); got != keysOf("one") || v.opensBy() != "three" {
		t.Errorf("the file has %s, Vault is opened by %q", got, v.opensBy())
	}
}

// TestARestoreThatDiesInItsMiddleIsFinishedByTheNextRun ends at either side of Vault's own change of keys.
func TestARestoreThatDiesInItsMiddleIsFinishedByTheNextRun(t *testing.T) {
	for name, opens := range map[string]func(s *stage) error{
		"the same command": func(s *stage) error {
			change, done, err := bootstrap.FinishRestore(t.Context(), s.layout, s.tls)
			if err == nil && (!done || change.Snapshot != "a.snap") {
				t.Errorf("done is %v, of %s", done, change.Snapshot)
			}
			return err
		},
		"a start of the stack": func(s *stage) error { return bootstrap.OpenVault(t.Context(), s.layout, layout.C, s.tls) },
	} {
		t.Run(name, func(t *testing.T) {
			s, v := oneNode(t)
			v.set("two", true)
			if err := bootstrap.RestoreVaultOfOtherKeys(t.Context(), s.layout, s.tls, s.change("a.snap", "one.keys.json", "two"), strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "one.keys.json") {
				t.Fatalf("a restore whose answer is lost: %v", err)
			}
			if err := opens(s); err != nil {
				t.Fatal(err)
			}
			if got := string(read(t, filepath.Join(s.layout.OperatorDir(), "vault.json"))); got != keysOf("two") || v.isSealed() {
				t.Errorf("vault.json has %s; sealed: %v", got, v.isSealed())
			}
			if got := string(read(t, filepath.Join(s.layout.OperatorDir(), "one.keys.json"))); got != keysOf("one") {
				t.Errorf("the keys of before are %s", got)
			}
			if _, done, err := bootstrap.FinishRestore(t.Context(), s.layout, s.tls); done || err != nil {
				t.Errorf("a second time: %v, %v", done, err)
			}
		})
	}
	t.Run("before Vault has changed", func(t *testing.T) {
		s, v := oneNode(t)
		intent, err := json.Marshal(s.change("a.snap", "one.keys.json", "two"))
		if err != nil {
			t.Fatal(err)
		}
		s.put(t, "vault-restore.json", string(intent))
		if _, done, err := bootstrap.FinishRestore(t.Context(), s.layout, s.tls); done || err != nil {
			t.Errorf("there is nothing to finish: %v, %v", done, err)
		}
		v.set("two", false)
		if err := bootstrap.RestoreVaultOfOtherKeys(t.Context(), s.layout, s.tls, s.change("a.snap", "again.keys.json", "two"), strings.NewReader("")); err != nil {
			t.Error(err)
		}
	})
}

func (v *oneVault) set(next string, dies bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next, v.dies = next, dies
}

func (v *oneVault) opensBy() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

func (v *oneVault) isSealed() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sealed
}
