// Package spool compresses what arrives, and encrypts it if that is wanted, into a file that has no lasting name yet. It streams: what is in memory does not grow with what arrives.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// forgotten is the age at which a file without a name is what a crash has left.
const forgotten = 24 * time.Hour

// Sealer encrypts and decrypts. It must be safe for concurrent use.
type Sealer interface {
	// Seal encrypts what is written; Close ends the stream.
	Seal(to io.Writer) (io.WriteCloser, error)
	// Open gives the plain bytes of what Seal has written.
	Open(from io.Reader) (io.Reader, error)
}

// SealedSuffix is what the name of an encrypted file ends with.
const SealedSuffix = ".age"

// Dir is a folder of files under way.
type Dir struct {
	Path string
	Seal Sealer // nil: nothing is encrypted
}

// Suffix is what a finished file's lasting name has to end with.
func (d Dir) Suffix() string {
	if d.Seal != nil {
		return ".zst" + SealedSuffix
	}
	return ".zst"
}

// File is being written. It is for one goroutine; Discard ends its life, whether or not it was finished.
type File struct {
	dir    Dir
	file   *os.File
	sealed io.WriteCloser // nil: written as it is
	frames *frames        // nil when writing has ended
}

// Create makes a file in the folder and the folder.
func (d Dir) Create() (*File, error) {
	if err := os.MkdirAll(d.Path, 0o750); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	file, err := os.CreateTemp(d.Path, "page-*"+d.Suffix())
	if err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	f := &File{dir: d, file: file}
	to := io.Writer(file)
	if d.Seal != nil {
		if f.sealed, err = d.Seal.Seal(file); err != nil {
			return nil, errors.Join(fmt.Errorf("make spool: %w", err), file.Close(), os.Remove(file.Name()))
		}
		to = f.sealed
	}
	f.frames = newFrames(to)
	return f, nil
}

// Write implements io.Writer; it takes plain bytes.
func (f *File) Write(p []byte) (int, error) { return f.frames.Write(p) }

// end ends the streams.
func (f *File) end() error {
	err := f.frames.Close()
	f.frames = nil
	if f.sealed != nil {
		err = errors.Join(err, f.sealed.Close())
	}
	return err
}

// Finish ends the compressed stream and makes it durable. The path is good until Discard.
func (f *File) Finish() (path string, err error) {
	if err := errors.Join(f.end(), f.file.Sync(), f.file.Close()); err != nil {
		return "", fmt.Errorf("finish spooled page: %w", err)
	}
	return f.file.Name(), nil
}

// Content gives the plain bytes back, which ends writing if that has not ended. It may be called before Discard only.
func (f *File) Content() (io.ReadCloser, error) {
	if f.frames != nil {
		if err := errors.Join(f.end(), f.file.Close()); err != nil {
			return nil, fmt.Errorf("end spooled page: %w", err)
		}
	}
	file, err := os.Open(f.file.Name())
	if err != nil {
		return nil, fmt.Errorf("read spooled page: %w", err)
	}
	return f.dir.Plain(file, file.Name())
}

// Plain gives the plain bytes of a finished file, which it closes in the end. Its name tells whether it is encrypted.
func (d Dir) Plain(file io.ReadCloser, name string) (io.ReadCloser, error) {
	from := io.Reader(file)
	if strings.HasSuffix(name, SealedSuffix) {
		if d.Seal == nil {
			return nil, errors.Join(errors.New("the file is encrypted: set OFITEC_RAW_KEY_FILE"), file.Close())
		}
		var err error
		if from, err = d.Seal.Open(from); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	decoder, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &content{decoder.IOReadCloser(), file}, nil
}

type content struct {
	io.ReadCloser
	file io.Closer
}

func (c *content) Close() error {
	return errors.Join(c.ReadCloser.Close(), c.file.Close())
}

// Discard removes the file under its passing name.
func (f *File) Discard() {
	if f.frames != nil {
		f.frames.abandon()
		f.frames = nil
		_ = f.file.Close() // it goes away
	}
	_ = os.Remove(f.file.Name()) // Sweep finds what stays
}

// Sweep removes what crashes have left in the folder, and says how many files.
func Sweep(dir string, now time.Time) int {
	paths, _ := filepath.Glob(filepath.Join(dir, "*")) // the pattern is sound
	removed := 0
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > forgotten && os.Remove(path) == nil {
			removed++
		}
	}
	return removed
}
