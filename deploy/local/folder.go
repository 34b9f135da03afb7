package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// folderFormat is the version of the data folder's shape. A folder of another one is refused, never half-read.
const folderFormat = 1

const needBytes = 3 << 30

// stamp is stack.json: what the folder was made for, and what must not be made twice.
type stamp struct {
	Format     int               `json:"format"`
	Made       time.Time         `json:"made"`
	Addressing layout.Addressing `json:"addressing"` // for good: etcd's members know each other by it
	// PostgresMade is set once the first cluster has been initialised: an empty data folder is then a lost one and is cloned, never made anew.
	PostgresMade bool `json:"postgres_made"`
}

// folder is an open data folder: locked, stamped, with everybody able to enter it who must.
type folder struct {
	layout layout.Layout
	stamp  stamp
	lock   *os.File
	wanted string // the path that was asked for; a link when the data live elsewhere

	made    []string // folders and the link that this start has made, in that order
	fresh   bool     // the folder was empty or not there: all that is in it is this start's
	sockets bool     // this start has made the folder of sockets
}

// inspectFolder looks at the data folder, and locks one that is there. It writes nothing, so that a start can still be refused for another reason.
// Free gives the bytes that are free where a folder is or will be.
func inspectFolder(o Options, free func(dir string) (uint64, error)) (*folder, error) {
	root, err := enterable(o.Data)
	if err != nil {
		return nil, err
	}
	addressing, err := o.addressing()
	if err != nil {
		return nil, err
	}
	f := &folder{layout: layout.Layout{Root: root, Addressing: addressing}, wanted: o.Data}
	if err := f.readStamp(); err != nil {
		return nil, err
	}
	if free, err := free(root); err == nil && free < needBytes {
		return nil, fmt.Errorf("data folder %s: %d MiB free, the stack needs %d MiB; free some or choose another disk with --data", root, free>>20, needBytes>>20)
	}
	if err := f.takeLock(os.O_RDWR); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return f, nil
}

// make makes what is missing of the folder itself. Whoever gives the start up before anything runs, also because this failed, calls undo.
func (f *folder) make() error {
	if err := f.makeDirs(f.layout.Root); err != nil {
		return err
	}
	if f.lock == nil {
		if err := f.takeLock(os.O_CREATE | os.O_RDWR); err != nil {
			return err
		}
	}
	if f.stamp.Format == 0 {
		if _, err := os.Lstat(f.stampFile()); err == nil {
			return fmt.Errorf("data folder %s: another ofitec up has just made it; start again", f.layout.Root)
		}
		f.fresh = true
	}
	_ = f.lock.Truncate(0)
	_, _ = f.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	if root := f.layout.Root; root != f.wanted {
		if err := f.makeDirs(filepath.Dir(f.wanted)); err != nil {
			return err
		}
		switch err := os.Symlink(root, f.wanted); {
		case err == nil:
			f.made = append(f.made, f.wanted)
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("link data folder: %w", err)
		}
	}
	if err := f.makeSocketRoot(); err != nil {
		return err
	}
	if f.fresh {
		f.stamp = stamp{Format: folderFormat, Made: time.Now().UTC(), Addressing: f.layout.Addressing}
		return f.writeStamp()
	}
	return nil
}

// makeDirs makes a folder and those above it, and remembers which were not there.
func (f *folder) makeDirs(path string) error {
	var missing []string
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		switch err := os.Mkdir(dir, 0o755); { //nolint:gosec // users of the components enter it; what is secret in it is 0600
		case err == nil:
			f.made = append(f.made, dir)
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("make data folder: %w; choose another with --data", err)
		}
	}
	return nil
}

// undo removes what this start has made, while nothing has run yet. What was there before stays, and so does a folder that another start uses by now.
func (f *folder) undo() {
	if f.sockets {
		_ = os.RemoveAll(f.layout.SocketRoot())
	}
	if f.fresh {
		entries, _ := os.ReadDir(f.layout.Root)
		for _, entry := range entries {
			_ = os.RemoveAll(filepath.Join(f.layout.Root, entry.Name()))
		}
	}
	for _, path := range slices.Backward(f.made) {
		_ = os.Remove(path)
	}
}

// peek finds the layout of a folder that is there, without locking it.
func peek(o Options) (layout.Layout, error) {
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return layout.Layout{}, fmt.Errorf("find the data folder: %w", err)
	}
	if data, err = filepath.EvalSymlinks(data); err != nil {
		return layout.Layout{}, usage("data folder %s is not there; start the stack with ofitec up, or name its folder with --data", o.Data)
	}
	content, err := os.ReadFile(filepath.Join(data, "stack.json"))
	if err != nil {
		return layout.Layout{}, usage("data folder %s has no stack.json: no stack was started there", data)
	}
	var stamp stamp
	if err := json.Unmarshal(content, &stamp); err != nil {
		return layout.Layout{}, fmt.Errorf("data folder %s is damaged: stack.json: %w", data, err)
	}
	return layout.Layout{Root: data, Addressing: stamp.Addressing}, nil
}

// makeSocketRoot makes the folder of sockets. It stands in /tmp, so one that somebody else has put there is refused.
func (f *folder) makeSocketRoot() error {
	root := f.layout.SocketRoot()
	switch err := os.Mkdir(root, 0o755); { //nolint:gosec // users of the components enter it; each has a folder of its own in it
	case err == nil:
		f.sockets = true
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("make the folder of sockets: %w", err)
	}
	info, err := os.Lstat(root)
	if err != nil {
		return fmt.Errorf("look at the folder of sockets: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("folder of sockets %s belongs to somebody else; remove it", root)
	}
	return nil
}

func (f *folder) stampFile() string { return filepath.Join(f.layout.Root, "stack.json") }

func (f *folder) readStamp() error {
	root := f.layout.Root
	content, err := os.ReadFile(f.stampFile())
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(root)
		if err == nil && len(entries) > 0 {
			return fmt.Errorf("data folder %s is not empty and has no stack.json: it is not the stack's, or it is damaged; choose another with --data, or remove it", root)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	if err := json.Unmarshal(content, &f.stamp); err != nil {
		return fmt.Errorf("data folder %s is damaged: stack.json: %w; remove the folder or restore the file", root, err)
	}
	if f.stamp.Format != folderFormat || f.stamp.Addressing.Region == nil {
		return fmt.Errorf("data folder %s has format %d, this program knows %d; use the program that made it, or another folder with --data", root, f.stamp.Format, folderFormat)
	}
	if !reflect.DeepEqual(f.stamp.Addressing, f.layout.Addressing) {
		return usage("data folder %s was made for %s and this start asks for %s: etcd's members would not find each other; use another folder with --data", root, describe(f.stamp.Addressing), describe(f.layout.Addressing))
	}
	return nil
}

func describe(a layout.Addressing) string {
	text := fmt.Sprintf("regions at %s, %s and %s", a.Region[layout.A], a.Region[layout.B], a.Region[layout.C])
	if a.Namespaces {
		text += " in namespaces"
	}
	return text
}

func (f *folder) writeStamp() error {
	content, err := json.MarshalIndent(f.stamp, "", "  ")
	if err != nil {
		return fmt.Errorf("encode stack.json: %w", err)
	}
	return writeFile(f.stampFile(), append(content, '\n'), 0o644, nil)
}

// takeLock lets one program use the folder. The lock goes with the process, however it ends.
func (f *folder) takeLock(how int) error {
	path := filepath.Join(f.layout.Root, "lock")
	file, err := os.OpenFile(path, how, 0o644) //nolint:gosec // it says a process id
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		content, _ := os.ReadFile(path)
		_ = file.Close()
		return fmt.Errorf("data folder %s is in use by another ofitec up (process %s); stop it with: ofitec down --data %s", f.layout.Root, strings.TrimSpace(string(content)), f.layout.Root)
	}
	f.lock = file
	return nil
}

// Stopped says whether no stack uses the folder any more: its lock can be taken.
func Stopped(l layout.Layout) bool {
	file, err := os.Open(filepath.Join(l.Root, "lock"))
	if err != nil {
		return true
	}
	defer func() { _ = file.Close() }()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
}

func (f *folder) close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

// sweep kills what an earlier run has left: a killed supervisor takes its children with it, but PostgreSQL's backends have no parent to follow.
func (f *folder) sweep(ctx context.Context) error {
	for _, r := range layout.DataRegions {
		if err := supervise.KillFolder(ctx, f.layout.PostgresDataDir(r)); err != nil {
			return err
		}
	}
	return nil
}

// enterable gives the folder where the data really lives. PostgreSQL and the services run under users of their own when the stack is started by root,
// and cannot pass through a private folder such as /root: then the data goes below /var/lib/ofitec and the wanted path becomes a link.
func enterable(wanted string) (string, error) {
	if resolved, err := filepath.EvalSymlinks(wanted); err == nil {
		wanted = resolved
	}
	if os.Geteuid() != 0 || canBeEntered(wanted) {
		return wanted, nil
	}
	root := filepath.Join("/var/lib/ofitec", strings.ReplaceAll(strings.Trim(wanted, "/"), "/", "-"))
	if _, err := os.Lstat(wanted); err == nil {
		return "", fmt.Errorf("data folder %s: users other than root cannot enter it; remove it, or choose another with --data", wanted)
	}
	return root, nil
}

// canBeEntered says whether every existing folder on the way may be passed by everybody.
func canBeEntered(path string) bool {
	for dir := path; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" || dir == "." {
			return true
		}
	}
}

func freeBytes(dir string) (uint64, error) {
	for ; ; dir = filepath.Dir(dir) {
		var stat syscall.Statfs_t
		err := syscall.Statfs(dir, &stat)
		if err == nil {
			return stat.Bavail * uint64(stat.Bsize), nil
		}
		if !errors.Is(err, syscall.ENOENT) || dir == "/" {
			return 0, fmt.Errorf("stat file system of %s: %w", dir, err)
		}
	}
}

// writeFile replaces a file atomically and durably, and gives it to its owner.
func writeFile(path string, content []byte, mode fs.FileMode, owner *supervise.Credential) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temporary) }()
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(mode))
	if owner != nil {
		err = errors.Join(err, file.Chown(int(owner.UID), int(owner.GID)))
	}
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// makeDir makes a folder for an owner; one that is there gets the mode and the owner.
func makeDir(path string, mode fs.FileMode, owner *supervise.Credential) error {
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // those above; the folder itself gets its mode below
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if owner != nil {
		if err := os.Chown(path, int(owner.UID), int(owner.GID)); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}
