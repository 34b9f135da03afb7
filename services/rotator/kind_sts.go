package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/rotator/internal/sts"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// Fields of a session in KV v2.
const (
	fieldAccessKey = "access_key_id"
	fieldSecretKey = "secret_access_key"
	fieldToken     = "session_token"
	fieldExpires   = "expiration" // RFC 3339
)

// stsHands ask for sessions of a cloud. Nobody can revoke one: it is ended when it has expired.
type stsHands struct {
	leaseless
	keys    func(ctx context.Context) (map[string]config.Secret, error)
	service sts.Service
	name    string
	life    time.Duration
	try     string
}

func newSTS(r *rotator, c Credential, store *vault.Engine) hands {
	return &stsHands{
		leaseless: leaseless{store}, name: c.Name, life: c.Life, try: c.STS.Try,
		service: sts.Service{Endpoint: c.STS.Endpoint, Region: c.STS.Region, Role: c.STS.Role, CAFile: r.database.CAFile},
		keys: func(ctx context.Context) (map[string]config.Secret, error) {
			return r.vault.ReadAt(ctx, "ofitec/rotator/"+c.Name)
		},
	}
}

func (h *stsHands) Mint(ctx context.Context, number int64) (vault.Secret, error) {
	parent, err := h.keys(ctx)
	if err != nil {
		return vault.Secret{}, err
	}
	if parent[fieldAccessKey] == "" || parent[fieldSecretKey] == "" {
		return vault.Secret{}, fmt.Errorf("ask for a session of %s: KV v2 has no %s and %s at ofitec/rotator/%s", h.name, fieldAccessKey, fieldSecretKey, h.name)
	}
	asked := time.Now()
	session, err := h.service.AssumeRole(ctx, sts.Keys{Access: parent[fieldAccessKey].Reveal(), Secret: parent[fieldSecretKey]}, fmt.Sprintf("ofitec-%s-%d", h.name, number), h.life)
	if err != nil {
		return vault.Secret{}, err
	}
	life := session.Expires.Sub(asked)
	if life <= 0 {
		return vault.Secret{}, errors.New("ask for a session: the answer has expired already")
	}
	fields := map[string]config.Secret{
		fieldAccessKey: config.Secret(session.Access), fieldSecretKey: session.Secret, fieldToken: session.Token, fieldExpires: config.Secret(session.Expires.UTC().Format(time.RFC3339)),
	}
	fingerprint, err := h.store.Fingerprint(ctx, fields)
	if err != nil {
		return vault.Secret{}, err
	}
	return vault.Secret{ID: "sts-" + session.Access, User: session.Access, Fields: fields, TTL: life, MaxTTL: life, Fingerprint: fingerprint}, nil
}

// Test lists the bucket that the session is for.
func (h *stsHands) Test(ctx context.Context, made vault.Secret) (string, error) {
	f := made.Fields
	return h.service.Try(ctx, sts.Session{Keys: sts.Keys{Access: f[fieldAccessKey].Reveal(), Secret: f[fieldSecretKey]}, Token: f[fieldToken]}, h.try)
}
