package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// leastSecret is the shortest secret that is let through: a policy that makes less is a mistake.
const leastSecret = 16

// kvHands make a text by Vault's password policy; KV v2 is the place where it is in force. The version before stays readable, and valid, for the overlap.
type kvHands struct {
	leaseless
	generate string
	life     time.Duration
}

func newKV(_ *rotator, c Credential, store *vault.Engine) hands {
	return &kvHands{leaseless{store}, c.Generate, c.Life}
}

func (h *kvHands) Mint(ctx context.Context, number int64) (vault.Secret, error) {
	text, err := h.store.Generate(ctx, h.generate)
	if err != nil {
		return vault.Secret{}, err
	}
	return generated(ctx, h.store, "kv", number, h.life, map[string]config.Secret{vault.FieldValue: text})
}

func (h *kvHands) Test(_ context.Context, made vault.Secret) (string, error) {
	if n := len(made.Fields[vault.FieldValue]); n < leastSecret {
		return fmt.Sprintf("password policy %s makes %d characters, want %d or more", h.generate, n, leastSecret), nil
	}
	return "", nil
}

// generated is a secret that no server knows yet, known again by a random name.
func generated(ctx context.Context, store *vault.Engine, kind string, number int64, life time.Duration, fields map[string]config.Secret) (vault.Secret, error) {
	var mark [6]byte
	if _, err := rand.Read(mark[:]); err != nil {
		return vault.Secret{}, fmt.Errorf("make a name: %w", err)
	}
	id := fmt.Sprintf("%s-%d-%s", kind, number, hex.EncodeToString(mark[:]))
	fingerprint, err := store.Fingerprint(ctx, fields)
	if err != nil {
		return vault.Secret{}, err
	}
	return vault.Secret{ID: id, User: id, Fields: fields, TTL: life, MaxTTL: life, Fingerprint: fingerprint}, nil
}
