package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/s3"
)

const user, password = "ofitec-root", "not-a-secret-but-long-enough"

// startMinIO runs the MinIO that `ofitec setup` has built, and makes a bucket.
func startMinIO(t *testing.T) (endpoint string) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real server is started")
	}
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "minio-*", "minio")) // the pattern is well formed
	if len(built) == 0 {
		t.Skip("MinIO is not built yet (ofitec setup builds it)")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close() // it only found a port
	server := exec.Command(built[0], "server", "--quiet", "--address", address, t.TempDir())
	server.Env = []string{"MINIO_ROOT_USER=" + user, "MINIO_ROOT_PASSWORD=" + password, "MINIO_BROWSER=off", "HOME=" + t.TempDir()}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended
		_ = server.Wait()         // its status does not matter
	})
	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(user, password, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := client.MakeBucket(t.Context(), "ofitec-raw", minio.MakeBucketOptions{})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if err := client.EnableVersioning(t.Context(), "ofitec-raw"); err != nil {
		t.Fatal(err)
	}
	return "http://" + address
}

func open(t *testing.T, endpoint string) *s3.Store {
	t.Helper()
	store, err := s3.Open(&url.URL{Scheme: "s3", Host: "ofitec-raw", Path: "/raw"}, s3.Access{Endpoint: endpoint, Region: "us-east-1", AccessKey: user, SecretKey: password, Spool: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestOfManyWhoAddOneNameOneWins(t *testing.T) {
	store := open(t, startMinIO(t))
	var added atomic.Int64
	var writers sync.WaitGroup
	for n := range 8 {
		writers.Go(func() {
			err := store.Add(t.Context(), "_manifest/1", []byte{'0' + byte(n)})
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
}

func TestWhatWasPutIsReadBackAndTakenNamesStay(t *testing.T) {
	store := open(t, startMinIO(t))
	if err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found, err := store.Read(t.Context(), "nothing"); found || err != nil {
		t.Errorf("nothing: %v %v", found, err)
	}
	for _, content := range [][]byte{bytes.Repeat([]byte("0123456789abcdef"), 1<<20), []byte("another")} {
		path := filepath.Join(t.TempDir(), "page")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := store.Put(t.Context(), "invoice/dt=2026-11-24/x.csv.zst", path); err != nil {
			t.Fatal(err)
		}
	}
	file, err := store.Get(t.Context(), "invoice/dt=2026-11-24/x.csv.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // only read
	got, err := io.ReadAll(file)
	if err != nil || len(got) != 16<<20 {
		t.Errorf("%d bytes, %v; want what was put first", len(got), err)
	}
}

func TestAStoreThatIsAwaySaysSo(t *testing.T) {
	store := open(t, "http://127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := store.Check(ctx); err == nil {
		t.Error("the check passes")
	}
	if err := store.Add(ctx, "x", []byte("x")); err == nil || errors.Is(err, manifest.ErrExists) {
		t.Errorf("add: %v", err)
	}
	if _, found, err := store.Read(ctx, "x"); found || err == nil {
		t.Errorf("read: %v %v; a store that is away is not an empty one", found, err)
	}
}
