package vault_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/vault"
)

// node is one of several servers; its answer can be changed while it runs.
type node struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int32
	bodies atomic.Pointer[string]
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{}
	n.does(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, `{"data":{"node":%q}}`, n.URL) })
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.asked.Add(1)
		var body struct{ Value string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		n.bodies.Store(&body.Value)
		(*n.answer.Load())(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *node) does(answer http.HandlerFunc) { n.answer.Store(&answer) }

// refuses makes a node answer with a status and a reason.
func (n *node) refuses(status int, reason string) {
	n.does(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"errors":[%q]}`, reason)
	})
}

func over(t *testing.T, addrs ...string) *vault.Client {
	t.Helper()
	settings := chassis.NewSettings()
	settings.Vault = chassis.VaultSettings{Addr: strings.Join(addrs, ", "), Token: "t"}
	client, err := vault.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// servedBy sends a write and gives the node that answered.
func servedBy(t *testing.T, client *vault.Client) string {
	t.Helper()
	answer, err := client.Logical().WriteWithContext(t.Context(), "secret/data/x", map[string]any{"value": "v"})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Data["node"].(string)
}

func TestTheNearestNodeIsAskedAndTheNextWhenItCannotServe(t *testing.T) {
	for what, fail := range map[string]func(*node){
		"is away":            func(n *node) { n.Close() },
		"is sealed":          func(n *node) { n.refuses(503, "Vault is sealed") },
		"has no active node": func(n *node) { n.refuses(500, "local node not active but active cluster node not found") },
	} {
		first, second := newNode(t), newNode(t)
		client := over(t, first.URL, second.URL)
		if by := servedBy(t, client); by != first.URL {
			t.Errorf("%s: the first request went to %s, want the first node", what, by)
		}
		fail(first)
		eventually(t, "the second node serves when the first "+what, func() bool { // the end of an idle connection may be noticed by a request only
			answer, err := client.Logical().WriteWithContext(t.Context(), "secret/data/x", map[string]any{"value": "v"})
			return err == nil && answer.Data["node"] == second.URL
		})
		if body := second.bodies.Load(); body == nil || *body != "v" {
			t.Errorf("a node that %s: the second node got the body %v", what, body)
		}
		asked := first.asked.Load()
		servedBy(t, client)
		if first.asked.Load() != asked {
			t.Errorf("a node that %s is asked again at once", what)
		}
	}
}

func TestWhatANodeMayHaveDoneIsNotDoneByAnother(t *testing.T) {
	for what, fail := range map[string]http.HandlerFunc{
		"breaks the connection after it has the request": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
		"fails inside": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = w.Write([]byte(`{"errors":["1 error occurred: the database went away"]}`))
		},
		"denies": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = w.Write([]byte(`{"errors":["permission denied"]}`))
		},
	} {
		first, second := newNode(t), newNode(t)
		first.does(fail)
		if _, err := over(t, first.URL, second.URL).Logical().WriteWithContext(t.Context(), "database/creds/x", map[string]any{"value": "v"}); err == nil {
			t.Errorf("a node that %s: no error", what)
		}
		if second.asked.Load() > 0 {
			t.Errorf("a node that %s: the second was asked too", what)
		}
	}
}

func TestWhenNoNodeServesTheLastOnesAnswerIsTheError(t *testing.T) {
	first, second := newNode(t), newNode(t)
	client := over(t, first.URL, second.URL)
	first.Close()
	second.refuses(503, "Vault is sealed")
	if _, err := client.Logical().ReadWithContext(t.Context(), "secret/data/x"); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("got %v, want sealed", err)
	}
	second.Close()
	if _, err := client.Logical().ReadWithContext(t.Context(), "secret/data/x"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want connection refused", err)
	}
	second = newNode(t)
	if by := servedBy(t, over(t, first.URL, second.URL)); by != second.URL {
		t.Errorf("served by %s", by)
	}
}

func TestAStandbyThatSendsToTheActiveNodeIsFollowed(t *testing.T) {
	standby, active := newNode(t), newNode(t)
	standby.does(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, active.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if by := servedBy(t, over(t, standby.URL, active.URL)); by != active.URL {
		t.Errorf("served by %s", by)
	}
}

// While Vault elects, each standby may take another one for active. That is no answer, and above all not the answer that there is no such secret.
func TestStandbysThatSendToEachOtherAreNoAnswer(t *testing.T) {
	first, second := newNode(t), newNode(t)
	for from, to := range map[*node]*node{first: second, second: first} {
		from.does(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to.URL+r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect) // and nothing else, as Vault does
		})
	}
	for _, addrs := range [][]string{{first.URL, second.URL}, {first.URL}} {
		if answer, err := over(t, addrs...).Logical().ReadWithContext(t.Context(), "secret/data/x"); err == nil || !strings.Contains(err.Error(), "no node of Vault serves") {
			t.Errorf("%v: got %v, %v; want an error", addrs, answer, err)
		}
	}
}

// TestANodeThatHangsBeforeItTakesTheRequestIsPassedOver freezes a server: its kernel accepts, and no handshake follows.
func TestANodeThatHangsBeforeItTakesTheRequestIsPassedOver(t *testing.T) {
	frozen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = frozen.Close() }()
	served := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"data":{"node":"second"}}`)) }))
	defer served.Close()
	settings := chassis.NewSettings()
	settings.TLS.CA = writeCA(t, served.Certificate().Raw)
	settings.Vault = chassis.VaultSettings{Addr: "https://" + frozen.Addr().String() + "," + served.URL, Token: "t"}
	client, err := vault.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	if by := servedBy(t, client); by != "second" {
		t.Errorf("served by %s", by)
	}
}

func writeCA(t *testing.T, certificate []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
