package bootstrap_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// TestAVaultWhoseKeysWereLostOnTheirWayIsBegunAnewAndNoOther has a real node; those of the other regions are empty. Without the file of the intent its data stay.
func TestAVaultWhoseKeysWereLostOnTheirWayIsBegunAnewAndNoOther(t *testing.T) {
	s := newStage(t)
	s.serve(t, &oneVault{empty: true}, layout.A)
	s.serve(t, &oneVault{empty: true}, layout.B)
	keys, intent := filepath.Join(s.layout.OperatorDir(), "vault.json"), filepath.Join(s.layout.OperatorDir(), "vault.init")
	data := filepath.Join(s.layout.ComponentDir(layout.C, "vault"), "data")
	v := s.vaults(t, layout.C)
	open := func() {
		t.Helper()
		eventually(t, "the node is open", func(ctx context.Context) error {
			status, err := s.vaultClient(t, bootstrap.VaultAddress(s.layout, layout.C)).Sys().SealStatusWithContext(ctx)
			if err == nil && status.Sealed {
				err = errors.New("it is sealed")
			}
			return err
		})
		if _, err := os.Stat(intent); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the intent stays: %v", err)
		}
	}
	open()
	first := read(t, keys)

	// As if the answer had been lost: the node has data, and nobody has its keys.
	v.stops[layout.C]()
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	discard := func() {
		t.Helper()
		if err := bootstrap.DiscardUnkept(s.layout, layout.C, data); err != nil {
			t.Fatal(err)
		}
	}
	discard()
	if _, err := os.Stat(data); err != nil {
		t.Fatalf("data were thrown away without an intent: %v", err)
	}
	s.put(t, "vault.init", "")
	s.put(t, "vault.json", string(first))
	discard()
	if _, err := os.Stat(data); err != nil {
		t.Fatalf("data were thrown away whose keys are there: %v", err)
	}
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	v.start(t, layout.C)
	eventually(t, "it is said that its keys are lost", func(ctx context.Context) error {
		err := bootstrap.OpenVault(ctx, s.layout, layout.C, s.tls)
		if errors.Is(err, bootstrap.ErrKeysLost) {
			return nil
		}
		return errors.Join(errors.New("it is not said"), err)
	})
	v.stops[layout.C]()
	discard()
	v.start(t, layout.C)
	open()
	if second := read(t, keys); string(second) == string(first) {
		t.Error("the keys are those that were lost")
	}
}
