package vault_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/vault"
)

func TestAServiceWaitsForItsKeyWhileARealVaultIsSealed(t *testing.T) {
	t.Parallel()
	root, _, said := realVault(t)
	for _, key := range []string{"one", "two", "three"} {
		if _, err := root.Logical().Write("secret/data/service/key", map[string]any{"data": map[string]any{"key": key}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := root.Logical().Write("secret/destroy/service/key", map[string]any{"versions": []int{2}}); err != nil {
		t.Fatal(err)
	}
	if err := root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	settings := chassis.NewSettings()
	settings.Vault = chassis.VaultSettings{Addr: root.Address(), Token: "root"}
	settings.HTTPAddr = chassistest.FreeAddr(t)
	var newest, before string
	read := func(ctx context.Context, c *vault.Client) (err error) {
		newest, before, err = c.Keys(ctx, "service/key")
		return err
	}
	if err := vault.Within(t.Context(), settings, time.Second, read); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("a program that does not wait says %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- vault.Before(t.Context(), "service", settings, read) }()
	ask := func(path string) (int, string) {
		answer, err := http.Get("http://" + settings.HTTPAddr + path)
		if err != nil {
			return 0, ""
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text)
	}
	eventually(t, "it is not ready and says why", func() bool {
		status, text := ask("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "sealed")
	})
	if status, _ := ask("/healthz"); status != http.StatusOK {
		t.Errorf("it does not say that it is alive: %d", status)
	}
	said.unseal(t, root)
	select {
	case err := <-done:
		if err != nil || newest != "three" || before != "one" {
			t.Errorf("newest %q, before %q, %v", newest, before, err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits on, though Vault is open")
	}
	read = func(ctx context.Context, c *vault.Client) error { _, _, err := c.Keys(ctx, "no/such"); return err }
	if err := vault.Within(t.Context(), settings, time.Second, read); err == nil || !strings.Contains(err.Error(), "read secret/no/such: it is not there") {
		t.Errorf("a key that is not there: %v", err)
	}
}

// keeper is a Vault that knows one key, and takes its tokens back: one that was given out is refused from then on, as after a restore.
type keeper struct {
	server
	reads, refused int
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/v1/secret/data/") {
		k.server.ServeHTTP(w, r)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	version := r.URL.Query().Get("version")
	switch {
	case k.logins < 2 || r.Header.Get("X-Vault-Token") != k.token:
		k.refused++
		k.token = "of the time before"
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
	case version == "1":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errors":["cannot read what is older"]}`)
	default:
		_, _ = io.WriteString(w, `{"data":{"data":{"key":"two"},"metadata":{"version":2}}}`)
	}
}

func (k *keeper) asked() (reads, refused int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reads, k.refused
}

func TestAKeyThatIsRefusedIsReadWithATokenOfALoginSinceAndNotHammered(t *testing.T) {
	t.Parallel()
	k := &keeper{server: server{life: 26 * 60 * 60}}
	settings, dir := approle(t, k)
	writeRole(t, dir)
	began := time.Now()
	var newest string
	sound := func(text string) error {
		if text != "two" {
			return errors.New("it is another")
		}
		return nil
	}
	read := func(ctx context.Context, c *vault.Client) (err error) {
		newest, err = c.Key(ctx, "service/key", sound) // not Keys: version 1 must not be asked for
		return err
	}
	if err := vault.Within(t.Context(), settings, 20*time.Second, read); err != nil || newest != "two" {
		t.Fatalf("%q after %s: %v", newest, time.Since(began), err)
	}
	if logins, _ := k.counts(); logins != 2 {
		t.Errorf("%d logins", logins)
	}
	before, refused := k.asked()
	if refused != 1 || before != 2 {
		t.Errorf("%d reads, of which %d were refused", before, refused)
	}
	read = func(ctx context.Context, c *vault.Client) error { _, _, err := c.Keys(ctx, "service/key"); return err }
	limit := 4 * time.Second // attempts after 0, 1 and 3 s
	if err := vault.Within(t.Context(), settings, limit, read); err == nil || !strings.Contains(err.Error(), "cannot read what is older") {
		t.Errorf("the version before: %v", err)
	}
	if reads, _ := k.asked(); reads-before > 2*3 {
		t.Errorf("%d reads within %s", reads-before, limit)
	}
}

func TestAPathBelowSecretIsToldFromOneThatCannotBeRead(t *testing.T) {
	for path, want := range map[string]bool{
		"ofitec/etl-ingest/raw-key": true, "key": true, "a/b.c/_d-1": true,
		"": false, "secret/data/x": false, "/a": false, "a/": false, "a//b": false, "../a": false, "a/../b": false, "a b": false, "a?version=1": false, "-a": false,
	} {
		if have := vault.BelowSecret(path); have != want {
			t.Errorf("%q: %t, want %t", path, have, want)
		}
	}
}
