package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Owner is a user of the operating system by numbers.
type Owner struct{ UID, GID int }

// Owners maps a component's name to its user. A component that is missing, or a nil map, means the current user.
type Owners map[string]Owner

// of is the owner's numbers as chown takes them: -1 leaves what is.
func (o Owners) of(component string) Owner {
	if owner, ok := o[component]; ok {
		return owner
	}
	return Owner{-1, -1}
}

// damaged says that a file is not what it should be, and what to do about it.
func damaged(path, what, wayOut string) error {
	return fmt.Errorf("identity file %s is damaged: %s; %s", path, what, wayOut)
}

// makeDir makes a folder that only its owner enters. The folders above it may be passed by everybody.
func makeDir(path string, owner Owner) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // those above; the folder itself gets its mode below
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	return own(path, 0o700, owner)
}

// own gives what is there to its owner. It follows no link: the folders belong to users who could plant one.
func own(path string, mode fs.FileMode, owner Owner) error {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open identity: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := errors.Join(file.Chmod(mode), file.Chown(owner.UID, owner.GID)); err != nil {
		return fmt.Errorf("give %s to its user: %w", path, err)
	}
	return nil
}

// read returns a file's content; found is false when there is none.
func read(path string) (content []byte, found bool, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read identity: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("read identity: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > 1<<20 {
		return nil, false, damaged(path, "it is not a small plain file", "remove it and start again")
	}
	var buffer bytes.Buffer
	if _, err := buffer.ReadFrom(file); err != nil {
		return nil, false, fmt.Errorf("read identity: %w", err)
	}
	return buffer.Bytes(), true, nil
}

// write replaces a file atomically and durably: after a crash there is the old one or the new one, whole.
func write(path string, content []byte, mode fs.FileMode, owner Owner) error {
	dir := filepath.Dir(path)
	// One name, so that a crash leaves no more than one; made anew, so that nobody can have put a link there.
	temporary := filepath.Join(dir, "."+filepath.Base(path)+".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write identity: %w", err)
	}
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	defer func() { _ = os.Remove(temporary) }()
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(mode), file.Chown(owner.UID, owner.GID), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write identity %s: %w", path, err)
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// WriteFile is how other packages put a file into an identity folder: whole or not at all, 0600, the component's own.
func WriteFile(path string, content []byte, owners Owners, component string) error {
	return write(path, content, 0o600, owners.of(component))
}

// same keeps a file that has the content, makes it when it is missing, and refuses one that differs: two copies of a secret that
// disagree cannot both be right, and writing over one could lose the only good one.
func same(path string, content []byte, mode fs.FileMode, owner Owner, source string) error {
	found, ok, err := read(path)
	if err != nil {
		return err
	}
	if !ok {
		return write(path, content, mode, owner)
	}
	if !bytes.Equal(found, content) {
		return damaged(path, "it differs from "+source, "remove the one of the two that is wrong and start again")
	}
	return own(path, mode, owner)
}
