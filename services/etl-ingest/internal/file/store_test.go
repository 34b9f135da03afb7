package file

import (
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

func open(t *testing.T, folder string) *Store {
	t.Helper()
	store, err := Open(&url.URL{Scheme: "file", Path: folder})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestOfManyWhoAddOneNameOneWins(t *testing.T) {
	folder := t.TempDir()
	var added atomic.Int64
	var writers sync.WaitGroup
	for n := range 8 {
		store := open(t, folder)
		writers.Go(func() {
			err := store.Add(t.Context(), "_manifest/000000/1.json", []byte{'0' + byte(n)})
			switch {
			case err == nil:
				added.Add(1)
			case !errors.Is(err, manifest.ErrExists):
				t.Errorf("writer %d: %v", n, err)
			}
		})
	}
	writers.Wait()
	if added.Load() != 1 {
		t.Errorf("%d writers have added it", added.Load())
	}
	if content, found, err := open(t, folder).Read(t.Context(), "_manifest/000000/1.json"); !found || err != nil || len(content) != 1 {
		t.Errorf("%q %v %v", content, found, err)
	}
}

func TestWhatWasPutIsReadBackAndTakenNamesStay(t *testing.T) {
	store := open(t, t.TempDir())
	if err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "another"} {
		if err := os.MkdirAll(store.SpoolDir(), 0o750); err != nil {
			t.Fatal(err)
		}
		from := filepath.Join(store.SpoolDir(), content)
		if err := os.WriteFile(from, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := store.Put(t.Context(), "invoice/dt=2026-11-24/x.csv.zst", from); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := store.Get(t.Context(), "invoice/dt=2026-11-24/x.csv.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }() // only read
	if got, err := io.ReadAll(raw); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(store.root, "invoice/dt=2026-11-24/x.csv.zst"))
	if err != nil || info.Mode().Perm() != fileMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAFolderThatCannotBeWrittenIsSaid(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "raw"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(&url.URL{Scheme: "file", Path: filepath.Join(folder, "raw")}); err == nil {
		t.Error("a file was taken for a folder")
	}
	if _, err := Open(&url.URL{Scheme: "file", Host: "elsewhere", Path: "/raw"}); err == nil {
		t.Error("a host was taken for a folder")
	}
}
