// Package vault is what the rotator does in Vault: make, renew and revoke database users, stage them in KV v2, take fingerprints.
package vault

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"
)

// fingerprintKey is the transit key of fingerprints; it does not leave Vault.
const fingerprintKey = "credential-fingerprint"

// Secret is what was made: what stands in KV v2, and what is known of it beside. ID and User are no secrets.
type Secret struct {
	ID          string // of Vault's lease, or what takes its place
	User        string // by which a stored version is known again
	Fields      map[string]config.Secret
	TTL         time.Duration
	MaxTTL      time.Duration
	Fingerprint string
}

// Engine is one database role, or none, and one KV v2 path. It is safe for concurrent use; deadlines are the context's and the client's.
type Engine struct {
	client *vault.Client
	role   string // of the application's users
	fence  string // of the users that may fence them
	path   string // below the mount secret/
}

// New names the roles and the path.
func New(client *vault.Client, role, fence, path string) *Engine {
	return &Engine{client, role, fence, path}
}

// Ready says why there is no login to Vault yet, or any more; whoever keeps the login tells people.
func (e *Engine) Ready(ctx context.Context) error { return e.client.Check(ctx) }

// Doubt looks at an error: a refusal may mean that somebody has revoked the token, and then another login is due.
func (e *Engine) Doubt(err error) {
	var refused *api.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden {
		e.client.Doubt()
	}
}

// Mint makes a user of the application. An answer that lacks something is an error, and what was made is taken back. A lease dies with the token that asked for
// it, also when the process that held the token is long gone: the token is renewed first, and MaxTTL is what both of them allow.
func (e *Engine) Mint(ctx context.Context) (Secret, error) {
	role, err := e.client.Logical().ReadWithContext(ctx, "database/roles/"+e.role)
	if err != nil {
		return Secret{}, fmt.Errorf("read database role %s: %w", e.role, err)
	}
	most, err := maxTTL(role)
	if err != nil {
		return Secret{}, fmt.Errorf("read database role %s: %w", e.role, err)
	}
	life, err := e.tokenLife(ctx)
	if err != nil {
		return Secret{}, err
	}
	lease, err := e.make(ctx, e.role)
	if err != nil {
		return lease, err
	}
	lease.MaxTTL = min(lease.MaxTTL, most, life)
	if lease.Fingerprint, err = e.Fingerprint(ctx, lease.Fields); err != nil {
		return Secret{}, errors.Join(err, e.giveBack(ctx, lease.ID))
	}
	return lease, nil
}

// Generate makes a password by a policy of Vault's.
func (e *Engine) Generate(ctx context.Context, policy string) (config.Secret, error) {
	answer, err := e.client.Logical().ReadWithContext(ctx, "sys/policies/password/"+policy+"/generate")
	if err != nil {
		return "", fmt.Errorf("generate by password policy %s: %w", policy, err)
	}
	text := ""
	if answer != nil {
		text, _ = answer.Data["password"].(string)
	}
	if text == "" {
		return "", fmt.Errorf("generate by password policy %s: Vault's answer has no password", policy)
	}
	return config.Secret(text), nil
}

// SetRoot tells Vault the password with which it makes users from now on. Vault logs in with it before it forgets the one before.
func (e *Engine) SetRoot(ctx context.Context, connection string, password config.Secret) error {
	_, err := e.client.Logical().WriteWithContext(ctx, "database/config/"+connection, map[string]any{"password": password.Reveal(), "verify_connection": true})
	if err != nil {
		return fmt.Errorf("set the login of Vault's connection %s: %w", connection, err)
	}
	return nil
}

// MintFencer makes a user of minutes who may fence users of the application.
func (e *Engine) MintFencer(ctx context.Context) (Secret, error) { return e.make(ctx, e.fence) }

// giveBack revokes what cannot be used, even when the caller's time is over.
func (e *Engine) giveBack(ctx context.Context, lease string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return e.Revoke(ctx, lease)
}

func maxTTL(role *api.Secret) (time.Duration, error) {
	if role == nil {
		return 0, errors.New("there is none")
	}
	number, ok := role.Data["max_ttl"].(json.Number)
	if !ok {
		return 0, errors.New("it has no max_ttl")
	}
	seconds, err := number.Int64()
	if err != nil || seconds <= 0 {
		return 0, fmt.Errorf("its max_ttl is %q, want seconds: a rotation is planned by it", number.String())
	}
	return time.Duration(seconds) * time.Second, nil
}

// tokenLife is how long this process's token lives from now if nobody ever renews it again.
func (e *Engine) tokenLife(ctx context.Context) (time.Duration, error) {
	_, renewErr := e.client.Auth().Token().RenewSelfWithContext(ctx, 0) // one that cannot be renewed lives as long as it lives
	token, err := e.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("look up token: %w", errors.Join(err, renewErr))
	}
	if token == nil || token.Data["ttl"] == nil {
		return 0, errors.New("look up token: Vault's answer has no ttl")
	}
	life, err := token.TokenTTL()
	if err != nil {
		return 0, fmt.Errorf("look up token: %w", err)
	}
	if life == 0 {
		return math.MaxInt64, nil // it has no end
	}
	return life, nil
}

// Fingerprint tells two secrets apart without telling either: an HMAC under a key that stays in Vault, over all fields.
func (e *Engine) Fingerprint(ctx context.Context, fields map[string]config.Secret) (string, error) {
	var input strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		input.WriteString(name + "=" + fields[name].Reveal() + "\x00")
	}
	answer, err := e.client.Logical().WriteWithContext(ctx, "transit/hmac/"+fingerprintKey, map[string]any{
		"input": base64.StdEncoding.EncodeToString([]byte(input.String())),
	})
	if err != nil {
		return "", fmt.Errorf("take fingerprint: %w", err)
	}
	text := ""
	if answer != nil {
		text, _ = answer.Data["hmac"].(string)
	}
	raw, err := base64.StdEncoding.DecodeString(text[strings.LastIndexByte(text, ':')+1:])
	if err != nil || len(raw) != 32 {
		return "", errors.New("take fingerprint: Vault's answer is no HMAC-SHA-256")
	}
	return hex.EncodeToString(raw), nil
}
