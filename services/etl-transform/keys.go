package main

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/chassis/vault"
	"github.com/ofitec/ofitec/services/etl-transform/internal/seal"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

// KeySettings say where Vault keeps keys that are not in files: KV v2 paths below secret/, in the field key.
type KeySettings struct {
	Token string `env:"OFITEC_TOKEN_KEY_VAULT_PATH" yaml:"token" doc:"in place of OFITEC_TOKEN_KEY_FILE: where Vault keeps the key of the tokens, base64, a KV v2 path below secret/ such as ofitec/etl-transform/token-key; its versions are those of the key"`
	Raw   string `env:"OFITEC_RAW_KEY_VAULT_PATH" yaml:"raw" doc:"in place of OFITEC_RAW_KEY: where Vault keeps the keys of raw files, such as ofitec/etl-transform/raw-key"`
}

// keyProblems are what is wrong with them, and with the files in whose place they are.
func (c *Config) keyProblems(bad func(wrong bool, variable, value, want string)) []error {
	var problems []error
	if c.Keys != (KeySettings{}) {
		problems = c.Vault.Required()
	}
	for _, k := range []struct{ path, variable, rival, value string }{
		{c.Keys.Token, "OFITEC_TOKEN_KEY_VAULT_PATH", "OFITEC_TOKEN_KEY_FILE", c.TokenKeyFile},
		{c.Keys.Raw, "OFITEC_RAW_KEY_VAULT_PATH", "OFITEC_RAW_KEY", string(c.RawKey)},
	} {
		bad(k.path != "" && k.value != "", k.variable, k.path, "nothing, since "+k.rival+" is set: one of the two")
		bad(k.path != "" && !vault.BelowSecret(k.path), k.variable, k.path, "a path below secret/, without secret/data/, such as ofitec/etl-transform/token-key")
	}
	if c.Keys.Token == "" {
		problems = append(problems, config.Require("OFITEC_TOKEN_KEY_FILE", c.TokenKeyFile, "a file of 32 bytes or more, or OFITEC_TOKEN_KEY_VAULT_PATH: personal data are kept as tokens only")...)
	}
	return problems
}

// awaitKeys reads from Vault what stands there, for the service: it is alive and not ready meanwhile, and touches nothing. False when it was stopped before.
func (c *Config) awaitKeys(ctx context.Context) (bool, error) {
	if c.fetched || c.Keys == (KeySettings{}) {
		return true, nil
	}
	err := vault.Before(ctx, name, c.Settings, c.readKeys)
	return err == nil && ctx.Err() == nil, err
}

// fetchKeys is awaitKeys for a command that comes to need one; it gives up. One that needs none does not ask Vault.
func (c *Config) fetchKeys(ctx context.Context) error {
	if c.fetched || c.Keys == (KeySettings{}) {
		return nil
	}
	return vault.Within(ctx, c.Settings, vault.KeysWithin, c.readKeys)
}

// keepKeys takes those that were read before, for the same file: Vault may be away when that has to be opened anew.
func (c *Config) keepKeys(before *Config) {
	if before == nil || c.Keys != before.Keys || !before.fetched {
		return
	}
	c.fetched, c.kept = true, true
	if c.Keys.Raw != "" {
		c.RawKey = before.RawKey
	}
	if c.Keys.Token != "" {
		c.ring = before.ring
	}
}

func (c *Config) readKeys(ctx context.Context, client *vault.Client) error {
	if c.Keys.Raw != "" {
		text, err := client.Key(ctx, c.Keys.Raw, func(text string) error {
			_, err := seal.Parse(text)
			return err
		})
		if err != nil {
			return err
		}
		c.RawKey = config.Secret(text)
	}
	if c.Keys.Token != "" {
		var err error
		if c.ring, err = readRing(ctx, client, c.Keys.Token); err != nil {
			return err
		}
	}
	c.fetched = true
	return nil
}

// readRing makes the keys of the tokens of the newest version and the one before it.
func readRing(ctx context.Context, client *vault.Client, path string) (*token.Ring, error) {
	newest, before, err := client.Keys(ctx, path)
	if err != nil {
		return nil, err
	}
	var sealers [2]*token.Sealer
	for n, text := range []string{newest, before} {
		if text == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("secret/%s: the key is not base64", path) // what it is must not be told
		}
		if sealers[n], err = token.New(key); err != nil {
			return nil, fmt.Errorf("secret/%s: %w", path, err)
		}
	}
	return token.Versions(sealers[0], sealers[1]), nil
}
