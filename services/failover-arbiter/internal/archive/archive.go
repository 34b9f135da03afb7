// Package archive keeps WAL and backups of the database outside all regions, by pgBackRest. The region that holds the mandate archives, and no other: the command
// stands in PostgreSQL's archive.conf only meanwhile, and without one PostgreSQL keeps its WAL. Credentials are in pgBackRest's own file.
package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Archive is one region's way to the repository that both share. It is safe for concurrent use, but pgBackRest itself makes one backup at a time.
type Archive struct {
	Program string // pgBackRest's
	File    string // its configuration
	Stanza  string
	ConfDir string // PostgreSQL's configuration, with archive.conf
	DataDir string // PGDATA
}

// commandFile is read by PostgreSQL after postgresql.conf (package deploy).
const commandFile = "archive.conf"

// Switch gives PostgreSQL the command to archive, or takes it away, and says whether that is a change; the server reads it at its next reload or start.
func (a Archive) Switch(on bool) (changed bool, err error) {
	content := "archive_command = ''\n"
	if on {
		content = fmt.Sprintf("archive_command = '%s --config=%s --stanza=%s archive-push %%p'\n", a.Program, a.File, a.Stanza)
	}
	return a.put(commandFile, content)
}

// feedFile is read by PostgreSQL after postgresql.conf, too; wantedFile stands beside it while the command is to be obeyed.
const (
	feedFile   = "restore.conf"
	wantedFile = "restore.wanted"
)

// A standby waits for its command, also when it is promoted, and may run it some more times before it reads that there is none any more. So the command ends by itself,
// within a tenth of a second when it is wanted no more, and at once when it begins then. What is not there is asked for once a second. It never ends as by a signal: that
// would end the server.
const getCommand = "[ -e %[1]s ] || exit 1; " +
	"/usr/bin/timeout -k 1 20 %[2]s --config=%[3]s --stanza=%[4]s archive-get %%f %%p & " +
	"while kill -0 $! 2>/dev/null; do [ -e %[1]s ] || kill $!; /bin/sleep 0.1; done; " +
	"wait $! && exit 0; [ ! -e %[1]s ] || /bin/sleep 1; exit 1"

// Feed gives a standby the command to take WAL from the repository, or takes it away, and says whether that is a change; the server reads it at its next reload or start.
func (a Archive) Feed(on bool) (changed bool, err error) {
	wanted, content := filepath.Join(a.ConfDir, wantedFile), "restore_command = ''\n"
	if on {
		content = "restore_command = '" + fmt.Sprintf(getCommand, wanted, a.Program, a.File, a.Stanza) + "'\n"
		_, err = a.put(wantedFile, "")
	} else if err = os.Remove(wanted); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return false, fmt.Errorf("switch %s: %w", wantedFile, err)
	}
	return a.put(feedFile, content)
}

// put replaces a file of PostgreSQL's configuration that has another content.
func (a Archive) put(name, content string) (changed bool, err error) {
	target := filepath.Join(a.ConfDir, name)
	before, err := os.ReadFile(target)
	if err == nil && string(before) == content {
		return false, nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = a.replace(target, content)
	}
	if err != nil {
		return false, fmt.Errorf("switch %s: %w", name, err)
	}
	return true, nil
}

// replace leaves the old file or the new one, whatever happens. It belongs to the folder's owner.
func (a Archive) replace(target, content string) error {
	temporary := target + ".new"
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		return err
	}
	if uid, gid, other := owner(filepath.Dir(target)); other {
		if err := os.Chown(temporary, uid, gid); err != nil {
			return err
		}
	}
	return os.Rename(temporary, target)
}

// Begin makes the stanza in the repository, or finds that it is there and is this database's.
func (a Archive) Begin(ctx context.Context) error {
	_, err := a.run(ctx, "stanza-create")
	return err
}

// Backup makes a base backup of the server that runs here: a full one, or what has changed since the last one.
func (a Archive) Backup(ctx context.Context, full bool) error {
	kind := "--type=diff"
	if full {
		kind = "--type=full"
	}
	_, err := a.run(ctx, "backup", kind)
	return err
}

// Look reads what the repository has.
func (a Archive) Look(ctx context.Context) (Inventory, error) {
	var inventory Inventory
	printed, err := a.run(ctx, "info", "--output=json")
	if err != nil {
		return inventory, err
	}
	if inventory.Backups, err = parseInfo(printed); err != nil {
		return inventory, err
	}
	listed, err := a.run(ctx, "repo-ls", "--recurse", "archive/"+a.Stanza)
	if err != nil {
		return inventory, err
	}
	inventory.Segments = parseList(string(listed))
	return inventory, nil
}

// unreadable is the status of a repository that did not answer; pgBackRest's exit status is 0 all the same.
const unreadable = 99

// parseInfo reads the backups, oldest first.
func parseInfo(printed []byte) ([]Backup, error) {
	var stanzas []struct {
		Status struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"status"`
		Backup []struct {
			Label   string `json:"label"`
			Type    string `json:"type"`
			Archive struct {
				Start string `json:"start"`
			} `json:"archive"`
			Timestamp struct {
				Stop int64 `json:"stop"`
			} `json:"timestamp"`
		} `json:"backup"`
	}
	if err := json.Unmarshal(printed, &stanzas); err != nil {
		return nil, fmt.Errorf("read pgBackRest's info: %w", err)
	}
	var backups []Backup
	for _, stanza := range stanzas {
		if stanza.Status.Code == unreadable {
			return nil, fmt.Errorf("read pgBackRest's info: %s", stanza.Status.Message)
		}
		for _, b := range stanza.Backup {
			start, ok := ParseSegment(b.Archive.Start)
			if !ok {
				return nil, fmt.Errorf("read pgBackRest's info: backup %q begins in %q, which is no segment", b.Label, b.Archive.Start)
			}
			backups = append(backups, Backup{Label: b.Label, Full: b.Type == "full", Start: start, At: time.Unix(b.Timestamp.Stop, 0).UTC()})
		}
	}
	return backups, nil
}

// parseList reads the names of segments from a listing; a name is followed by a checksum and the kind of compression.
func parseList(listed string) []Segment {
	var segments []Segment
	for line := range strings.Lines(listed) {
		name := filepath.Base(strings.TrimSpace(line))
		if len(name) > 24 && name[24] == '-' {
			if s, ok := ParseSegment(name[:24]); ok {
				segments = append(segments, s)
			}
		}
	}
	return segments
}

// Offer lets PostgreSQL archive once more what it believes to be archived: those segments in its pg_wal of which missing says so. A standby that became a primary
// has WAL that the old primary had not yet archived, and marks it as done. It gives how many there were.
func (a Archive) Offer(missing func(Segment) bool) (offered int, err error) {
	folder := filepath.Join(a.DataDir, "pg_wal", "archive_status")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, fmt.Errorf("offer WAL to the archive: %w", err)
	}
	for _, entry := range entries {
		name, done := strings.CutSuffix(entry.Name(), ".done")
		segment, ok := ParseSegment(name)
		if !done || !ok || !missing(segment) {
			continue
		}
		if _, err := os.Stat(filepath.Join(a.DataDir, "pg_wal", name)); err != nil {
			continue // it was removed meanwhile
		}
		if err := os.Rename(filepath.Join(folder, entry.Name()), filepath.Join(folder, name+".ready")); err != nil {
			return offered, fmt.Errorf("offer WAL to the archive: %w", err)
		}
		offered++
	}
	return offered, nil
}

// run executes pgBackRest behind everything else on the machine, as the configuration's owner, with nothing of this process's environment.
func (a Archive) run(ctx context.Context, verb string, args ...string) ([]byte, error) {
	args = append([]string{"-n", "10", a.Program, "--config=" + a.File, "--stanza=" + a.Stanza, verb}, args...)
	if verb == "repo-ls" { // it knows no stanza
		args = append(args[:4:4], args[5:]...)
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/nice", args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if uid, gid, other := owner(filepath.Dir(a.File)); other && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{uint32(gid)}}}
	}
	var output, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &complaints
	if err := cmd.Run(); err != nil {
		said := strings.Join(strings.Fields(complaints.String()+" "+output.String()), " ")
		return nil, fmt.Errorf("pgbackrest %s: %w: %.600s", verb, err, said)
	}
	return output.Bytes(), nil
}

// owner is whom a file or folder belongs to, and whether that is somebody else than this process's user.
func owner(path string) (uid, gid int, other bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), int(stat.Uid) != os.Geteuid()
}
