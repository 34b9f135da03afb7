// Package file keeps raw files and manifest in a folder: complete and durable under their names, or not there.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

const (
	dirMode  = 0o750
	fileMode = 0o440 // raw files never change
)

// Store is a folder. It is safe for concurrent use, by several processes too.
type Store struct {
	root string
	url  string
}

var _ manifest.Shelf = (*Store)(nil)

// Open opens the folder of a URL file:///folder and makes it.
func Open(u *url.URL) (*Store, error) {
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return nil, fmt.Errorf("open raw store %s: want file:///folder", u)
	}
	s := &Store{root: filepath.Clean(u.Path)}
	s.url = (&url.URL{Scheme: "file", Path: s.root}).String()
	if err := s.makeDir(s.root); err != nil {
		return nil, fmt.Errorf("open raw store: %w", err)
	}
	// The last record may be that of a writer who died between giving it its name and making that durable; whoever reads it relies on it.
	if folders, _ := filepath.Glob(s.path("_manifest/*")); len(folders) > 0 { // the pattern is sound
		if err := syncDir(folders[len(folders)-1]); err != nil {
			return nil, fmt.Errorf("open raw store: %w", err)
		}
	}
	return s, nil
}

// URL is the store's root without a slash at its end.
func (s *Store) URL() string { return s.url }

// SpoolDir is on the same file system, so that Put can give a file its name without copying it.
func (s *Store) SpoolDir() string { return filepath.Join(s.root, ".spool") }

// Put gives a finished file its name. The content of a name never changes, so a name that is taken is what was wanted. The file at from stays.
func (s *Store) Put(_ context.Context, name, from string) error {
	err := s.link(from, name)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store raw file %s: %w", name, err)
	}
	return nil
}

// Add implements manifest.Shelf.
func (s *Store) Add(_ context.Context, name string, content []byte) error {
	if err := s.makeDir(s.SpoolDir()); err != nil {
		return err
	}
	draft, err := os.CreateTemp(s.SpoolDir(), "record-*")
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	defer func() { _ = os.Remove(draft.Name()) }() // of two names the durable one stays
	_, err = draft.Write(content)
	err = errors.Join(err, draft.Sync(), draft.Close())
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	err = s.link(draft.Name(), name)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", name, manifest.ErrExists)
	}
	return err
}

// Read implements manifest.Shelf.
func (s *Store) Read(_ context.Context, name string) ([]byte, bool, error) {
	content, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return content, err == nil, err
}

// Get opens a raw file.
func (s *Store) Get(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(s.path(name))
}

// Check says whether the store can take a file.
func (s *Store) Check(context.Context) error {
	if err := s.makeDir(s.SpoolDir()); err != nil {
		return err
	}
	probe, err := os.CreateTemp(s.SpoolDir(), "check-*")
	if err != nil {
		return fmt.Errorf("try raw store: %w", err)
	}
	_, err = probe.WriteString("ok")
	if err := errors.Join(err, probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("try raw store: %w", err)
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// link gives a synced file its second, lasting name, which fails when the name is taken, and makes that durable.
func (s *Store) link(from, name string) error {
	to := s.path(name)
	if err := s.makeDir(filepath.Dir(to)); err != nil {
		return err
	}
	if err := os.Chmod(from, fileMode); err != nil {
		return err
	}
	err := os.Link(from, to)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A name that is taken may be that of a writer who died before this.
	return errors.Join(err, syncDir(filepath.Dir(to)))
}

// makeDir makes a folder and those above it, each durable in the one above it.
func (s *Store) makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	for above := filepath.Dir(dir); ; above = filepath.Dir(above) {
		if err := syncDir(above); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if len(above) <= len(s.root) || above == filepath.Dir(above) {
			return nil
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
