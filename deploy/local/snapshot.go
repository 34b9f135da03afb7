package local

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

const (
	snapshotEvery = time.Hour
	snapshotFirst = 10 * time.Minute // after a start; by then each credential has been made
	snapshotKeep  = 24
	snapshotName  = "vault-20060102T150405Z.snap"
)

// Snapshot is a file with all that Vault has, sealed by Vault's own key.
type Snapshot struct {
	File  string   `json:"file"`
	Bytes int      `json:"bytes"`
	Ended []string `json:"removed,omitempty"` // older ones, beyond those to be kept
}

// TakeSnapshot writes a snapshot of Vault into a folder, mode 0600, whole or not at all, and removes the oldest beyond those to be kept; 0 keeps all.
func TakeSnapshot(ctx context.Context, l layout.Layout, config *tls.Config, dir string, keep int, now time.Time) (Snapshot, error) {
	var content bytes.Buffer
	if err := bootstrap.SnapshotVault(ctx, l, config, &content); err != nil {
		return Snapshot{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Snapshot{}, fmt.Errorf("make folder of Vault's snapshots: %w", err)
	}
	s := Snapshot{File: filepath.Join(dir, now.UTC().Format(snapshotName)), Bytes: content.Len()}
	if err := identity.WriteFile(s.File, content.Bytes(), nil, "operator"); err != nil {
		return Snapshot{}, err
	}
	var err error
	s.Ended, err = endSnapshots(dir, keep)
	return s, err
}

// endSnapshots removes what is older than the newest ones. Files of other names are not its own.
func endSnapshots(dir string, keep int) (ended []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil || keep < 1 {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, err := time.Parse(snapshotName, entry.Name()); err == nil && entry.Type().IsRegular() {
			names = append(names, entry.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	for _, name := range names[min(keep, len(names)):] {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil {
			return ended, fmt.Errorf("remove an old snapshot of Vault: %w", err)
		}
		ended = append(ended, path)
	}
	return ended, nil
}

// snapshots takes one each hour, until ctx ends. Production's operator has a clock of its own for `ofitec vault snapshot`, and takes the files away from the three regions.
func (s *Stack) snapshots(ctx context.Context) {
	for pause := snapshotFirst; ; pause = snapshotEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if _, err := TakeSnapshot(ctx, s.layout, s.tls, s.layout.VaultSnapshotDir(), snapshotKeep, time.Now()); err != nil && ctx.Err() == nil {
			s.terminal.say("no snapshot of Vault this hour: %v", err)
		}
	}
}
