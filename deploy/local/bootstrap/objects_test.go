package bootstrap_test

import (
	"bytes"
	"context"
	"net/http"
	"os/exec"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// objects starts the object store and gives its address.
func (s *stage) objects(t *testing.T) string {
	t.Helper()
	program := find(t, servers.MinIO)
	dir := s.layout.OutsideIdentityDir("minio")
	address := s.layout.Addressing.Outside + ":9000"
	cmd := exec.Command(program, "server", "--quiet", "--address", address, "--certs-dir", dir+"/certs", s.layout.OutsideDir("minio")+"/data")
	cmd.Env = []string{"HOME=" + s.layout.Root, "MINIO_BROWSER=off", "MINIO_ROOT_USER_FILE=" + dir + "/root-user", "MINIO_ROOT_PASSWORD_FILE=" + dir + "/root-password"}
	start(t, cmd)
	eventually(t, "minio listens", listening(address))
	return address
}

func TestARegionAddsAndReadsRawFilesAndDeletesNone(t *testing.T) {
	s := newStage(t)
	address := s.objects(t)
	for range 2 {
		eventually(t, "objects", func(ctx context.Context) error { return bootstrap.Objects(ctx, s.layout, address, s.tls) })
	}
	dir := s.layout.IdentityDir(layout.B, "etl-ingest")
	open := func(secret string) *minio.Client {
		client, err := minio.New(address, &minio.Options{
			Creds: credentials.NewStaticV4(string(read(t, dir+"/s3-access-key")), secret, ""), Secure: true, Region: "us-east-1", Transport: &http.Transport{TLSClientConfig: s.tls},
		})
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	client := open(string(read(t, dir+"/s3-secret-key")))
	put := func(text string) (minio.UploadInfo, error) {
		return client.PutObject(t.Context(), bootstrap.RawBucket, "raw/partner/1", bytes.NewReader([]byte(text)), int64(len(text)), minio.PutObjectOptions{})
	}
	first, err := put("one")
	if err != nil || first.VersionID == "" {
		t.Fatalf("add: version %q, %v", first.VersionID, err)
	}
	if second, err := put("two"); err != nil || second.VersionID == first.VersionID {
		t.Errorf("what was written first has no version of its own any more: %v", err)
	}
	if _, err := client.StatObject(t.Context(), bootstrap.RawBucket, "raw/partner/1", minio.StatObjectOptions{}); err != nil {
		t.Errorf("read: %v", err)
	}
	for what, err := range map[string]error{
		"delete":         client.RemoveObject(t.Context(), bootstrap.RawBucket, "raw/partner/1", minio.RemoveObjectOptions{}),
		"delete version": client.RemoveObject(t.Context(), bootstrap.RawBucket, "raw/partner/1", minio.RemoveObjectOptions{VersionID: first.VersionID}),
		"suspend":        client.SuspendVersioning(t.Context(), bootstrap.RawBucket),
		"other bucket":   client.MakeBucket(t.Context(), "mine", minio.MakeBucketOptions{}),
		"wrong secret": func() error {
			_, err := open("wrong-secret").BucketExists(t.Context(), bootstrap.RawBucket)
			return err
		}(),
	} {
		if code := minio.ToErrorResponse(err).Code; code != "AccessDenied" && code != "SignatureDoesNotMatch" && minio.ToErrorResponse(err).StatusCode != 403 {
			t.Errorf("%s: want a refusal, got %v", what, err)
		}
	}
}
