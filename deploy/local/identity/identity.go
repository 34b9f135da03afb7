// Package identity makes who is who in the local stack: a CA and certificates, NATS credentials, passwords and keys, one folder for each
// component of each region, readable by that component's user only. It writes files and speaks to no server.
package identity

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Set is what servers' configurations and the bootstrap need of the identities. It holds secrets: do not print it.
type Set struct {
	OperatorJWT   string               // signs the NATS accounts
	SystemAccount string               // public key of SYS
	Accounts      []deploy.NATSAccount // SYS and OPS
	RoutePassword string               // of NATS's servers among themselves

	secrets map[string]string
}

// Password is a PostgreSQL role's, one of deploy.PostgresLoginRoles.
func (s *Set) Password(role string) (string, error) {
	password, ok := s.secrets[roleSecret(role)]
	if !ok {
		return "", fmt.Errorf("find password: role %q has none", role)
	}
	return password, nil
}

// Ensure makes what is missing and keeps what is valid, so that it can run at each start and again after a crash at any point.
// Certificates that end within two months are signed anew for the same key, and NATS tokens when events.PermissionsOf has changed. A damaged file is
// an error that names it and the way out; nothing is overwritten that cannot be made again. Only one process may run it on a folder at a time.
func Ensure(l layout.Layout, owners Owners) (*Set, error) { return ensure(l, owners, time.Now()) }

func ensure(l layout.Layout, owners Owners, now time.Time) (*Set, error) {
	secretsDir, natsDir := filepath.Join(l.OperatorDir(), "secrets"), filepath.Join(l.OperatorDir(), "nats")
	for _, dir := range []string{l.OperatorDir(), secretsDir, natsDir} {
		if err := makeDir(dir, Owner{-1, -1}); err != nil {
			return nil, err
		}
	}
	ca, err := openAuthority(l.OperatorDir(), now)
	if err != nil {
		return nil, err
	}
	all := places(l, owners)
	for _, p := range all {
		if err := ca.trust(p); err != nil {
			return nil, err
		}
	}
	set := &Set{secrets: map[string]string{}}
	for _, secret := range secrets(l, owners) {
		content, err := secret.ensure(secretsDir)
		if err != nil {
			return nil, err
		}
		set.secrets[secret.name] = string(content)
	}
	set.RoutePassword = set.secrets["nats-route"]
	if err := ensureDNSKeys(l, owners, secretsDir); err != nil {
		return nil, err
	}
	return set, ensureNATS(set, natsDir, all)
}

func ensureNATS(set *Set, dir string, all []place) error {
	trusted, err := openTrustees(dir)
	if err != nil {
		return err
	}
	if err := trusted.fill(set); err != nil {
		return err
	}
	for _, p := range all {
		if !p.service {
			continue
		}
		if err := trusted.user(filepath.Join(p.dir, "nats.creds"), p.name, trusted.ops, permissionsOf(p.component, p.region), p.owner); err != nil {
			return err
		}
	}
	return trusted.operatorUsers(all[len(all)-1])
}
