package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
