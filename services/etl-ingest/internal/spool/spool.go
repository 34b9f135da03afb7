// Package spool compresses what arrives into a file that has no lasting name yet. It streams: what is in memory does not grow with what arrives.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// forgotten is the age at which a file without a name is what a crash has left.
const forgotten = 24 * time.Hour

// encoders are used again, since each has megabytes of tables.
var encoders = sync.Pool{New: func() any {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return encoder
}}

// File is being written. It is for one goroutine; Discard ends its life, whether or not it was finished.
type File struct {
	file    *os.File
	encoder *zstd.Encoder
}

// Create makes a file in the folder and the folder.
func Create(dir string) (*File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	file, err := os.CreateTemp(dir, "page-*.zst")
	if err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	encoder := encoders.Get().(*zstd.Encoder)
	encoder.Reset(file)
	return &File{file: file, encoder: encoder}, nil
}

// Write implements io.Writer; it takes plain bytes.
func (f *File) Write(p []byte) (int, error) { return f.encoder.Write(p) }

// Finish ends the compressed stream and makes it durable. The path is good until Discard.
func (f *File) Finish() (path string, err error) {
	err = f.encoder.Close()
	f.release()
	if err := errors.Join(err, f.file.Sync(), f.file.Close()); err != nil {
		return "", fmt.Errorf("finish spooled page: %w", err)
	}
	return f.file.Name(), nil
}

// Content gives the plain bytes back, which ends writing if that has not ended. It may be called before Discard only.
func (f *File) Content() (io.ReadCloser, error) {
	if f.encoder != nil {
		err := f.encoder.Close()
		f.release()
		if err := errors.Join(err, f.file.Close()); err != nil {
			return nil, fmt.Errorf("end spooled page: %w", err)
		}
	}
	file, err := os.Open(f.file.Name())
	if err != nil {
		return nil, fmt.Errorf("read spooled page: %w", err)
	}
	decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &content{decoder.IOReadCloser(), file}, nil
}

type content struct {
	io.ReadCloser
	file *os.File
}

func (c *content) Close() error {
	return errors.Join(c.ReadCloser.Close(), c.file.Close())
}

// Discard removes the file under its passing name.
func (f *File) Discard() {
	if f.encoder != nil {
		f.release()
		_ = f.file.Close() // it goes away
	}
	_ = os.Remove(f.file.Name()) // Sweep finds what stays
}

func (f *File) release() {
	if f.encoder != nil {
		f.encoder.Reset(nil)
		encoders.Put(f.encoder)
		f.encoder = nil
	}
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
