package raw

import (
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/ofitec/ofitec/services/etl-transform/internal/seal"
)

// sealedFile writes a raw file as etl-ingest does, and gives the key.
func sealedFile(t *testing.T, path, content string) (key string) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := age.Encrypt(file, identity.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := zstd.NewWriter(out)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(packed, content)
	if err := errors.Join(err, packed.Close(), out.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return identity.String()
}

func TestAnEncryptedFileIsReadWithItsKeyAndWaitsWithoutIt(t *testing.T) {
	dir := t.TempDir()
	key := sealedFile(t, filepath.Join(dir, "x.csv.zst.age"), "id\n1\n")
	other := sealedFile(t, filepath.Join(dir, "y.csv.zst.age"), "id\n2\n")
	open := func(ring string) (string, error) {
		folder := OpenFolder(&url.URL{Scheme: "file", Path: dir})
		store := New(folder.URL(), folder)
		if ring != "" {
			keys, err := seal.Parse(ring)
			if err != nil {
				t.Fatal(err)
			}
			store.WithKeys(keys)
		}
		file, err := store.Open(t.Context(), folder.URL()+"/x.csv.zst.age")
		if err != nil {
			return "", err
		}
		defer func() { _ = file.Close() }() // only read
		content, err := io.ReadAll(file)
		return string(content), err
	}
	if got, err := open(other + "\n" + key + "\n"); err != nil || got != "id\n1\n" {
		t.Errorf("with the key among others: %q, %v", got, err)
	}
	for name, ring := range map[string]string{"no key": "", "another key": other} {
		if _, err := open(ring); !errors.Is(err, ErrAway) {
			t.Errorf("%s: %v is not something to wait for", name, err)
		}
	}
	path := filepath.Join(dir, "x.csv.zst.age")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-3] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(key); err == nil || errors.Is(err, ErrAway) {
		t.Errorf("a damaged file: %v", err)
	}
}
