package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// credentialsShown is `ofitec credentials list`, by name.
func (s *stack) credentialsShown() (map[string]credentialView, error) {
	out, code := s.run("credentials", "list", "-o", "json")
	var answer struct {
		Credentials []credentialView `json:"credentials"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitDone {
		return nil, fmt.Errorf("credentials list exits %d: %s, %w", code, out, err)
	}
	shown := map[string]credentialView{}
	for _, one := range answer.Credentials {
		shown[one.Name] = one
	}
	return shown, nil
}

// credentialsOfAllKinds waits until each credential of the stack's list has been made once, replaces the dashboards' login, and reads by what stands in the files of
// whoever reads.
func (s *stack) credentialsOfAllKinds(t *testing.T) {
	kinds := map[string]events.CredentialKind{
		"odoo-app": events.CredentialDatabase, "analytics-reader": events.CredentialDatabase, "odoo-master": events.CredentialKV, "export-webhook": events.CredentialKV,
		"restic": events.CredentialSTS, "vault-root": events.CredentialRoot,
	}
	var before map[string]credentialView
	s.eventually("each credential has been made once", 3*time.Minute, func() error {
		var err error
		if before, err = s.credentialsShown(); err != nil {
			return err
		}
		for name, kind := range kinds {
			if one := before[name]; one.Kind != kind || one.TTLLeft == nil {
				return fmt.Errorf("%s: kind %q, version %d, made here: %v", name, one.Kind, one.Version, one.TTLLeft != nil)
			}
		}
		return nil
	})
	if len(before) != len(kinds) {
		t.Errorf("%d credentials are rotated, want %d", len(before), len(kinds))
	}
	if root := before["vault-root"]; root.Version < 2 {
		t.Errorf("the engine's own login is version %d, that of the first start", root.Version)
	}
	if out, code := s.run("credentials", "rotate", "analytics-reader", "--reason", "the stack's test"); code != exitDone {
		t.Errorf("credentials rotate exits %d: %s", code, out)
	}
	s.eventually("readers are on another login", 30*time.Second, func() error {
		now, err := s.credentialsShown()
		if err != nil {
			return err
		}
		if now["analytics-reader"].Version <= before["analytics-reader"].Version {
			return fmt.Errorf("version %d is in use as before", now["analytics-reader"].Version)
		}
		return s.readersAre(now["analytics-reader"].User)
	})
	s.theWebhookIsReplaced(t)
	s.theMasterPasswordIsReplaced(t)
}

// theWebhookIsReplaced rotates what Odoo signs its announcements with: the new secret is taken at once, and the one before it as well while its time is not over.
func (s *stack) theWebhookIsReplaced(t *testing.T) {
	r := s.active(t)
	s.eventually("Odoo's own announcements are taken", time.Minute, func() error {
		_, metrics, err := get(s.url(r, layout.PortIngest, "/metrics"))
		if err != nil || !regexp.MustCompile(`(?m)^ofitec_etl_ingest_announcements_total\{outcome="taken"\} [1-9]`).MatchString(metrics) {
			return fmt.Errorf("none yet: %w", err)
		}
		return nil
	})
	file := s.layout.WebhookSecretFile(r)
	before := readTrimmed(t, file)
	taken := func(secret string) func() error {
		return func() error {
			if code, err := s.announce(r, secret); err != nil || code != http.StatusAccepted {
				return fmt.Errorf("%d %w", code, err)
			}
			return nil
		}
	}
	if out, code := s.run("credentials", "rotate", "export-webhook", "--reason", "the stack's test"); code != exitDone {
		t.Errorf("credentials rotate exits %d: %s", code, out)
	}
	after := before
	s.eventually("Odoo has the new secret", 30*time.Second, func() error {
		if after = readTrimmed(t, file); after == before {
			return errors.New("it signs with the one before")
		}
		return nil
	})
	s.eventually("the new secret is taken", 5*time.Second, taken(after))
	s.eventually("the one before is taken while it overlaps", 5*time.Second, taken(before))
	if code, err := s.announce(r, before+"x"); err != nil || code != http.StatusUnauthorized {
		t.Errorf("a signature by nothing of the two is answered %d, %v", code, err)
	}
	s.webhookBefore = before
}

// theWebhookBeforeIsRefused waits until the time is over in which a secret that was replaced is taken.
func (s *stack) theWebhookBeforeIsRefused(t *testing.T) {
	r := s.active(t)
	s.eventually("the secret before is refused", 2*time.Minute, func() error {
		if code, err := s.announce(r, s.webhookBefore); err != nil || code != http.StatusUnauthorized {
			return fmt.Errorf("%d %w", code, err)
		}
		return nil
	})
	s.eventually("the newest is taken", 10*time.Second, func() error {
		if code, err := s.announce(r, readTrimmed(t, s.layout.WebhookSecretFile(r))); err != nil || code != http.StatusAccepted {
			return fmt.Errorf("%d %w", code, err)
		}
		return nil
	})
}

// announce tells a region's etl-ingest, as Odoo does, that invoices have changed.
func (s *stack) announce(r layout.Region, secret string) (int, error) {
	const body = `{"dataset":"invoice"}`
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(at + "." + body))
	request, err := http.NewRequest(http.MethodPost, s.url(r, layout.PortIngest, "/v1/announce"), strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("X-Ofitec-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	return statusOf(request)
}

// theMasterPasswordIsReplaced has a new one rolled out: it opens the database manager of every colour, and the one before opens none.
func (s *stack) theMasterPasswordIsReplaced(t *testing.T) {
	before := s.masterEverywhere(t, "", 3*time.Minute)
	if out, code := s.run("credentials", "rotate", "odoo-master", "--reason", "the stack's test"); code != exitDone {
		t.Errorf("credentials rotate exits %d: %s", code, out)
	}
	s.masterEverywhere(t, before, 3*time.Minute)
	for _, r := range layout.DataRegions {
		for _, port := range []int{layout.PortOdooBlue, layout.PortOdooGreen} {
			if code, err := s.manage(r, port, before); err != nil || code != http.StatusForbidden {
				t.Errorf("the database manager at %s takes the master password before: %d, %v", s.url(r, port, ""), code, err)
			}
		}
	}
}

// masterEverywhere waits until all colours of both regions have one master password, another one than the one given, which opens each one's database manager.
func (s *stack) masterEverywhere(t *testing.T, before string, within time.Duration) (master string) {
	t.Helper()
	s.eventually("one master password opens every colour's database manager", within, func() error {
		master = ""
		for _, r := range layout.DataRegions {
			for colour, port := range map[string]int{"blue": layout.PortOdooBlue, "green": layout.PortOdooGreen} {
				now, err := s.envLine(r, colour, "ODOO_MASTER_PASSWORD")
				if err != nil || now == "" || now == before || master != "" && now != master {
					return fmt.Errorf("%s of region %s is not on the new one yet", colour, r)
				}
				master = now
				if code, err := s.manage(r, port, now); err != nil || code != http.StatusOK {
					return fmt.Errorf("%s of region %s: %d %w", colour, r, code, err)
				}
			}
		}
		return nil
	})
	return master
}

// manage asks a colour's database manager.
func (s *stack) manage(r layout.Region, port int, master string) (int, error) {
	form := url.Values{"master_pwd": {master}, "name": {"ofitec_prod"}}
	request, err := http.NewRequest(http.MethodPost, s.url(r, port, "/web/database/backup"), strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return statusOf(request)
}

// statusOf is what a request is answered within 5 s.
func statusOf(request *http.Request) (int, error) {
	response, err := (&http.Client{Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func readTrimmed(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// readersAre reads by each file that a reader connects with: as whom, and that this one cannot write.
func (s *stack) readersAre(user string) error {
	var problems []error
	for _, r := range layout.DataRegions {
		for _, file := range []string{s.layout.AnalyticsFile(r), filepath.Join(s.layout.OutsideIdentityDir("console"), "analytics-"+string(r)+".dsn")} {
			if err := readerIs(file, user); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", file, err))
			}
		}
	}
	return errors.Join(problems...)
}

func readerIs(file, user string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	dsn, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, strings.TrimSpace(string(dsn)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var on, readOnly string
	if err := conn.QueryRow(ctx, "SELECT session_user, current_setting('transaction_read_only')").Scan(&on, &readOnly); err != nil {
		return err
	}
	if on != user || readOnly != "on" {
		return fmt.Errorf("it is for %s (read only: %s), want %s", on, readOnly, user)
	}
	return nil
}
