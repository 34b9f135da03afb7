// Package raw reads the raw store: files that are named by their content and never change, and the manifest beside them.
package raw

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

	"github.com/klauspost/compress/zstd"

	"github.com/ofitec/ofitec/services/etl-transform/internal/seal"
)

// ErrNotThere says that the store has no such file.
var ErrNotThere = errors.New("no such file")

// ErrAway says that the store did not give what it may well have: nothing is wrong with the file, and trying again is of use.
var ErrAway = errors.New("the raw store does not answer")

// Source gives a file's bytes as they are kept, by its name from the store's root. The error wraps ErrNotThere when there is none.
type Source interface {
	Get(ctx context.Context, name string) (io.ReadCloser, error)
}

// Store is a raw store with its URL, of which only what is below it is read. It is safe for concurrent use.
type Store struct {
	root   string
	source Source
	keys   Keys // nil: encrypted files cannot be read
}

// Keys decrypt raw files whose names end in .age.
type Keys interface {
	Open(from io.Reader) (io.Reader, error)
}

// WithKeys gives the store what encrypted files are opened with; before it is used.
func (s *Store) WithKeys(k Keys) *Store {
	s.keys = k
	return s
}

// New makes a store of its URL and what reads below it.
func New(root string, source Source) *Store {
	return &Store{root: strings.TrimRight(root, "/"), source: source}
}

// Open gives the plain bytes of a raw file by its URL. Whoever announces a file outside the store is refused.
func (s *Store) Open(ctx context.Context, address string) (io.ReadCloser, error) {
	name, below := strings.CutPrefix(address, s.root+"/")
	if !below || strings.Contains("/"+name+"/", "/../") || name == "" {
		return nil, fmt.Errorf("open raw file %s: it is not below OFITEC_RAW_URL, %s", address, s.root)
	}
	got, err := s.source.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open raw file %s: %w", address, away(err))
	}
	file := stream{got}
	plain, err := s.decrypted(file, name)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("open raw file %s: %w", address, err)
	}
	if !strings.HasSuffix(strings.TrimSuffix(name, sealedSuffix), ".zst") {
		return parts{plain, file}, nil
	}
	decoder, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("open raw file %s: %w", address, err)
	}
	return &unpacked{Decoder: decoder, file: file}, nil
}

// sealedSuffix is what the name of an encrypted file ends with.
const sealedSuffix = ".age"

// decrypted undoes the encryption. A key that is missing is no fault of the file: it can be loaded when the key is there.
func (s *Store) decrypted(file io.Reader, name string) (io.Reader, error) {
	if !strings.HasSuffix(name, sealedSuffix) {
		return file, nil
	}
	if s.keys == nil {
		return nil, away(errors.New("it is encrypted, and OFITEC_RAW_KEY_FILE is not set"))
	}
	plain, err := s.keys.Open(file)
	if errors.Is(err, seal.ErrNoKey) {
		return nil, away(err)
	}
	return plain, err
}

// parts reads from one and closes the other.
type parts struct {
	io.Reader
	io.Closer
}

func away(err error) error {
	if errors.Is(err, ErrNotThere) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

// stream is a file that may break off while it is read.
type stream struct{ io.ReadCloser }

// Read implements io.Reader.
func (s stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = away(err)
	}
	return n, err
}

// unpacked closes both ends.
type unpacked struct {
	*zstd.Decoder
	file io.Closer
}

func (u *unpacked) Close() error {
	u.Decoder.Close()
	return u.file.Close()
}

// Read gives a small file; false when there is none.
func (s *Store) Read(ctx context.Context, name string) ([]byte, bool, error) {
	file, err := s.source.Get(ctx, name)
	if errors.Is(err, ErrNotThere) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, away(err))
	}
	defer file.Close()
	content, err := io.ReadAll(stream{file})
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	return content, true, nil
}

// URL is the store's root without a slash at its end.
func (s *Store) URL() string { return s.root }

// Folder is a source on this machine.
type Folder string

// OpenFolder gives the source of a URL file:///folder.
func OpenFolder(u *url.URL) Folder { return Folder(filepath.Clean(u.Path)) }

// URL is the folder's.
func (f Folder) URL() string { return (&url.URL{Scheme: "file", Path: string(f)}).String() }

// Get implements Source.
func (f Folder) Get(_ context.Context, name string) (io.ReadCloser, error) {
	unescaped, err := url.PathUnescape(name)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(unescaped)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return file, err
}
