// Package vault reads versions of credentials out of KV v2.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"
)

// Login is a database user and its password.
type Login struct {
	User     string
	Password config.Secret
}

// ErrGone is wrapped when a version holds no login, and will never hold one: deleted, destroyed, or a number that was used up.
var ErrGone = errors.New("the version holds no login")

// Reader reads below the mount secret/. It is safe for concurrent use; deadlines are the context's and the client's.
type Reader struct{ client *vault.Client }

// New makes a reader of a client that is kept logged in.
func New(client *vault.Client) *Reader { return &Reader{client} }

// Read gives exactly the asked version. One that is not there yet is an ordinary error: it is staged before it is published, but a Vault that has just changed its
// leader may be behind.
func (r *Reader) Read(ctx context.Context, path string, version int64) (Login, error) {
	answer, err := r.client.Logical().ReadWithDataWithContext(ctx, "secret/data/"+path, map[string][]string{"version": {strconv.FormatInt(version, 10)}})
	if err != nil {
		return Login{}, fmt.Errorf("read version %d of %s: %w", version, path, err)
	}
	if answer == nil {
		return Login{}, fmt.Errorf("read version %d of %s: Vault has none", version, path)
	}
	about, _ := answer.Data["metadata"].(map[string]any)
	if number, ok := about["version"].(json.Number); !ok || number.String() != strconv.FormatInt(version, 10) {
		return Login{}, fmt.Errorf("read version %d of %s: Vault gave another version", version, path)
	}
	data, _ := answer.Data["data"].(map[string]any)
	user, _ := data["username"].(string)
	password, _ := data["password"].(string)
	if user == "" || password == "" {
		return Login{}, fmt.Errorf("read version %d of %s: %w", version, path, ErrGone)
	}
	return Login{user, config.Secret(password)}, nil
}
