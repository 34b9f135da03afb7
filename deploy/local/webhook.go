package local

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// webhookOverlap is how long after a rotation announcements may be signed with the secret before: much longer than either side takes to read the new one.
const webhookOverlap = time.Minute

// webhookEnv is where etl-ingest reads what announcements are signed with. Without Vault there is no webhook, and pulls go by schedule alone.
func (s *Stack) webhookEnv() []string {
	if s.options.WithoutVault {
		return nil
	}
	return []string{"OFITEC_WEBHOOK_VAULT_PATH=" + bootstrap.WebhookPath, "OFITEC_WEBHOOK_VAULT_REFRESH=15s", "OFITEC_WEBHOOK_VAULT_OVERLAP=" + webhookOverlap.String()}
}

// announceEnv is where Odoo announces, and what it signs with: a file that followWebhook keeps.
func (s *Stack) announceEnv(r layout.Region) []string {
	if s.options.WithoutVault {
		return nil
	}
	const path = "/v1/announce"
	return []string{
		"ODOO_ANNOUNCE_URLS=" + s.url(r, layout.PortIngest, path) + "," + s.url(r.Peer(), layout.PortIngest, path),
		"ODOO_WEBHOOK_SECRET_FILE=" + s.layout.WebhookSecretFile(r),
	}
}

// followWebhook keeps the file with what a region's Odoo signs by on the version that the rotator has made last, until ctx ends. Production has a template of Vault
// Agent's for it.
func (s *Stack) followWebhook(ctx context.Context, r layout.Region) {
	webhook, said := bootstrap.FollowWebhook(s.layout, r, s.tls), time.Now()
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, readerLook)
		secret, err := webhook.Secret(limited)
		cancel()
		if err == nil {
			err = s.writeWebhook(r, secret)
		}
		switch {
		case err == nil, errors.Is(err, bootstrap.ErrNothingYet):
			said = time.Now()
		case time.Since(said) > time.Minute:
			said = time.Now()
			s.terminal.say("what Odoo of region %s signs with: not yet: %v", r, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(readerLook):
		}
	}
}

func (s *Stack) writeWebhook(r layout.Region, secret string) error {
	file, content := s.layout.WebhookSecretFile(r), []byte(secret+"\n")
	if _, err := os.Stat(filepath.Dir(file)); errors.Is(err, fs.ErrNotExist) {
		return nil // a region that is lost
	}
	if have, err := identity.ReadFile(file); err == nil && bytes.Equal(have, content) {
		return nil
	}
	return identity.WriteFile(file, content, s.owners.forIdentity(), "odoo")
}
