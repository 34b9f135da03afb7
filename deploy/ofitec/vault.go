package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
)

func newVault() *cobra.Command {
	command := &cobra.Command{
		Use: "vault", Short: "Take a snapshot of Vault, and take Vault back to one",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(newVaultSnapshot(), newVaultRestore())
	return command
}

func newVaultSnapshot() *cobra.Command {
	var dir string
	var keep int
	command := &cobra.Command{
		Use: "snapshot", Short: "Write a snapshot of Vault into a new file of mode 0600",
		Long: "Write a snapshot of Vault into a new file of mode 0600.\n\nIt has all that Vault keeps, sealed by the keys of its time: without them nobody reads it, and whoever has both has everything. Keep the two apart, and\n" +
			"copies outside the three regions. The operator's login may take snapshots and put none back. The local stack takes one each hour by itself and keeps 24.",
		Example: "  ofitec vault snapshot --dir /var/backups/vault --keep 48",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep < 0 {
				return wrongUse{fmt.Errorf("--keep %d: must be 0 (all) or more", keep)}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				if dir == "" {
					dir = o.layout.VaultSnapshotDir()
				}
				taken, err := local.TakeSnapshot(ctx, o.layout, o.tls.Client(), dir, keep, time.Now())
				if err != nil {
					return err
				}
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), taken)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "snapshot %s, %d bytes; %d older ones removed\n", taken.File, taken.Bytes, len(taken.Ended))
				return err
			})
		},
	}
	command.Flags().StringVar(&dir, "dir", "", "folder of snapshots (default: vault-snapshots in the operator's folder)")
	command.Flags().IntVar(&keep, "keep", 0, "how many are kept, this one too; 0 keeps all")
	outputFlag(command)
	return command
}

// restored is the printed result.
type restored struct {
	File   string `json:"file"`
	Before string `json:"before"` // a snapshot of what was there
	Keys   string `json:"keys,omitempty"`
	Kept   string `json:"kept,omitempty"` // the keys that open Before, where Vault has others now
}

func newVaultRestore() *cobra.Command {
	var keys string
	command := &cobra.Command{
		Use: "restore FILE", Short: "Take Vault back to a snapshot; what was there is kept in another one", Args: cobra.ExactArgs(1),
		Long: "Take Vault back to a snapshot; what was there is kept in another one.\n\nVault forgets all that is younger: versions of credentials, leases, logins. Users of the database, and the rotator's book, are those of today: the\n" +
			"rotator replaces what Vault has forgotten, and fences its users. Where Vault was begun anew since, with other keys, --keys is the vault.json of the\nsnapshot's time; then start the stack anew. docs/runbooks/credentials.md has it step by step.",
		Example: "  ofitec vault restore .ofitec/operator/vault-snapshots/vault-20261125T120000Z.snap",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				done, err := o.restoreVault(ctx, args[0], keys)
				if err != nil {
					return err
				}
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), done)
				}
				return printRestored(cmd, done)
			})
		},
	}
	command.Flags().StringVar(&keys, "keys", "", "vault.json of the snapshot's time, where Vault has others now")
	outputFlag(command)
	return command
}

func (o *operator) restoreVault(ctx context.Context, file, keyFile string) (restored, error) {
	done := restored{File: file, Keys: keyFile}
	begun, finished, err := bootstrap.FinishRestore(ctx, o.layout, o.tls.Client())
	if err != nil {
		return done, fmt.Errorf("finish the restore of %s that was begun before: %w", begun.Snapshot, err)
	}
	if finished && begun.Snapshot == file {
		done.Before, done.Kept = begun.Before, begun.Kept
		return done, nil
	}
	if finished {
		return done, fmt.Errorf("a restore of %s had been stopped in its middle, and was finished now; stop the stack and start it anew, then restore %s", begun.Snapshot, file)
	}
	snapshot, err := os.ReadFile(file)
	if err != nil {
		return done, fmt.Errorf("read the snapshot: %w", err)
	}
	var keys []byte
	if keyFile != "" {
		if keys, err = os.ReadFile(keyFile); err != nil {
			return done, fmt.Errorf("read the keys of the snapshot's time: %w", err)
		}
	}
	before, err := local.TakeSnapshot(ctx, o.layout, o.tls.Client(), filepath.Join(o.layout.VaultSnapshotDir(), "before-restore"), 0, time.Now())
	if err != nil {
		return done, fmt.Errorf("keep what is there now: %w", err)
	}
	done.Before = before.File
	if keys != nil {
		done.Kept = strings.TrimSuffix(before.File, ".snap") + ".keys.json"
		return done, bootstrap.RestoreVaultOfOtherKeys(ctx, o.layout, o.tls.Client(), bootstrap.KeyChange{
			Snapshot: file, Before: before.File, Kept: done.Kept, Keys: string(keys),
		}, bytes.NewReader(snapshot))
	}
	err = bootstrap.RestoreVault(ctx, o.layout, o.tls.Client(), bytes.NewReader(snapshot))
	if errors.Is(err, bootstrap.ErrOtherKeys) {
		err = fmt.Errorf("%w; give the vault.json of its time by --keys", err)
	}
	return done, err
}

// printRestored says what comes next, in the order of the runbook.
func printRestored(cmd *cobra.Command, done restored) error {
	anew := ""
	if done.Keys != "" {
		anew = fmt.Sprintf("The keys of its time are in their place, those of what was there in %s: without them nothing opens that snapshot.\n", done.Kept) +
			"Stop the stack and start it anew: the logins of services are made again.\n"
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `Vault is that of %s; what was there is in %s.
%sNow:
  ofitec doctor                           its three nodes are open, one is active
  ofitec credentials list                 within minutes each credential has another version, made by the rotator
When rotator.log says "no stored password opens the database", the engine's login is older than the database's: docs/runbooks/credentials.md, "Restoring Vault", step 4.
`, done.File, done.Before, anew)
	return err
}
