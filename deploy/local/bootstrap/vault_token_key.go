package bootstrap

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// tokenKey is where the key of personal-data tokens is kept; its versions are those of the key.
const tokenKey = "ofitec/etl-transform/token-key"

// NextTokenKey makes a key the newest version of the one that tokens are made by, unless it is that already.
func NextTokenKey(ctx context.Context, l layout.Layout, config *tls.Config, key []byte) error {
	client, err := activeVault(ctx, l, config)
	if err != nil {
		return err
	}
	v := vaultSetup{client: client, layout: l}
	have, err := client.Logical().ReadWithContext(ctx, "secret/data/"+tokenKey)
	if err != nil {
		return fmt.Errorf("read secret %s: %w", tokenKey, err)
	}
	encoded := base64.StdEncoding.EncodeToString(key)
	if have != nil {
		if data, _ := have.Data["data"].(map[string]any); data["key"] == encoded {
			return nil
		}
	}
	return v.write(ctx, "secret/data/"+tokenKey, map[string]any{"data": map[string]any{"key": encoded}})
}
