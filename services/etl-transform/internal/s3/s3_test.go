package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/s3"
)

const user, password = "ofitec-root", "not-a-secret-but-long-enough"

// startMinIO runs the MinIO that `ofitec setup` has built, with a bucket.
func startMinIO(t *testing.T) (string, *minio.Client) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real server")
	}
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "minio-*", "minio")) // the pattern is sound
	if len(built) == 0 {
		t.Skip("MinIO is not built yet (ofitec setup builds it)")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
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
			return "http://" + address, client
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestRawFilesAreReadFromABucketAndNothingOutsideThePrefix(t *testing.T) {
	endpoint, client := startMinIO(t)
	put := func(name string, content []byte) {
		t.Helper()
		if _, err := client.PutObject(t.Context(), "ofitec-raw", name, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	encoder, _ := zstd.NewWriter(&packed)
	if _, err := encoder.Write([]byte("id\n1\n")); err != nil || encoder.Close() != nil {
		t.Fatal(err)
	}
	put("raw/invoice/dt=2026-11-24/x.csv.zst", packed.Bytes())
	put("raw/invoice/y.csv", []byte("id\n2\n"))
	put("other/secret.csv", []byte("id\n3\n"))
	source, err := s3.Open(&url.URL{Scheme: "s3", Host: "ofitec-raw", Path: "/raw/"}, s3.Access{Endpoint: endpoint, Region: "us-east-1", AccessKey: user, SecretKey: password})
	if err != nil {
		t.Fatal(err)
	}
	store := raw.New(source.URL(), source)
	for address, want := range map[string]string{"s3://ofitec-raw/raw/invoice/dt=2026-11-24/x.csv.zst": "id\n1\n", "s3://ofitec-raw/raw/invoice/y.csv": "id\n2\n"} {
		file, err := store.Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(file)
		if err != nil || string(content) != want || file.Close() != nil {
			t.Errorf("%s is %q: %v", address, content, err)
		}
	}
	for _, address := range []string{"s3://ofitec-raw/other/secret.csv", "s3://ofitec-raw/raw/../other/secret.csv", "file:///etc/passwd", "s3://ofitec-raw/raw/"} {
		if _, err := store.Open(t.Context(), address); err == nil || !strings.Contains(err.Error(), "not below OFITEC_RAW_URL") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := store.Open(t.Context(), "s3://ofitec-raw/raw/invoice/z.csv"); !errors.Is(err, raw.ErrNotThere) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := store.Add(t.Context(), "close/a.csv", []byte("id\n4\n")); err != nil {
		t.Error(err)
	}
	if err := store.Add(t.Context(), "close/a.csv", []byte("id\n5\n")); !errors.Is(err, raw.ErrTaken) {
		t.Errorf("a name is given twice: %v", err)
	}
	if content, _, err := store.Read(t.Context(), "close/a.csv"); err != nil || string(content) != "id\n4\n" {
		t.Errorf("what was kept is %q: %v", content, err)
	}
	if _, found, err := store.Read(t.Context(), "_manifest/1"); found || err != nil {
		t.Errorf("a small file that is not there: %t %v", found, err)
	}
}
