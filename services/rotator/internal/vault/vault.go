// Package vault is what the rotator does in Vault: make, renew and revoke database users, stage them in KV v2, take fingerprints.
package vault

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"
)

// fingerprintKey is the transit key of fingerprints; it does not leave Vault.
const fingerprintKey = "credential-fingerprint"

// Login is a database user and its password.
type Login struct {
	User     string
	Password config.Secret
}

// Lease is what Vault has made.
type Lease struct {
	ID          string
	Login       Login
	TTL         time.Duration
	MaxTTL      time.Duration
	Fingerprint string
}

// Engine is one database role and one KV v2 path. It is safe for concurrent use; deadlines are the context's and the client's.
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

// Mint makes a user of the application. An answer that lacks something is an error, and what was made is taken back. A lease dies with the token that asked for
// it, also when the process that held the token is long gone: the token is renewed first, and MaxTTL is what both of them allow.
func (e *Engine) Mint(ctx context.Context) (Lease, error) {
	role, err := e.client.Logical().ReadWithContext(ctx, "database/roles/"+e.role)
	if err != nil {
		return Lease{}, fmt.Errorf("read database role %s: %w", e.role, err)
	}
	most, err := maxTTL(role)
	if err != nil {
		return Lease{}, fmt.Errorf("read database role %s: %w", e.role, err)
	}
	life, err := e.tokenLife(ctx)
	if err != nil {
		return Lease{}, err
	}
	lease, err := e.make(ctx, e.role)
	if err != nil {
		return lease, err
	}
	lease.MaxTTL = min(most, life)
	if lease.Fingerprint, err = e.fingerprint(ctx, lease.Login); err != nil {
		return Lease{}, errors.Join(err, e.giveBack(ctx, lease.ID))
	}
	return lease, nil
}

// MintFencer makes a user of minutes who may fence users of the application.
func (e *Engine) MintFencer(ctx context.Context) (Lease, error) { return e.make(ctx, e.fence) }

func (e *Engine) make(ctx context.Context, role string) (Lease, error) {
	answer, err := e.client.Logical().ReadWithContext(ctx, "database/creds/"+role)
	if err != nil {
		return Lease{}, fmt.Errorf("make a user of role %s: %w", role, err)
	}
	if answer == nil {
		return Lease{}, fmt.Errorf("make a user of role %s: Vault's answer is empty", role)
	}
	lease := Lease{ID: answer.LeaseID, TTL: time.Duration(answer.LeaseDuration) * time.Second}
	lease.Login.User, _ = answer.Data["username"].(string)
	password, _ := answer.Data["password"].(string)
	lease.Login.Password = config.Secret(password)
	if lease.ID == "" || lease.TTL <= 0 || lease.Login.User == "" || password == "" {
		err := fmt.Errorf("make a user of role %s: Vault's answer lacks lease, life, user name or password", role)
		if lease.ID != "" {
			err = errors.Join(err, e.giveBack(ctx, lease.ID))
		}
		return Lease{}, err
	}
	return lease, nil
}

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
	life, err := token.TokenTTL()
	if err != nil {
		return 0, fmt.Errorf("look up token: %w", err)
	}
	if life == 0 {
		return math.MaxInt64, nil // it has no end
	}
	return life, nil
}

func (e *Engine) fingerprint(ctx context.Context, login Login) (string, error) {
	answer, err := e.client.Logical().WriteWithContext(ctx, "transit/hmac/"+fingerprintKey, map[string]any{
		"input": base64.StdEncoding.EncodeToString([]byte(login.User + "\x00" + login.Password.Reveal())),
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
