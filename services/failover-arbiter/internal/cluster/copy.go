package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// The folders beside PGDATA: the copy until it is whole, and what stood in its place before. Of the latter the newest is kept.
const (
	copySuffix = ".copy"
	keptSuffix = ".diverged"
)

// Source is where a copy comes from.
type Source struct {
	ConnInfo string // libpq's, without a password: it names a passfile
	Slot     string // of this region at the source, which keeps the WAL from before the copy begins
	Rewind   string // as ConnInfo, by the role that pg_rewind reads with
}

// Copy replaces the cluster by a standby of the source. It gives the folder in which the replaced one is kept, "" when there was none.
//
// From the first step to the last the marker stands, so that nothing is started from what is neither the old cluster nor the new one. The copy is a standby
// before it gets the cluster's name. Whoever finds the marker begins again from the start.
func (c *Cluster) Copy(ctx context.Context, from Source) (kept string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy the other region's cluster: %w", err)
		}
	}()
	c.step("begin")
	if err := c.touch(c.marker()); err != nil {
		return "", err
	}
	aside := c.dataDir + copySuffix
	c.step("clear")
	if err := os.RemoveAll(aside); err != nil {
		return "", err
	}
	c.step("copy")
	if _, err := c.run(ctx, "pg_basebackup", "--pgdata="+aside, "--wal-method=stream", "--slot="+from.Slot, "--checkpoint=fast", "--no-password", "--dbname="+from.ConnInfo); err != nil {
		return "", err
	}
	c.step("mark")
	if err := c.markStandby(aside); err != nil {
		return "", err
	}
	c.step("keep")
	if kept, err = c.keep(); err != nil {
		return "", err
	}
	c.step("replace")
	if err := os.Rename(aside, c.dataDir); err != nil {
		return "", err
	}
	if err := syncFolder(filepath.Dir(c.dataDir)); err != nil {
		return "", err
	}
	c.step("end")
	if err := os.Remove(c.marker()); err != nil {
		return "", err
	}
	return kept, syncFolder(filepath.Dir(c.dataDir))
}

// keep moves what stands in the cluster's place away. Nothing is kept of a folder without a cluster, the leftover of its loss, nor of a standby, which has
// only what it was sent: an interrupted copy leaves one, and the cluster that it replaced stays kept.
func (c *Cluster) keep() (string, error) {
	found, err := c.Look()
	if err != nil {
		return "", err
	}
	if !found.Exists || found.Standby {
		return "", os.RemoveAll(c.dataDir)
	}
	kept := c.dataDir + keptSuffix
	if err := os.RemoveAll(kept); err != nil {
		return "", err
	}
	return kept, os.Rename(c.dataDir, kept)
}
