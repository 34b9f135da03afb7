package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingIsReadFromOdooBeforeVaultHasGivenTheKeyOfRawFiles starts beside a sealed Vault, with the rights that the service has.
func TestNothingIsReadFromOdooBeforeVaultHasGivenTheKeyOfRawFiles(t *testing.T) {
	t.Parallel() // it waits more than it works
	v := startVault(t)
	s := newSite(t)
	fill(s.erp)
	key := newRawKey(t)
	if _, err := v.root.Logical().Write("secret/data/ofitec/etl-ingest/raw-key", map[string]any{"data": map[string]any{"key": key}}); err != nil {
		t.Fatal(err)
	}
	if err := v.root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	p := s.start(t, "OFITEC_INTERVAL=1h", "OFITEC_EXPORT_PAGE_ROWS=1000", "VAULT_ADDR="+v.root.Address(), "OFITEC_VAULT_TOKEN="+v.token, "OFITEC_RAW_KEY_VAULT_PATH=ofitec/etl-ingest/raw-key")
	eventually(t, "it says what it waits for", func() bool {
		status, body := p.Get("/readyz")
		return status == 503 && strings.Contains(body, "sealed")
	})
	p.Await(t, "/healthz", 200)
	if files, _ := filepath.Glob(filepath.Join(s.config.Warehouse, "raw", "*")); len(files) > 0 {
		t.Errorf("it has kept %v", files)
	}
	v.unseal(t)
	p.Await(t, "/readyz", 200)
	eventually(t, "all is read", func() bool { ready, _ := s.announced(t); return len(ready) >= 2 })
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	s.mustMatchSealed(t, key)
	if output := p.Output(); strings.Contains(output, strings.TrimSpace(key)) {
		t.Error("the key stands in the log")
	}
}
