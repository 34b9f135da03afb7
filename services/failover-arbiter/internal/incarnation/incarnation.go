// Package incarnation gives a process its name and makes sure that it is alone on its data folder: whoever holds the folder knows that the process which
// held it before is dead, and with it its mandate.
package incarnation

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// The files within the data folder.
const (
	lockName   = "lock"
	folderName = "folder"
)

// ErrTaken says that another process holds the data folder.
var ErrTaken = errors.New("another failover-arbiter runs on this data folder")

// Incarnation is a process that holds its data folder until it ends or Release is called.
type Incarnation struct {
	mandate.Incarnation
	lock *os.File
}

// Claim takes the folder, which is made with mode 0700 when it is missing. It does not wait: the error wraps ErrTaken when another process has it. The
// kernel gives the lock back when the process ends, however it ends.
func Claim(dir string) (*Incarnation, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrTaken
		}
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	folder, err := folderID(filepath.Join(dir, folderName))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Incarnation{mandate.Incarnation{Folder: folder, Process: token()}, lock}, nil
}

// Release gives the folder back.
func (i *Incarnation) Release() error { return i.lock.Close() }

// folderID reads the folder's name or invents it.
func folderID(path string) (string, error) {
	content, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(content)); err == nil && id != "" && !strings.Contains(id, ".") {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read folder's name: %w", err)
	}
	id := token()
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write folder's name: %w", err)
	}
	return id, nil
}

func token() string { return strings.ToLower(rand.Text()[:13]) }
