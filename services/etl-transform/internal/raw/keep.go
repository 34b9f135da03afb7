package raw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// ErrTaken says that there is a file of that name already.
var ErrTaken = errors.New("the name is taken")

// Keeper adds a file durably and completely, or not at all. Of several at once for one name, one wins and the others get an error that wraps ErrTaken.
type Keeper interface {
	Add(ctx context.Context, name string, content []byte) error
}

// Sealer encrypts what is written; Close ends the stream.
type Sealer interface {
	Seal(to io.Writer) (io.WriteCloser, error)
}

// Keep packs content, encrypts it where the store's raw files are, and keeps it under a name that says so: name.zst or name.zst.age. A file that is there already is the same.
func (s *Store) Keep(ctx context.Context, name string, content []byte) (kept string, err error) {
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		return "", err
	}
	packed, kept := packer.EncodeAll(content, nil), name+".zst"
	if sealer, can := s.keys.(Sealer); can {
		var sealed bytes.Buffer
		w, err := sealer.Seal(&sealed)
		if err != nil {
			return "", err
		}
		if _, err = w.Write(packed); err == nil {
			err = w.Close()
		}
		if err != nil {
			return "", err
		}
		packed, kept = sealed.Bytes(), kept+sealedSuffix
	}
	if err := s.Add(ctx, kept, packed); err != nil && !errors.Is(err, ErrTaken) {
		return "", err
	}
	return kept, nil
}

// Add keeps a small file. Only etl-ingest writes raw files, but for what a month was when it was closed.
func (s *Store) Add(ctx context.Context, name string, content []byte) error {
	keeper, can := s.source.(Keeper)
	if !can {
		return fmt.Errorf("add raw file %s: this store can only be read", name)
	}
	if err := keeper.Add(ctx, name, content); err != nil {
		return fmt.Errorf("add raw file %s: %w", name, err)
	}
	return nil
}

// Remover removes a file with all that the store keeps of it. One that is not there is removed.
type Remover interface {
	Remove(ctx context.Context, name string) error
}

// Remove removes a raw file in whose place an erasure has put another one. It takes a right that loading does not have.
func (s *Store) Remove(ctx context.Context, name string) error {
	remover, can := s.source.(Remover)
	if !can {
		return fmt.Errorf("remove raw file %s: this store can only be read", name)
	}
	if err := remover.Remove(ctx, name); err != nil {
		return fmt.Errorf("remove raw file %s: %w", name, err)
	}
	return nil
}

var (
	_ Keeper  = Folder("")
	_ Remover = Folder("")
)

// Remove implements Remover.
func (f Folder) Remove(_ context.Context, name string) error {
	path := filepath.Join(string(f), filepath.FromSlash(name))
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(filepath.Dir(path)))
}

// Modes of what is kept, as etl-ingest has them: raw files never change.
const (
	dirMode  = 0o750
	fileMode = 0o440
)

// Add implements Keeper.
func (f Folder) Add(_ context.Context, name string, content []byte) error {
	to := filepath.Join(string(f), filepath.FromSlash(name))
	spool := filepath.Join(string(f), ".spool")
	for _, folder := range []string{spool, filepath.Dir(to)} {
		if err := os.MkdirAll(folder, dirMode); err != nil {
			return err
		}
	}
	draft, err := os.CreateTemp(spool, "record-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }() // of two names the durable one stays
	_, err = draft.Write(content)
	if err = errors.Join(err, draft.Chmod(fileMode), draft.Sync(), draft.Close()); err != nil {
		return err
	}
	err = os.Link(draft.Name(), to)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrTaken, name)
	}
	return errors.Join(err, syncDir(filepath.Dir(to)), syncDir(filepath.Dir(filepath.Dir(to))))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
