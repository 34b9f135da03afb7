package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ofitec/ofitec/events"
)

// ErrNoRewind says that the source does not know yet that it has left the timeline: its first checkpoint there is not written.
var ErrNoRewind = errors.New("pg_rewind sees no other timeline at the source")

// Rewind takes the cluster back to where the source left its timeline, and makes a standby of it. The cluster was shut down. It gives the folder in which
// the WAL is kept that the source never had. The marker stands meanwhile, and stays after an error: half a rewind is no cluster, and only a Copy helps.
func (c *Cluster) Rewind(ctx context.Context, connInfo string, control Control, fork events.LSN) (kept string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("rewind the cluster: %w", err)
		}
	}()
	if kept, err = c.keepWAL(control, fork); err != nil {
		return "", err
	}
	c.step("begin")
	if err := c.touch(c.marker()); err != nil {
		return "", err
	}
	c.step("rewind")
	said, err := c.run(ctx, "pg_rewind", "--target-pgdata="+c.dataDir, "--source-server="+connInfo, "--no-ensure-shutdown")
	if err != nil {
		return "", err
	}
	if strings.Contains(string(said), "no rewind required") {
		return "", ErrNoRewind
	}
	c.step("mark")
	if err := c.markStandby(c.dataDir); err != nil {
		return "", err
	}
	c.step("end")
	if err := os.Remove(c.marker()); err != nil {
		return "", err
	}
	return kept, syncFolder(filepath.Dir(c.dataDir))
}

// keepWAL copies the segments from the fork on beside PGDATA: with pg_waldump they say what the other region never had. Those of the last rewind are replaced.
func (c *Cluster) keepWAL(control Control, fork events.LSN) (string, error) {
	kept := c.dataDir + keptSuffix + "-wal"
	if err := os.RemoveAll(kept); err != nil {
		return "", err
	}
	if err := os.Mkdir(kept, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(filepath.Join(c.dataDir, "pg_wal"))
	if err != nil {
		return "", err
	}
	perID := uint64(1<<32) / control.Segment
	first, last := uint64(fork)/control.Segment, uint64(control.End)/control.Segment
	for _, entry := range entries {
		name := entry.Name()
		if len(name) != 24 {
			continue
		}
		timeline, err1 := strconv.ParseUint(name[:8], 16, 32)
		id, err2 := strconv.ParseUint(name[8:16], 16, 64)
		part, err3 := strconv.ParseUint(name[16:], 16, 64)
		number := id*perID + part
		if errors.Join(err1, err2, err3) != nil || int(timeline) != control.Timeline || number < first || number > last {
			continue
		}
		if err := copyFile(filepath.Join(c.dataDir, "pg_wal", name), filepath.Join(kept, name)); err != nil {
			return "", err
		}
	}
	return kept, nil
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Sync(), target.Close())
}
