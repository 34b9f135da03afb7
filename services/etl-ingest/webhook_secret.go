package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	chassis "github.com/ofitec/ofitec/chassis/vault"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/vault"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/webhook"
)

// secretRetry is the pause after a secret that could not be read; unknownPause is how soon one is read again because of a signature that is not good.
const (
	secretRetry  = 5 * time.Second
	unknownPause = 2 * time.Second
)

// keyring has the secrets that announcements may be signed with: those that were given, or those that Vault has. The latter are read again and again, and at once
// when a signature is not good: whoever signs may have heard of a new one sooner.
type keyring struct {
	given   []string
	vault   *vault.Secret // nil when they were given
	overlap time.Duration
	refresh time.Duration
	log     *slog.Logger

	reading        sync.Mutex // one question at a time
	mu             sync.Mutex
	newest, before webhook.Version
	asked          time.Time
	problem        error
}

// keyring is how announcements are proven; nil when there is no webhook. One that reads Vault keeps a login, and goes on with what it knows while Vault is away.
func (i *ingest) keyring(ctx context.Context) (*keyring, error) {
	w := i.config.Webhook
	if w.Secret != "" {
		return &keyring{given: []string{w.Secret.Reveal(), w.Previous.Reveal()}}, nil
	}
	if w.VaultPath == "" {
		return nil, nil
	}
	client, err := chassis.Connect(i.config.Settings)
	if err != nil {
		return nil, err
	}
	k := &keyring{vault: vault.New(client, w.VaultPath, minWebhookSecret), overlap: w.Overlap, refresh: w.Refresh, log: i.service.Log, problem: errors.New("not read yet")}
	chassis.Observe(ctx, i.service.Metrics, client)
	i.service.Health.Note("webhook", k.note)
	i.service.Add("vault", client.Hold)
	i.service.Add("webhook secret", k.follow)
	return k, nil
}

// follow reads the secrets until ctx ends.
func (k *keyring) follow(ctx context.Context) error {
	failing := notice.New(k.log, "cannot read the webhook's secret", nil)
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		err := k.read(ctx, 0)
		failing.Note(err)
		if pause = k.refresh; err != nil {
			pause = min(pause, secretRetry)
		}
	}
}

// read asks Vault, unless it was asked within the time given.
func (k *keyring) read(ctx context.Context, unless time.Duration) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	k.mu.Lock()
	recent, known := time.Since(k.asked) < unless, k.newest.Number
	k.mu.Unlock()
	if recent {
		return nil
	}
	newest, before, err := k.vault.Read(ctx, k.overlap, time.Now())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.problem = time.Now(), err
	if err != nil {
		return err
	}
	k.newest, k.before = newest, before
	if newest.Number != known {
		k.log.InfoContext(ctx, "the webhook's secret is known", "version", newest.Number, "before", before.Number, "both_until", newest.Made.Add(k.overlap))
	}
	return nil
}

// good are the secrets of now; none when they are not known yet.
func (k *keyring) good() []string {
	if k.vault == nil {
		return k.given
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return webhook.Good(k.newest, k.before, k.overlap, time.Now())
}

// note is what /readyz tells while the secret cannot be read.
func (k *keyring) note() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem == nil {
		return ""
	}
	return k.problem.Error()
}

// errUnknown is why an announcement cannot be judged.
var errUnknown = errors.New("the secret is not known yet: Vault has not given it")

// verify judges an announcement.
func (k *keyring) verify(r *http.Request, body []byte) error {
	signature := r.Header.Get(webhook.Header)
	good := k.good()
	err := webhook.Verify(signature, body, good, time.Now())
	if err == nil || k.vault == nil {
		return err
	}
	if k.read(r.Context(), unknownPause) == nil {
		good = k.good()
		err = webhook.Verify(signature, body, good, time.Now())
	}
	if len(good) == 0 {
		return errUnknown
	}
	return err
}
