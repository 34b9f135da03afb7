package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/secure-io/sio-go"
	"golang.org/x/crypto/argon2"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

const minioRoot, minioPassword = "root-of-the-test", "password-of-the-test"

// minio is a real object store with AssumeRole, a bucket, and users that may do everything in it.
type minio struct{ url string }

func startMinIO(t *testing.T) minio {
	t.Helper()
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "minio-*", "minio")) // the pattern is well formed
	if len(built) == 0 {
		t.Skip("MinIO is not built (ofitec setup builds it): sessions are tested where it is")
	}
	m := minio{"http://" + chassistest.FreeAddr(t)}
	cmd := exec.Command(built[len(built)-1], "server", "--address", strings.TrimPrefix(m.url, "http://"), "--console-address", chassistest.FreeAddr(t), shortDir(t))
	cmd.Env = []string{"MINIO_ROOT_USER=" + minioRoot, "MINIO_ROOT_PASSWORD=" + minioPassword, "HOME=" + shortDir(t), "PATH=/usr/bin:/bin"}
	start(t, cmd)
	await(t, 30*time.Second, "MinIO answers", func() bool {
		answer, err := http.Get(m.url + "/minio/health/ready")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	await(t, 30*time.Second, "MinIO makes a bucket", func() bool { return m.call(t, http.MethodPut, "/backups", nil) == http.StatusOK })
	return m
}

// call is a request of the root user, and its status.
func (m minio) call(t *testing.T, method, path string, body []byte) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, m.url+path, bytes.NewReader(body))
	must(t, err)
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	request.Header.Set("X-Amz-Content-Sha256", digest)
	must(t, v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: minioRoot, SecretAccessKey: minioPassword}, request, digest, "s3", "us-east-1", time.Now()))
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	_ = answer.Body.Close()
	return answer.StatusCode
}

// user makes one that may ask for sessions.
func (m minio) user(t *testing.T, name, secret string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"secretKey": secret, "status": "enabled"})
	must(t, err)
	if status := m.call(t, http.MethodPut, "/minio/admin/v3/add-user?accessKey="+name, sealed(t, body)); status != http.StatusOK {
		t.Fatalf("make user %s: %d", name, status)
	}
	if status := m.call(t, http.MethodPut, "/minio/admin/v3/set-user-or-group-policy?isGroup=false&policyName=readwrite&userOrGroup="+name, nil); status != http.StatusOK {
		t.Fatalf("let user %s write: %d", name, status)
	}
}

// disable ends a user and all sessions that were given to it: the only way to end a session of MinIO before its quarter of an hour.
func (m minio) disable(t *testing.T, name string) {
	t.Helper()
	if status := m.call(t, http.MethodPut, "/minio/admin/v3/set-user-status?accessKey="+name+"&status=disabled", nil); status != http.StatusOK {
		t.Fatalf("disable user %s: %d", name, status)
	}
}

// sealed encrypts as MinIO's administration demands: salt, kind of cipher, nonce, stream.
func sealed(t *testing.T, content []byte) []byte {
	t.Helper()
	salt := make([]byte, 32)
	_, err := rand.Read(salt)
	must(t, err)
	stream, err := sio.AES_256_GCM.Stream(argon2.IDKey([]byte(minioPassword), salt, 1, 64<<10, 4, 32))
	must(t, err)
	nonce := make([]byte, stream.NonceSize())
	var out bytes.Buffer
	out.Write(salt)
	out.WriteByte(0)
	out.Write(nonce)
	writer := stream.EncryptWriter(&out, nonce, nil)
	_, err = writer.Write(content)
	must(t, err)
	must(t, writer.Close())
	return out.Bytes()
}
