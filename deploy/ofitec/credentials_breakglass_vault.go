package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// glass is a user that was taken.
type glass struct {
	user, password, fingerprint string
	expires                     time.Time
	giveBack                    func(ctx context.Context) error
}

// vaultUser makes a user of the role break-glass at the first of Vault's nodes that does it.
func (o *operator) vaultUser(ctx context.Context) (glass, error) {
	var problems []error
	for _, r := range layout.Regions {
		g, err := o.vaultUserAt(ctx, "https://"+o.layout.Addressing.Addr(r, layout.PortVault))
		if err == nil {
			return g, nil
		}
		problems = append(problems, fmt.Errorf("region %s: ask Vault: %w", r, err))
	}
	return glass{}, errors.Join(problems...)
}

func (o *operator) vaultUserAt(ctx context.Context, address string) (glass, error) {
	client, err := vault.NewClient(&vault.Config{Address: address, Timeout: 10 * time.Second, HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: o.tls.Client()}}})
	if err != nil {
		return glass{}, err
	}
	client.SetMaxRetries(0)
	client.ClearToken()
	client.ClearNamespace()
	login := map[string]any{}
	for field, file := range map[string]string{"role_id": "vault-role-id", "secret_id": "vault-secret-id"} {
		content, err := os.ReadFile(filepath.Join(o.layout.OperatorIdentityDir(), file))
		if err != nil {
			return glass{}, fmt.Errorf("read the operator's login: %w", err)
		}
		login[field] = strings.TrimSpace(string(content))
	}
	session, err := client.Logical().WriteWithContext(ctx, "auth/approle/login", login)
	if err != nil {
		return glass{}, fmt.Errorf("log in: %w", err)
	}
	if session == nil || session.Auth == nil {
		return glass{}, errors.New("log in: the answer has no token")
	}
	client.SetToken(session.Auth.ClientToken)
	asked := time.Now()
	made, err := client.Logical().ReadWithContext(ctx, "database/creds/break-glass")
	if err != nil {
		return glass{}, fmt.Errorf("make a user: %w", err)
	}
	if made == nil {
		return glass{}, errors.New("make a user: the answer is empty")
	}
	g := glass{expires: asked.Add(time.Duration(made.LeaseDuration) * time.Second), giveBack: func(ctx context.Context) error {
		return client.Sys().RevokeWithOptionsWithContext(context.WithoutCancel(ctx), &vault.RevokeOptions{LeaseID: made.LeaseID, Sync: true})
	}}
	g.user, _ = made.Data["username"].(string)
	g.password, _ = made.Data["password"].(string)
	if made.LeaseID == "" || made.LeaseDuration <= 0 || g.user == "" || g.password == "" {
		err := errors.New("make a user: Vault's answer is malformed: want lease_id, lease_duration above 0, username and password")
		if made.LeaseID != "" {
			err = errors.Join(err, g.giveBack(ctx))
		}
		return glass{}, err
	}
	if g.fingerprint, err = fingerprintOf(ctx, client, g); err != nil {
		return glass{}, errors.Join(err, g.giveBack(ctx))
	}
	return g, nil
}

// fingerprintOf is the rotator's: an HMAC under a key that stays in Vault, over all fields.
func fingerprintOf(ctx context.Context, client *vault.Client, g glass) (string, error) {
	input := base64.StdEncoding.EncodeToString([]byte("password=" + g.password + "\x00username=" + g.user + "\x00"))
	answer, err := client.Logical().WriteWithContext(ctx, "transit/hmac/credential-fingerprint", map[string]any{"input": input})
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
