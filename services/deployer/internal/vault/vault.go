// Package vault reads versions of credentials out of KV v2.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"
)

// ErrGone is wrapped when a version does not hold what is asked for, and never will: deleted, destroyed, a number that was used up, or of another shape.
var ErrGone = errors.New("the version does not hold what is asked for")

// Reader reads below the mount secret/. It is safe for concurrent use; deadlines are the context's and the client's.
type Reader struct{ client *vault.Client }

// New makes a reader of a client that is kept logged in.
func New(client *vault.Client) *Reader { return &Reader{client} }

// Read gives fields of exactly the asked version, by their names. One that is not there yet is an ordinary error: it is staged before it is published, but a Vault that has just changed its
// leader may be behind.
func (r *Reader) Read(ctx context.Context, path string, version int64, fields ...string) (map[string]config.Secret, error) {
	answer, err := r.client.Logical().ReadWithDataWithContext(ctx, "secret/data/"+path, map[string][]string{"version": {strconv.FormatInt(version, 10)}})
	if err != nil {
		return nil, fmt.Errorf("read version %d of %s: %w", version, path, err)
	}
	if answer == nil {
		return nil, fmt.Errorf("read version %d of %s: Vault has none", version, path)
	}
	about, _ := answer.Data["metadata"].(map[string]any)
	if number, ok := about["version"].(json.Number); !ok || number.String() != strconv.FormatInt(version, 10) {
		return nil, fmt.Errorf("read version %d of %s: Vault gave another version", version, path)
	}
	data, _ := answer.Data["data"].(map[string]any)
	values := map[string]config.Secret{}
	for _, field := range fields {
		text, _ := data[field].(string)
		if text == "" {
			return nil, fmt.Errorf("read version %d of %s: %w: no text in field %q; it has %s", version, path, ErrGone, field, shape(data))
		}
		values[field] = config.Secret(text)
	}
	return values, nil
}

// shape names what a version holds, and shows nothing of it.
func shape(data map[string]any) string {
	if len(data) == 0 {
		return "no fields: it was deleted or destroyed"
	}
	return "the fields " + strings.Join(slices.Sorted(maps.Keys(data)), ", ")
}
