package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// initTime is how long the making of the seal may take: it is done once, and a starved machine takes its time.
const initTime = 3 * time.Minute

// ErrKeysLost says that Vault was initialised, and that the answer with its keys never reached the disk. It was never opened, so that nothing is in it.
var ErrKeysLost = errors.New("initialise Vault: the answer with its keys was lost; its node begins anew")

// initFile is there from before Vault is asked for its keys until these are on the disk. No node is opened while it is there.
func initFile(l layout.Layout) string { return filepath.Join(l.OperatorDir(), "vault.init") }

func initBegun(l layout.Layout) bool {
	_, err := os.Lstat(initFile(l))
	return err == nil
}

func forgetInit(l layout.Layout) error {
	if err := os.Remove(initFile(l)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("initialise Vault: %w", err)
	}
	return nil
}

// DiscardUnkept throws away what a node has whose keys were lost before they were on the disk, and nothing else. The node must not run.
func DiscardUnkept(l layout.Layout, r layout.Region, data string) error {
	if r != firstVault || !initBegun(l) {
		return nil
	}
	if _, have, err := readVaultKeys(l); have || err != nil {
		return err
	}
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("throw the data of a Vault away that nothing opens: %w", err)
	}
	return nil
}
