package bootstrap_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// minio starts the object store as the stack does.
func (s *stage) minio(t *testing.T) string {
	t.Helper()
	dir := s.layout.OutsideIdentityDir("minio")
	address := fmt.Sprintf("%s:%d", s.layout.Addressing.Outside, layout.PortObjects)
	cmd := exec.Command(find(t, servers.MinIO), "server", "--quiet", "--address", address, "--certs-dir", dir+"/certs", s.layout.OutsideDir("minio"))
	cmd.Env = []string{"HOME=" + t.TempDir(), "MINIO_BROWSER=off", "MINIO_ROOT_USER_FILE=" + dir + "/root-user", "MINIO_ROOT_PASSWORD_FILE=" + dir + "/root-password"}
	start(t, cmd)
	return address
}

func (s *stage) s3(t *testing.T, address, user, password string) *minio.Client {
	t.Helper()
	client, err := minio.New(address, &minio.Options{
		Creds: credentials.NewStaticV4(user, password, ""), Secure: true, MaxRetries: 1, Transport: &http.Transport{TLSClientConfig: s.tls},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestARegionAddsAndReadsRawFilesAndDeletesNone(t *testing.T) {
	s := newStage(t)
	address := s.minio(t)
	eventually(t, "bucket and users", func(ctx context.Context) error { return bootstrap.Objects(ctx, s.layout, address, s.tls) })
	ctx := t.Context()
	const bucket, name = "ofitec-raw", "raw/invoices/dt=2026-01-01/1.csv.zst"
	add := func(client *minio.Client, content string) error {
		_, err := client.PutObject(ctx, bucket, name, bytes.NewReader([]byte(content)), int64(len(content)), minio.PutObjectOptions{})
		return err
	}
	for _, r := range layout.DataRegions {
		secret, err := os.ReadFile(filepath.Join(s.layout.IdentityDir(r, "etl-ingest"), "s3-secret-key"))
		if err != nil {
			t.Fatal(err)
		}
		user, err := os.ReadFile(filepath.Join(s.layout.IdentityDir(r, "etl-ingest"), "s3-access-key"))
		if err != nil {
			t.Fatal(err)
		}
		client := s.s3(t, address, string(user), string(secret))
		if err := add(client, "from "+string(r)); err != nil {
			t.Fatalf("region %s adds: %v", r, err)
		}
		object, err := client.GetObject(ctx, bucket, name, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(object); err != nil || string(content) != "from "+string(r) {
			t.Errorf("region %s reads %q, %v", r, content, err)
		}
		for what, err := range map[string]error{
			"delete":             client.RemoveObject(ctx, bucket, name, minio.RemoveObjectOptions{}),
			"make a bucket":      client.MakeBucket(ctx, "foreign", minio.MakeBucketOptions{}),
			"remove the bucket":  client.RemoveBucket(ctx, bucket),
			"suspend versioning": client.SuspendVersioning(ctx, bucket),
		} {
			if minio.ToErrorResponse(err).Code != "AccessDenied" {
				t.Errorf("region %s may %s: %v", r, what, err)
			}
		}
	}
	if err := add(s.s3(t, address, "ofitec-a", "wrong-password-of-region-a"), "x"); err == nil {
		t.Error("a wrong secret opens the store")
	}
	if err := bootstrap.Objects(ctx, s.layout, address, s.tls); err != nil {
		t.Errorf("the second time: %v", err)
	}
	password, _ := os.ReadFile(filepath.Join(s.layout.OutsideIdentityDir("minio"), "root-password"))
	versions := 0
	for range s.s3(t, address, "ofitec-root", string(password)).ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
		versions++
	}
	if versions != len(layout.DataRegions) {
		t.Errorf("%d versions are kept of a file written twice", versions)
	}
}
