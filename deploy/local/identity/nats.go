package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// trustees sign NATS's tokens: the operator signs accounts, an account signs its users.
type trustees struct {
	dir                string
	operator, sys, ops nkeys.KeyPair
}

func openTrustees(dir string) (*trustees, error) {
	t := &trustees{dir: dir}
	for _, one := range []struct {
		name string
		make func() (nkeys.KeyPair, error)
		kind nkeys.PrefixByte
		to   *nkeys.KeyPair
	}{
		{"operator", nkeys.CreateOperator, nkeys.PrefixByteOperator, &t.operator},
		{"SYS", nkeys.CreateAccount, nkeys.PrefixByteAccount, &t.sys},
		{"OPS", nkeys.CreateAccount, nkeys.PrefixByteAccount, &t.ops},
	} {
		path := filepath.Join(dir, one.name+".seed")
		content, found, err := read(path)
		if err != nil {
			return nil, err
		}
		if !found {
			pair, err := one.make()
			if err != nil {
				return nil, fmt.Errorf("make NATS key %s: %w", one.name, err)
			}
			if content, err = pair.Seed(); err != nil {
				return nil, fmt.Errorf("make NATS key %s: %w", one.name, err)
			}
			if err := write(path, content, 0o600, Owner{-1, -1}); err != nil {
				return nil, err
			}
		}
		if kind, _, err := nkeys.DecodeSeed(content); err != nil || kind != one.kind {
			return nil, damaged(path, "it is not the seed of "+one.name, "restore it, or remove it: all NATS credentials are then made anew, and all servers must start again")
		}
		if *one.to, err = nkeys.FromSeed(content); err != nil {
			return nil, damaged(path, err.Error(), "restore it")
		}
	}
	return t, nil
}

// fill puts the tokens that servers need into the set.
func (t *trustees) fill(set *Set) error {
	sys, err := t.sys.PublicKey()
	if err != nil {
		return fmt.Errorf("read NATS key: %w", err)
	}
	ops, err := t.ops.PublicKey()
	if err != nil {
		return fmt.Errorf("read NATS key: %w", err)
	}
	root, err := t.operator.PublicKey()
	if err != nil {
		return fmt.Errorf("read NATS key: %w", err)
	}
	operator := jwt.NewOperatorClaims(root)
	operator.Name, operator.SystemAccount = "ofitec", sys
	if set.OperatorJWT, err = t.token("operator", operator); err != nil {
		return err
	}
	system := jwt.NewAccountClaims(sys)
	system.Name = "SYS"
	business := jwt.NewAccountClaims(ops)
	business.Name = "OPS"
	// The servers' own limits hold; the account adds none.
	business.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit,
	}
	set.SystemAccount = sys
	for _, account := range []*jwt.AccountClaims{system, business} {
		token, err := t.token(account.Name, account)
		if err != nil {
			return err
		}
		set.Accounts = append(set.Accounts, deploy.NATSAccount{PublicKey: account.Subject, JWT: token})
	}
	return nil
}

// token keeps the token of a file while it says what it should; an equal one signed anew would make the servers disagree for nothing.
func (t *trustees) token(name string, claims jwt.Claims) (string, error) {
	path := filepath.Join(t.dir, name+".jwt")
	fresh, err := claims.Encode(t.operator)
	if err != nil {
		return "", fmt.Errorf("sign NATS token of %s: %w", name, err)
	}
	content, found, err := read(path)
	if err != nil {
		return "", err
	}
	if found {
		equal, err := saysTheSame(string(content), fresh)
		if err != nil {
			return "", damaged(path, err.Error(), "remove it, it is signed anew at the next start")
		}
		if equal {
			return string(content), nil
		}
	}
	return fresh, write(path, []byte(fresh), 0o600, Owner{-1, -1})
}

// saysTheSame compares two tokens but for time and serial number. The error says that the first one is no valid token.
func saysTheSame(old, fresh string) (bool, error) {
	if _, err := jwt.Decode(old); err != nil {
		return false, err
	}
	a, err := content(old)
	if err != nil {
		return false, err
	}
	b, err := content(fresh)
	return err == nil && bytes.Equal(a, b), err
}

func content(token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("it is not a token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("decode token: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		return nil, fmt.Errorf("decode token: %w", err)
	}
	delete(claims, "iat")
	delete(claims, "jti")
	return json.Marshal(claims)
}

// user keeps or makes a credentials file. The key stays when only the permissions change.
func (t *trustees) user(path, name string, account nkeys.KeyPair, permissions jwt.Permissions, owner Owner) error {
	const wayOut = "remove it, it is made anew at the next start"
	old, found, err := read(path)
	if err != nil {
		return err
	}
	var pair nkeys.KeyPair
	var oldToken string
	if found {
		if pair, err = jwt.ParseDecoratedUserNKey(old); err != nil {
			return damaged(path, err.Error(), wayOut)
		}
		if oldToken, err = jwt.ParseDecoratedJWT(old); err != nil {
			return damaged(path, err.Error(), wayOut)
		}
	} else if pair, err = nkeys.CreateUser(); err != nil {
		return fmt.Errorf("make NATS key of %s: %w", name, err)
	}
	key, err := pair.PublicKey()
	if err != nil {
		return damaged(path, err.Error(), wayOut)
	}
	claims := jwt.NewUserClaims(key)
	claims.Name, claims.Permissions = name, permissions
	claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard}
	fresh, err := claims.Encode(account)
	if err != nil {
		return fmt.Errorf("sign NATS token of %s: %w", name, err)
	}
	if found {
		equal, err := saysTheSame(oldToken, fresh)
		if err != nil {
			return damaged(path, err.Error(), wayOut)
		}
		if equal {
			return own(path, 0o600, owner)
		}
	}
	seed, err := pair.Seed()
	if err != nil {
		return fmt.Errorf("read NATS key of %s: %w", name, err)
	}
	file, err := jwt.FormatUserConfig(fresh, seed)
	if err != nil {
		return fmt.Errorf("write NATS credentials of %s: %w", name, err)
	}
	return write(path, file, 0o600, owner)
}

// permissionsOf a service. The console acts from outside for every region, so it may publish its commands towards each.
func permissionsOf(service string, r layout.Region) jwt.Permissions {
	allowed := events.PermissionsOf(service, events.Region(r))
	if r == outside {
		for _, region := range events.Regions {
			for _, definition := range events.PublishedBy(service) {
				allowed.PublishAllow = append(allowed.PublishAllow, events.Filter(region, definition.Type))
			}
		}
	}
	return jwt.Permissions{
		Pub: jwt.Permission{Allow: allowed.PublishAllow, Deny: allowed.PublishDeny},
		Sub: jwt.Permission{Allow: allowed.SubscribeAllow},
	}
}

// operatorUsers are the command's: everything in OPS, and one in SYS for looking at the servers.
func (t *trustees) operatorUsers(p place) error {
	var everything jwt.Permissions
	if err := t.user(filepath.Join(p.dir, "nats.creds"), "operator", t.ops, everything, p.owner); err != nil {
		return err
	}
	return t.user(filepath.Join(p.dir, "sys.creds"), "operator", t.sys, everything, p.owner)
}
