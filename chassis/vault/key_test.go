package vault_test

import (
	"context"
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
