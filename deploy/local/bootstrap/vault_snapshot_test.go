package bootstrap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// TestVaultIsTakenBackToASnapshotOnTheSameNodesAndAfterTheLossOfAll restores three real nodes twice: while they are there, and when all their data and keys were made anew.
func TestVaultIsTakenBackToASnapshotOnTheSameNodesAndAfterTheLossOfAll(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("begins Vault twice on three nodes, a minute and a half; make drills does it")
	}
	s := newStage(t)
	v := s.vaults(t, layout.Regions...)
	v.boot(t)
	const kept, later = "secret/data/ofitec/credentials/odoo-master", "secret/data/ofitec/credentials/export-webhook"
	rotator, err := s.login(t, bootstrap.VaultAddress(s.layout, v.active(t)), "rotator", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string) {
		if _, err := rotator.Logical().Write(path, map[string]any{"data": map[string]any{"value": "of that time"}}); err != nil {
			t.Fatal(err)
		}
	}
	put(kept)
	var snapshot bytes.Buffer
	eventually(t, "a snapshot", func(ctx context.Context) error {
		snapshot.Reset()
		return bootstrap.SnapshotVault(ctx, s.layout, s.tls, &snapshot)
	})
	if bytes.Contains(snapshot.Bytes(), []byte("of that time")) {
		t.Error("the snapshot shows a secret")
	}
	put(later)
	if err := bootstrap.RestoreVault(t.Context(), s.layout, s.tls, bytes.NewReader(snapshot.Bytes()[:snapshot.Len()/2])); err == nil {
		t.Error("half a snapshot was taken")
	}
	if err := bootstrap.RestoreVault(t.Context(), s.layout, s.tls, bytes.NewReader(snapshot.Bytes())); err != nil {
		t.Fatal(err)
	}
	s.isOfTheSnapshot(t, v, kept, later)

	// All data and, with them, the keys are gone: what is begun anew has others.
	file := filepath.Join(s.layout.OperatorDir(), "vault.json")
	keys := read(t, file)
	for _, r := range layout.Regions {
		v.stops[r]()
	}
	for _, r := range layout.Regions {
		if err := os.RemoveAll(s.layout.ComponentDir(r, "vault")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for _, r := range layout.Regions {
		v.start(t, r)
	}
	v.boot(t)
	if err := bootstrap.RestoreVault(t.Context(), s.layout, s.tls, bytes.NewReader(snapshot.Bytes())); !errors.Is(err, bootstrap.ErrOtherKeys) {
		t.Errorf("a snapshot of other keys: %v", err)
	}
	change := bootstrap.KeyChange{Snapshot: "old.snap", Kept: filepath.Join(s.layout.OperatorDir(), "kept.json"), Keys: "{}"}
	if err := bootstrap.RestoreVaultOfOtherKeys(t.Context(), s.layout, s.tls, change, bytes.NewReader(snapshot.Bytes())); err == nil {
		t.Error("keys that are none were taken")
	}
	second := read(t, file)
	change.Keys = string(keys)
	if err := bootstrap.RestoreVaultOfOtherKeys(t.Context(), s.layout, s.tls, change, bytes.NewReader(snapshot.Bytes())); err != nil {
		t.Fatal(err)
	}
	// As if it had died between Vault's taking of the snapshot and the writing of its keys.
	intent, err := json.Marshal(change)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{filepath.Join(s.layout.OperatorDir(), "vault-restore.json"): intent, file: second} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the restore is finished", func(ctx context.Context) error {
		if !bytes.Equal(read(t, file), keys) {
			_, _, err := bootstrap.FinishRestore(ctx, s.layout, s.tls)
			return fmt.Errorf("the keys are not in their place: %w", err)
		}
		return nil
	})
	v.boot(t) // the logins in the folders are of the Vault that was begun anew: the next start brings them in order
	s.isOfTheSnapshot(t, v, kept, later)
	if !bytes.Equal(read(t, change.Kept), second) {
		t.Error("the keys of what was there are lost")
	}
}

// isOfTheSnapshot waits until all three nodes serve what the snapshot has, and not what came after it.
func (s *stage) isOfTheSnapshot(t *testing.T, v *vaults, kept, later string) {
	t.Helper()
	v.whole(t)
	eventually(t, "Vault is that of the snapshot", func(ctx context.Context) error {
		for _, r := range layout.Regions {
			health, err := s.vaultClient(t, bootstrap.VaultAddress(s.layout, r)).Sys().HealthWithContext(ctx)
			if err != nil || health.Sealed {
				return fmt.Errorf("the node of region %s is not open: %w", r, err)
			}
		}
		client, err := s.login(t, bootstrap.VaultAddress(s.layout, v.active(t)), "rotator", layout.A)
		if err != nil {
			return err
		}
		have, err := client.Logical().ReadWithContext(ctx, kept)
		if err != nil || have == nil || have.Data["data"].(map[string]any)["value"] != "of that time" {
			return fmt.Errorf("%s is %v: %w", kept, have, err)
		}
		if have, err := client.Logical().ReadWithContext(ctx, later); err != nil || have != nil {
			return fmt.Errorf("what came later is still there: %w", err)
		}
		return nil
	})
}
