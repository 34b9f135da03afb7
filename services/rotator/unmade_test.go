package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

func (h *counted) Mint(context.Context, int64) (vault.Secret, error) {
	return vault.Secret{}, h.refuses
}

// cloudRefusal is what the cloud's client makes of one.
type cloudRefusal struct{ error }

func (cloudRefusal) HTTPStatusCode() int { return 503 }

// TestWhatAServerSaysStaysInTheLogAndOutOfTheAuditTrail lets the making of a version fail, and reads the page for people that follows.
func TestWhatAServerSaysStaysInTheLogAndOutOfTheAuditTrail(t *testing.T) {
	t.Parallel()
	const words = "dial tcp 10.1.2.3:8200: role of maria lacks the password hunter-two"
	refusal := &api.ResponseError{HTTPMethod: "GET", URL: "https://vault.internal:8200/v1/database/creds/odoo-app", StatusCode: 500, Errors: []string{words}}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a refusal":              {fmt.Errorf("make a user of role odoo-app: %w", refusal), "kind database: Vault refuses with status 500"},
		"a refusal of the cloud": {fmt.Errorf("ask for a session: %w", cloudRefusal{errors.New(words)}), "kind database: the cloud refuses with status 503"},
		"no connection":          {errors.New(words), "kind database: no answer that could be used"},
		"a malformed answer, whose lease cannot be given back": {
			errors.Join(fmt.Errorf("make: %w: %w", &vault.MalformedError{Problems: []string{"renewable is missing: want true or false"}}, errors.New(words)), refusal),
			"Vault's answer is malformed: renewable is missing",
		},
	} {
		term := onePlace(&counted{refuses: c.err})
		term.policy = rotation.Policy{Name: "odoo-app", Kind: events.CredentialDatabase, Path: "ofitec/credentials/odoo-app", Attempt: time.Minute}
		now := time.Now()
		s := state.Credential{Versions: []state.CredentialVersion{{
			Number: 1, Stage: state.StageCurrent, Lease: "l", TTL: 3600, MintedAt: now.Add(-59 * time.Minute), ExpiresAt: now.Add(time.Minute), DeadlineAt: now.Add(time.Minute),
		}}}
		term.act(t.Context(), s, []rotation.Action{rotation.Mint{Number: 2}}, now)
		_, with, _ := rotation.Decide(s, rotation.Observation{Active: events.RegionA, Stored: 1, Unmade: term.unmade}, term.policy, now)
		said := ""
		for _, action := range with {
			if announced, ok := action.(rotation.Announce); ok {
				if expiring, ok := announced.Payload.(events.CredentialExpiring); ok {
					said = expiring.Reason
				}
			}
		}
		if !strings.Contains(said, c.want) {
			t.Errorf("%s: people are told %q, want %q", name, said, c.want)
		}
		for _, secret := range []string{"vault.internal", "10.1.2.3", "maria", "hunter-two"} {
			if strings.Contains(said, secret) {
				t.Errorf("%s: %q is kept for 400 days: %s", name, secret, said)
			}
		}
	}
}
