package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/webhook"
)

// realVault is a development server that knows this service's own policy, and what it has said.
type realVault struct {
	root  *api.Client
	token string // of the policy
	mu    sync.Mutex
	said  bytes.Buffer
}

func (v *realVault) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.said.Write(p)
}

func startVault(t *testing.T) *realVault {
	t.Helper()
	if testing.Short() {
		t.Skip("a real server is started")
	}
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "vault-*", "vault")) // the pattern is well formed
	if len(built) == 0 {
		t.Skip("vault is not there (ofitec setup brings it)")
	}
	v := &realVault{}
	address := chassistest.FreeAddr(t)
	cmd := exec.Command(built[0], "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token", "-dev-listen-address="+address)
	cmd.Stdout, cmd.Stderr = v, v
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	settings := api.DefaultConfig()
	settings.Address = "http://" + address
	var err error
	if v.root, err = api.NewClient(settings); err != nil {
		t.Fatal(err)
	}
	v.root.SetToken("root")
	eventually(t, "Vault is open", func() bool {
		mounts, err := v.root.Sys().ListMounts()
		return err == nil && mounts["secret/"] != nil
	})
	policy, err := os.ReadFile("../../deploy/vault/policies/etl-ingest.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.root.Sys().PutPolicy("etl-ingest", string(policy)); err != nil {
		t.Fatal(err)
	}
	token, err := v.root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"etl-ingest"}, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	v.token = token.Auth.ClientToken
	return v
}

func (v *realVault) put(t *testing.T, fields map[string]any) json.Number {
	t.Helper()
	answer, err := v.root.Logical().Write("secret/data/ofitec/credentials/export-webhook", map[string]any{"data": fields})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Data["version"].(json.Number)
}

func (v *realVault) unseal(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	key := regexp.MustCompile(`Unseal Key: (\S+)`).FindStringSubmatch(v.said.String())
	v.mu.Unlock()
	if key == nil {
		t.Fatal("Vault has not said its key")
	}
	if _, err := v.root.Sys().Unseal(key[1]); err != nil {
		t.Fatal(err)
	}
}

// TestTheWebhooksSecretIsRotatedInVaultAndTheOneBeforeIsGoodForAWhile goes through the life of a secret on a real Vault, with the rights that the service has.
func TestTheWebhooksSecretIsRotatedInVaultAndTheOneBeforeIsGoodForAWhile(t *testing.T) {
	t.Parallel() // it waits more than it works
	v := startVault(t)
	s := newSite(t)
	fill(s.erp)
	const first, second, third, overlap = "the first secret of all", "the second secret", "the third secret", 5 * time.Second
	p := s.start(t, "OFITEC_INTERVAL=1h", "VAULT_ADDR="+v.root.Address(), "OFITEC_VAULT_TOKEN="+v.token, "OFITEC_WEBHOOK_VAULT_PATH=ofitec/credentials/export-webhook",
		"OFITEC_WEBHOOK_VAULT_REFRESH=1h", "OFITEC_WEBHOOK_VAULT_OVERLAP="+overlap.String())
	p.Await(t, "/readyz", 200)
	announce := func(secret string) int {
		t.Helper()
		body := []byte(`{"dataset":"invoice"}`)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/v1/announce", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(webhook.Header, webhook.Sign(body, secret, time.Now()))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // only its status counts
		return response.StatusCode
	}
	taken := func(secret string) func() bool {
		return func() bool { return announce(secret) == http.StatusAccepted }
	}
	// Vault has none yet: nobody can be told from anybody, and the service is ready for its other work.
	if status := announce(first); status != http.StatusServiceUnavailable {
		t.Errorf("without a secret: status %d", status)
	}
	if _, body := p.Get("/readyz"); !strings.Contains(body, "has the rotator made it?") {
		t.Errorf("readyz says %s", body)
	}
	v.put(t, map[string]any{"value": first})
	eventually(t, "the first secret is good", taken(first))
	// A number that was used up is no secret. A new secret is found out by whoever signs with it, long before the next refresh.
	v.put(t, map[string]any{"void": "rejected"})
	v.put(t, map[string]any{"value": second})
	made := time.Now()
	eventually(t, "the second secret is good", taken(second))
	if status := announce(first); status != http.StatusAccepted && time.Since(made) < overlap-time.Second {
		t.Errorf("the one before, within the overlap: status %d", status)
	}
	if status := announce("a secret of nobody at all"); status != http.StatusUnauthorized {
		t.Errorf("forged: status %d", status)
	}
	// While Vault is sealed it goes on with what it knows, and the overlap ends even so.
	if err := v.root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first secret has ended", func() bool { return announce(first) == http.StatusUnauthorized })
	if since := time.Since(made); since < overlap-time.Second {
		t.Errorf("it has ended after %s, want %s", since, overlap)
	}
	if status := announce(second); status != http.StatusAccepted {
		t.Errorf("while Vault is sealed: status %d", status)
	}
	v.unseal(t)
	// One that was destroyed because it has leaked ends within the overlap too, as soon as that is known.
	v.put(t, map[string]any{"value": third})
	if _, err := v.root.Logical().Write("secret/destroy/ofitec/credentials/export-webhook", map[string]any{"versions": []int{3}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third secret is good", taken(third))
	if status := announce(second); status != http.StatusUnauthorized {
		t.Errorf("a destroyed one: status %d", status)
	}
	for _, secret := range []string{first, second, third, v.token} {
		if strings.Contains(p.Output(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

func TestWhereTheWebhooksSecretComesFromIsSaidOnce(t *testing.T) {
	base := []string{"NATS_URL=nats://127.0.0.1:4222", "OFITEC_ODOO_URL=http://127.0.0.1:8069", "OFITEC_WAREHOUSE=/tmp"}
	for _, c := range []struct {
		env  []string
		want string
	}{
		{[]string{"OFITEC_WEBHOOK_VAULT_PATH=ofitec/x"}, "VAULT_ADDR is not set"},
		{[]string{"OFITEC_WEBHOOK_VAULT_PATH=ofitec/x", "OFITEC_WEBHOOK_SECRET=0123456789abcdef"}, `OFITEC_WEBHOOK_VAULT_PATH="ofitec/x": want nothing, since OFITEC_WEBHOOK_SECRET is set`},
		{[]string{"OFITEC_WEBHOOK_VAULT_PATH=secret/data/x"}, `OFITEC_WEBHOOK_VAULT_PATH="secret/data/x": want a path below secret/`},
		{[]string{"OFITEC_WEBHOOK_VAULT_PATH=/x y"}, `OFITEC_WEBHOOK_VAULT_PATH="/x y"`},
		{[]string{"OFITEC_WEBHOOK_VAULT_PATH=x", "OFITEC_WEBHOOK_VAULT_REFRESH=1ms"}, `OFITEC_WEBHOOK_VAULT_REFRESH="1ms": want 1s or more`},
		{[]string{"OFITEC_WEBHOOK_VAULT_PATH=x", "OFITEC_WEBHOOK_VAULT_OVERLAP=-1s"}, `OFITEC_WEBHOOK_VAULT_OVERLAP="-1s": want 0 or more`},
	} {
		if status, _, complaints := chassistest.Run(t, nil, append(base, c.env...)...); status != 2 || !strings.Contains(complaints, c.want) {
			t.Errorf("%v: status %d, no %s in %q", c.env, status, c.want, complaints)
		}
	}
}
