package bootstrap

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/secure-io/sio-go"
	"golang.org/x/crypto/argon2"
)

// objectAdmin speaks the three requests of MinIO's administration that the bootstrap needs. MinIO's own client for it is under the AGPL,
// which must not reach a program of this project; the S3 client and its signer are not.
type objectAdmin struct {
	http           *http.Client
	address        string
	user, password string
}

func (a objectAdmin) putPolicy(ctx context.Context, name string, policy []byte) error {
	if err := a.put(ctx, "add-canned-policy", url.Values{"name": {name}}, policy); err != nil {
		return fmt.Errorf("put policy %s: %w", name, err)
	}
	return nil
}

// putUser makes a user or gives the one that is there its secret.
func (a objectAdmin) putUser(ctx context.Context, name, secret string) error {
	body, err := json.Marshal(map[string]string{"secretKey": secret, "status": "enabled"})
	if err != nil {
		return fmt.Errorf("encode user %s: %w", name, err)
	}
	sealed, err := seal(a.password, body)
	if err != nil {
		return fmt.Errorf("seal secret of user %s: %w", name, err)
	}
	if err := a.put(ctx, "add-user", url.Values{"accessKey": {name}}, sealed); err != nil {
		return fmt.Errorf("put user %s: %w", name, err)
	}
	return nil
}

// setPolicy gives a user one policy and takes away any other.
func (a objectAdmin) setPolicy(ctx context.Context, user, policy string) error {
	query := url.Values{"userOrGroup": {user}, "isGroup": {"false"}, "policyName": {policy}}
	if err := a.put(ctx, "set-user-or-group-policy", query, nil); err != nil {
		return fmt.Errorf("give policy %s to user %s: %w", policy, user, err)
	}
	return nil
}

func (a objectAdmin) put(ctx context.Context, verb string, query url.Values, body []byte) error {
	target := url.URL{Scheme: "https", Host: a.address, Path: "/minio/admin/v3/" + verb, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, target.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	sum := sha256.Sum256(body)
	request.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	response, err := a.http.Do(signer.SignV4(*request, a.user, a.password, "", ""))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	answer, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	return fmt.Errorf("object store answers %d: %s", response.StatusCode, strings.Join(strings.Fields(string(answer)), " "))
}

// seal encrypts a secret under the root password as the administration demands: salt, kind of cipher, nonce, stream.
func seal(password string, content []byte) ([]byte, error) {
	const argon2AES, saltSize = 0x00, 32
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("make salt: %w", err)
	}
	stream, err := sio.AES_256_GCM.Stream(argon2.IDKey([]byte(password), salt, 1, 64<<10, 4, 32))
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	nonce := make([]byte, stream.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	var out bytes.Buffer
	out.Write(salt)
	out.WriteByte(argon2AES)
	out.Write(nonce)
	writer := stream.EncryptWriter(&out, nonce, nil)
	if _, err := writer.Write(content); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}
