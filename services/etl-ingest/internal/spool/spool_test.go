package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// xor is an encryption for tests.
type xor struct{}

type xorWriter struct{ to io.Writer }

func (w xorWriter) Write(p []byte) (int, error) {
	turned := bytes.Clone(p)
	for n := range turned {
		turned[n] ^= 0x55
	}
	return w.to.Write(turned)
}

func (w xorWriter) Close() error {
	_, err := w.Write([]byte{'.'}) // an end that must be there
	return err
}

func (xor) Seal(to io.Writer) (io.WriteCloser, error) { return xorWriter{to}, nil }

func (xor) Open(from io.Reader) (io.Reader, error) {
	all, err := io.ReadAll(from)
	for n := range all {
		all[n] ^= 0x55
	}
	if err == nil && (len(all) == 0 || all[len(all)-1] != '.') {
		return nil, errors.New("there is no end")
	}
	return bytes.NewReader(all[:len(all)-1]), err
}

func TestWhatIsWrittenComesBackWhateverItsSize(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, d := range []Dir{{Path: t.TempDir()}, {Path: t.TempDir(), Seal: xor{}}} {
		for _, size := range []int{0, 1, frameSize - 1, frameSize, frameSize + 1, 7*frameSize + 12345} {
			content := make([]byte, size)
			for n := range content {
				content[n] = byte('a' + random.IntN(5))
			}
			f, err := d.Create()
			if err != nil {
				t.Fatal(err)
			}
			for rest := content; len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(300_000))
				if _, err := f.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			path, err := f.Finish()
			if err != nil {
				t.Fatal(err)
			}
			plain, err := f.Content()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(plain)
			if err := errors.Join(err, plain.Close()); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, sealed %v: %d came back, %v", size, d.Seal != nil, len(got), err)
			}
			if d.Seal == nil {
				mustBeZstd(t, path, content)
			}
			f.Discard()
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it was discarded: %v", err)
			}
		}
	}
}

// mustBeZstd reads the file as any other program does, with a decoder that was not set up for it.
func mustBeZstd(t *testing.T, path string, want []byte) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	if got, err := decoder.DecodeAll(file, nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(want), err)
	}
}

type full struct{ left int }

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestAFullDiskIsSaidAndNothingHangs(t *testing.T) {
	noise := make([]byte, 20*frameSize)
	random := rand.New(rand.NewPCG(1, 2))
	for n := range noise {
		noise[n] = byte(random.Uint32())
	}
	f := newFrames(&full{left: 5 * frameSize})
	_, err := f.Write(noise)
	if err == nil {
		err = f.Close()
	} else {
		f.abandon()
	}
	if !errors.Is(err, errFull) {
		t.Errorf("it says %v", err)
	}
}

func TestAnEncryptedFileNeedsItsKey(t *testing.T) {
	f, err := Dir{Path: t.TempDir(), Seal: xor{}}.Create()
	if err != nil {
		t.Fatal(err)
	}
	path, err := f.Finish()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Dir{}).Plain(file, path); err == nil {
		t.Error("it was opened without a key")
	}
}
