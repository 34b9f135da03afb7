package dotenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// mode is the file's and its backup's: nobody but the owner reads a credential.
const mode = 0o600

// maxSize keeps out what is no environment file.
const maxSize = 1 << 20

// Apply changes a file: the new content is written beside it, made durable, and renamed over it, so that a reader sees the old file or the new one. Owner and group
// stay, the mode becomes 0600, and what was there is kept as <file>.bak. A file that holds the values already is left alone, with its backup. What the edit takes comes
// from the other file, which is not looked at when nothing does. Changed says whether it was.
func Apply(file, other string, edit Edit) (changed bool, err error) {
	content, info, err := load(file)
	if err != nil {
		return false, err
	}
	if err := edit.misread(); err != nil {
		return false, &Refused{file, err.Error()}
	}
	var from []byte
	if len(edit.Take)+len(edit.Keep) > 0 {
		if from, _, err = load(other); err != nil {
			return false, err
		}
	}
	values, err := edit.values(content, from)
	if err != nil {
		return false, &Refused{other, err.Error()}
	}
	next, err := Change(content, values...)
	if err != nil {
		return false, &Refused{file, err.Error()}
	}
	if bytes.Equal(next, content) && info.Mode().Perm() == mode {
		return false, nil
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, &Refused{file, "is on a system without owners"}
	}
	if err := replace(file+".bak", content, owner); err != nil {
		return false, err
	}
	if err := replace(file, next, owner); err != nil {
		return false, err
	}
	return true, nil
}

// load reads a file that may be changed. It is opened before it is looked at, and never through a link, so that what was looked at is what is read.
func load(file string) ([]byte, os.FileInfo, error) {
	handle, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, nil, &Refused{file, "is a link: name the file itself"}
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, &Refused{file, "is not there"}
	case errors.Is(err, os.ErrPermission):
		return nil, nil, &Refused{file, "may not be read by this process"}
	case err != nil:
		return nil, nil, fmt.Errorf("read environment file: %w", err)
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read environment file: %w", err)
	}
	stat, owned := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return nil, nil, &Refused{file, "is no regular file"}
	case owned && stat.Nlink > 1:
		return nil, nil, &Refused{file, "has a second name (hard link): a replacement would not reach it"}
	case info.Size() > maxSize:
		return nil, nil, &Refused{file, "is larger than 1 MiB"}
	}
	if problem := unwritable(file, info); problem != "" {
		return nil, nil, &Refused{file, problem}
	}
	content, err := io.ReadAll(io.LimitReader(handle, maxSize))
	if err != nil {
		return nil, nil, fmt.Errorf("read environment file: %w", err)
	}
	return content, info, nil
}

// writeAccess is W_OK | X_OK of access(2).
const writeAccess = 0x2 | 0x1

// unwritable says why the file could not be replaced, before anything is tried. One that its owner has made read-only is not ours to replace, although a rename could.
func unwritable(file string, info os.FileInfo) string {
	if info.Mode().Perm()&0o200 == 0 {
		return "is read-only (no write permission for its owner)"
	}
	if err := syscall.Access(filepath.Dir(file), writeAccess); err != nil {
		return "stands in a folder in which this process may not write"
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to user %d, and user %d cannot keep its owner", stat.Uid, os.Geteuid())
	}
	return ""
}

// replace writes a file beside its place and renames it there.
func replace(file string, content []byte, owner *syscall.Stat_t) error {
	temporary := file + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that died
		return fmt.Errorf("write environment file: %w", err)
	}
	handle, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return fmt.Errorf("write environment file: %w", err)
	}
	_, err = handle.Write(content)
	if os.Geteuid() == 0 || int(owner.Gid) != os.Getegid() {
		err = errors.Join(err, handle.Chown(int(owner.Uid), int(owner.Gid)))
	}
	err = errors.Join(err, handle.Chmod(mode), handle.Sync(), handle.Close())
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("write environment file: %w", err)
	}
	return syncFolder(filepath.Dir(file))
}

// syncFolder makes a rename durable.
func syncFolder(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write environment file: %w", err)
	}
	defer handle.Close()
	if err := handle.Sync(); err != nil {
		return fmt.Errorf("write environment file: sync its folder: %w", err)
	}
	return nil
}
