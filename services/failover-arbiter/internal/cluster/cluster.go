// Package cluster works on the files of the region's PostgreSQL while it does not run: it reads where the WAL ended, makes a standby of what was a primary,
// and copies the other region's cluster into the place of one that has WAL of its own (protocol.md, Boot, promotion, return).
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ofitec/ofitec/events"
)

// The files beside PGDATA. While the first stands, PGDATA is being replaced, and the supervisor starts nothing, whatever PGDATA holds. The second says that the
// arbiter has stopped the server, and nobody else for a reason of his own: whoever is the arbiter next starts it again. The third says how a standby was made, until it follows.
const (
	marker  = "rejoin.inprogress"
	stopped = "stopped-by-arbiter"
	remade  = "remade.json"
)

// Cluster is one PGDATA. Its methods are called by one goroutine, and those that write only while no server runs on it.
type Cluster struct {
	binDir, dataDir string
	step            func(name string) // called before each step of a copy; tests die there
}

// New names a cluster by its folder and that of PostgreSQL's programs.
func New(binDir, dataDir string) *Cluster {
	return &Cluster{binDir: binDir, dataDir: filepath.Clean(dataDir), step: func(string) {}}
}

// Condition is what the files say.
type Condition struct {
	Exists     bool // there is a cluster
	Standby    bool // a server started on it is a standby
	InProgress bool // a copy was begun and not ended
	Stopped    bool // the server was stopped by the arbiter, see NoteStop
}

// Look says what the files are.
func (c *Cluster) Look() (Condition, error) {
	var found Condition
	for path, into := range map[string]*bool{
		filepath.Join(c.dataDir, "PG_VERSION"): &found.Exists, filepath.Join(c.dataDir, "standby.signal"): &found.Standby, c.marker(): &found.InProgress,
		c.beside(stopped): &found.Stopped,
	} {
		_, err := os.Stat(path)
		if *into = err == nil; err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Condition{}, fmt.Errorf("look at the cluster's files: %w", err)
		}
	}
	return found, nil
}

func (c *Cluster) beside(name string) string { return filepath.Join(filepath.Dir(c.dataDir), name) }

func (c *Cluster) marker() string { return c.beside(marker) }

// NoteStop says, before the server is stopped, that it is by the arbiter.
func (c *Cluster) NoteStop() error {
	if err := c.touch(c.beside(stopped)); err != nil {
		return fmt.Errorf("note that the server is stopped: %w", err)
	}
	return nil
}

// ForgetStop removes that note, after the server was started.
func (c *Cluster) ForgetStop() error {
	if err := os.Remove(c.beside(stopped)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget that the server was stopped: %w", err)
	}
	return nil
}

// Remade is how a standby was made out of what was there.
type Remade struct {
	Manner    string     `json:"manner"` // followed, rewound or rebuilt
	Fork      events.LSN `json:"fork"`
	Discarded int64      `json:"discarded_bytes"`
	Kept      string     `json:"kept"`
}

// NoteRemade keeps it for whoever is the arbiter when the standby follows.
func (c *Cluster) NoteRemade(r Remade) error {
	content, err := json.Marshal(r)
	if err == nil {
		err = c.write(c.beside(remade), content)
	}
	if err != nil {
		return fmt.Errorf("note how the standby was made: %w", err)
	}
	return nil
}

// Remade reads the note; nil when there is none.
func (c *Cluster) Remade() (*Remade, error) {
	content, err := os.ReadFile(c.beside(remade))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r Remade
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("read how the standby was made: %w", err)
	}
	return &r, nil
}

// ForgetRemade removes the note.
func (c *Cluster) ForgetRemade() error {
	if err := os.Remove(c.beside(remade)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget how the standby was made: %w", err)
	}
	return nil
}

// Control is the part of pg_control that a switchover and a rejoin rest on.
type Control struct {
	ShutDown bool // the server ended with a shutdown checkpoint; nothing follows End
	Timeline int
	End      events.LSN // where the last checkpoint's record ends
	Segment  uint64     // bytes of a WAL segment
}

// Control reads pg_control. While a server runs or after a crash, End is that of an earlier checkpoint: WAL may follow it.
func (c *Cluster) Control(ctx context.Context) (Control, error) {
	output, err := c.run(ctx, "pg_controldata", c.dataDir)
	if err != nil {
		return Control{}, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(output)) {
		if name, value, found := strings.Cut(line, ":"); found {
			fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	var control Control
	begin, err := events.ParseLSN(fields["Latest checkpoint location"])
	if err != nil {
		return Control{}, fmt.Errorf("read pg_control: latest checkpoint location: %w", err)
	}
	if control.Timeline, err = strconv.Atoi(fields["Latest checkpoint's TimeLineID"]); err != nil {
		return Control{}, fmt.Errorf("read pg_control: latest checkpoint's timeline: %w", err)
	}
	if control.Segment, err = strconv.ParseUint(fields["Bytes per WAL segment"], 10, 64); err != nil {
		return Control{}, fmt.Errorf("read pg_control: bytes per WAL segment: %w", err)
	}
	state := fields["Database cluster state"]
	control.ShutDown = state == "shut down" || state == "shut down in recovery"
	control.End = endOfCheckpoint(begin, control.Segment)
	return control, nil
}

// How a checkpoint's record lies in the WAL of PostgreSQL 15 with pages of 8 KiB: a record header of 24 bytes, 2 of its only data block's, and the 88 of
// struct CheckPoint, rounded up to 8. Each page begins with a header that the record goes around.
const (
	checkpointBytes = 120
	pageBytes       = 8192
	pageHeader      = 24
	segmentHeader   = 40
)

func endOfCheckpoint(begin events.LSN, segment uint64) events.LSN {
	end, boundary := uint64(begin)+checkpointBytes, (uint64(begin)/pageBytes+1)*pageBytes
	if end > boundary {
		if boundary%segment == 0 {
			end += segmentHeader
		} else {
			end += pageHeader
		}
	}
	return events.LSN(end)
}

// Branch moves a cluster that was shut down to a timeline that nobody has written on, for a region that is taken although it is no standby: what is written there
// from now on is never taken for what another region wrote. It begins in a new segment; the WAL before it is removed. A call that died half way is repeated.
func (c *Cluster) Branch(ctx context.Context, timeline int) error {
	control, err := c.Control(ctx)
	if err != nil {
		return err
	}
	if !control.ShutDown {
		return errors.New("begin another timeline: the cluster was not shut down")
	}
	history := []byte{}
	if control.Timeline > 1 {
		if history, err = os.ReadFile(c.history(control.Timeline)); err != nil {
			return fmt.Errorf("begin another timeline: %w", err)
		}
	}
	perID := uint64(1<<32) / control.Segment
	next := uint64(control.End)/control.Segment + 1
	if _, err := c.run(ctx, "pg_resetwal", "--pgdata="+c.dataDir, fmt.Sprintf("--next-wal-file=%08X%08X%08X", timeline, next/perID, next%perID)); err != nil {
		return fmt.Errorf("begin another timeline: %w", err)
	}
	now, err := c.Control(ctx)
	if err != nil {
		return err
	}
	begin := uint64(now.End) / now.Segment * now.Segment
	line := fmt.Sprintf("%d\t%s\ttaken as it was, by an operator\n", control.Timeline, events.LSN(begin))
	if err := c.write(c.history(now.Timeline), append(history, line...)); err != nil {
		return fmt.Errorf("begin another timeline: %w", err)
	}
	return nil
}

func (c *Cluster) history(timeline int) string {
	return filepath.Join(c.dataDir, "pg_wal", fmt.Sprintf("%08X.history", timeline))
}

// Follow makes a standby of the cluster: a server started on it follows the other region.
func (c *Cluster) Follow() error {
	if err := c.markStandby(c.dataDir); err != nil {
		return fmt.Errorf("make a standby of %s: %w", c.dataDir, err)
	}
	return nil
}

func (c *Cluster) markStandby(dir string) error {
	return c.touch(filepath.Join(dir, "standby.signal"))
}

// touch makes an empty file that a loss of power does not take away. It belongs to the server's user.
func (c *Cluster) touch(path string) error { return c.write(path, nil) }

func (c *Cluster) write(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if owner, other := c.owner(); err == nil && other {
		err = file.Chown(int(owner.Uid), int(owner.Gid))
	}
	return errors.Join(err, file.Sync(), file.Close(), syncFolder(filepath.Dir(path)))
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
