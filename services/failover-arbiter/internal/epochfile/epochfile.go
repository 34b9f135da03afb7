// Package epochfile keeps the highest epoch that a region has seen, in a file that survives a loss of power.
package epochfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ofitec/ofitec/events"
)

// name is the file within the data folder.
const name = "epoch"

// SmallerError is an epoch below the one that was seen before: its sender acts on the past.
type SmallerError struct{ Asked, Seen events.Epoch }

func (e *SmallerError) Error() string {
	return fmt.Sprintf("epoch %d is below epoch %d, which this region has seen", e.Asked, e.Seen)
}

// File is the open epoch file. It is safe for concurrent use in one process; incarnation's lock keeps other processes away.
type File struct {
	path string

	mu   sync.Mutex
	seen events.Epoch
}

// Open reads the file of a data folder; a missing one is epoch 0, a damaged one an error, for nobody may guess what it held.
func Open(dir string) (*File, error) {
	f := &File{path: filepath.Join(dir, name)}
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read epoch file: %w", err)
	}
	if f.seen, err = events.ParseEpoch(strings.TrimSuffix(string(content), "\n")); err != nil {
		return nil, fmt.Errorf("read epoch file %s: %w", f.path, err)
	}
	return f, nil
}

// Seen is the highest epoch so far, 0 when there was none.
func (f *File) Seen() events.Epoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// Raise records an epoch. It is on the disk when Raise returns nil. A smaller one than was seen is a *SmallerError, the same one does nothing.
func (f *File) Raise(epoch events.Epoch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if epoch < f.seen {
		return &SmallerError{Asked: epoch, Seen: f.seen}
	}
	if epoch == f.seen {
		return nil
	}
	if err := replace(f.path, epoch.String()+"\n"); err != nil {
		return fmt.Errorf("write epoch file: %w", err)
	}
	f.seen = epoch
	return nil
}

// replace writes a file so that a crash leaves the old content or the new, on the disk.
func replace(path, content string) error {
	temporary, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = temporary.WriteString(content)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
