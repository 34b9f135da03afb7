// Package vault reads the webhook's secret and the one before it out of KV v2, where the rotator replaces it.
package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/chassis/vault"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/webhook"
)

// field is where the rotator puts a secret of kind kv.
const field = "value"

// lookBack is how many numbers below the newest are looked at: the rotator uses a number up when what it made did not pass.
const lookBack = 8

// Secret is a path below the mount secret/. It is safe for concurrent use; deadlines are the context's and the client's.
type Secret struct {
	client *vault.Client
	path   string
	least  int // characters
}

// New names the secret; one of fewer characters than least is none.
func New(client *vault.Client, path string, least int) *Secret { return &Secret{client, path, least} }

// Read gives the newest version, and the one before it when the newest was made within the overlap. Numbers that were used up, deleted or destroyed are passed over.
func (s *Secret) Read(ctx context.Context, overlap time.Duration, now time.Time) (newest, before webhook.Version, err error) {
	newest, err = s.version(ctx, 0)
	if err != nil {
		return newest, before, err
	}
	number := newest.Number
	if newest.Text == "" {
		if newest, err = s.below(ctx, number, number); err != nil {
			return newest, before, err
		}
	}
	switch {
	case newest.Text == "":
		return newest, before, fmt.Errorf("read secret/%s: no version has a text in field %q: want one of kind kv", s.path, field)
	case len(newest.Text) < s.least:
		return webhook.Version{}, before, fmt.Errorf("read version %d of secret/%s: it has %d characters: want %d or more", newest.Number, s.path, len(newest.Text), s.least)
	case now.Before(newest.Made.Add(overlap)):
		before, err = s.below(ctx, newest.Number, number)
	}
	return newest, before, err
}

// below is the next version below a number that has a text; none when it is further away from the newest number than lookBack.
func (s *Secret) below(ctx context.Context, number, newest int64) (webhook.Version, error) {
	for number--; number > 0 && number >= newest-lookBack; number-- {
		version, err := s.version(ctx, number)
		if err != nil || version.Text != "" {
			return version, err
		}
	}
	return webhook.Version{}, nil
}

// version reads one; 0 is the newest. One without a text was used up, deleted or destroyed.
func (s *Secret) version(ctx context.Context, number int64) (webhook.Version, error) {
	failed := func(reason any) error { return fmt.Errorf("read version %d of secret/%s: %v", number, s.path, reason) }
	answer, err := s.client.Logical().ReadWithDataWithContext(ctx, "secret/data/"+s.path, map[string][]string{"version": {strconv.FormatInt(number, 10)}})
	if err != nil {
		return webhook.Version{}, fmt.Errorf("read version %d of secret/%s: %w", number, s.path, err)
	}
	if answer == nil {
		if number > 0 { // KV v2 keeps ten versions unless told
			return webhook.Version{}, nil
		}
		return webhook.Version{}, failed("it is not there: has the rotator made it?")
	}
	about, _ := answer.Data["metadata"].(map[string]any)
	text, _ := about["version"].(json.Number)
	created, _ := about["created_time"].(string)
	version := webhook.Version{}
	if version.Number, err = text.Int64(); err != nil {
		return version, failed("the answer has no version number")
	}
	if version.Made, err = time.Parse(time.RFC3339Nano, created); err != nil {
		return version, failed("the answer says not when it was made")
	}
	data, _ := answer.Data["data"].(map[string]any)
	version.Text, _ = data[field].(string)
	return version, nil
}
