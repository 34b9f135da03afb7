// Package bootstrap brings the servers of the local stack from empty to ready: users, roles, streams, clusters, policies and buckets.
// Every function may be repeated, also after a crash in the middle; it makes what is missing and changes what differs. The caller retries.
package bootstrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events/state"
)

// grant is a permission on one key, or on all keys that begin with it.
type grant struct {
	key    string
	prefix bool
	kind   clientv3.PermissionType
}

const (
	reads  = clientv3.PermissionType(clientv3.PermRead)
	writes = clientv3.PermissionType(clientv3.PermReadWrite)
)

// etcdGrants is what a service in a region may do. The console stands in region "outside".
func etcdGrants(service, region string) []grant {
	outbox := grant{state.OutboxPrefix(service), true, writes}
	watching := []grant{{state.PrefixFail, true, reads}, {state.KeyActive, false, reads}}
	switch service {
	case "failover-arbiter":
		return []grant{{state.PrefixFail, true, writes}, {state.KeyActive, false, writes}, outbox}
	case "rotator":
		return append(watching, grant{state.PrefixCred, true, writes}, grant{"/ofitec/rotator/", true, writes}, grant{state.PrefixDepl, true, reads}, outbox)
	case "deployer":
		return append(watching, grant{state.PrefixCred, true, reads}, grant{state.PrefixDepl + region + "/", true, writes}, grant{"/ofitec/deployer/" + region + "/", true, writes}, outbox)
	case "console":
		return []grant{{state.PrefixAll, true, reads}, {state.PrefixReq, true, writes}}
	default:
		return watching
	}
}

// etcdUser is a user by the common name of its certificate, and its role of the same name.
type etcdUser struct {
	name   string
	grants []grant
}

func etcdUsers() []etcdUser {
	var users []etcdUser
	for _, service := range layout.Services {
		for _, r := range service.Regions {
			users = append(users, etcdUser{service.Name + "." + string(r), etcdGrants(service.Name, string(r))})
		}
	}
	return append(users, etcdUser{"console.outside", etcdGrants("console", "outside")})
}

// Etcd makes users and roles and then switches authorisation on. operator is root's certificate, with which it also works when it is on already.
func Etcd(ctx context.Context, endpoints []string, operator *tls.Config) error {
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: endpoints, TLS: operator, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return fmt.Errorf("connect to etcd: %w", err)
	}
	defer func() { _ = client.Close() }()
	for _, user := range etcdUsers() {
		if err := ensureRole(ctx, client, user.name, user.grants); err != nil {
			return err
		}
		if err := ensureUser(ctx, client, user.name); err != nil {
			return err
		}
	}
	if _, err := client.RoleAdd(ctx, "root"); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
		return fmt.Errorf("add etcd role root: %w", err)
	}
	if err := ensureUser(ctx, client, "root"); err != nil {
		return err
	}
	status, err := client.AuthStatus(ctx)
	if err != nil {
		return fmt.Errorf("read etcd authorisation: %w", err)
	}
	if status.Enabled {
		return nil
	}
	if _, err := client.AuthEnable(ctx); err != nil {
		return fmt.Errorf("switch etcd authorisation on: %w", err)
	}
	return nil
}

// ensureUser makes a user that no password opens, only a certificate. It writes only what is missing: each change of the
// authorisation makes every client authenticate anew.
func ensureUser(ctx context.Context, client *clientv3.Client, name string) error {
	user, err := client.UserGet(ctx, name)
	if errors.Is(err, rpctypes.ErrUserNotFound) {
		_, err = client.UserAddWithOptions(ctx, name, "", &clientv3.UserAddOptions{NoPassword: true})
		if err != nil && !errors.Is(err, rpctypes.ErrUserAlreadyExist) {
			return fmt.Errorf("add etcd user %s: %w", name, err)
		}
		user, err = client.UserGet(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("read etcd user %s: %w", name, err)
	}
	if !slices.Contains(user.Roles, name) {
		if _, err := client.UserGrantRole(ctx, name, name); err != nil {
			return fmt.Errorf("grant etcd role %s: %w", name, err)
		}
	}
	for _, role := range user.Roles {
		if role == name {
			continue
		}
		if _, err := client.UserRevokeRole(ctx, name, role); err != nil {
			return fmt.Errorf("revoke etcd role %s of %s: %w", role, name, err)
		}
	}
	return nil
}

func ensureRole(ctx context.Context, client *clientv3.Client, name string, grants []grant) error {
	role, err := client.RoleGet(ctx, name)
	if errors.Is(err, rpctypes.ErrRoleNotFound) {
		if _, err = client.RoleAdd(ctx, name); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return fmt.Errorf("add etcd role %s: %w", name, err)
		}
		role, err = client.RoleGet(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("read etcd role %s: %w", name, err)
	}
	for _, g := range grants {
		if slices.ContainsFunc(role.Perm, g.is) {
			continue
		}
		if _, err := client.RoleGrantPermission(ctx, name, g.key, g.end(), g.kind); err != nil {
			return fmt.Errorf("grant %s to etcd role %s: %w", g.key, name, err)
		}
	}
	for _, have := range role.Perm {
		if slices.ContainsFunc(grants, func(g grant) bool { return g.key == string(have.Key) && g.end() == string(have.RangeEnd) }) {
			continue
		}
		if _, err := client.RoleRevokePermission(ctx, name, string(have.Key), string(have.RangeEnd)); err != nil {
			return fmt.Errorf("revoke %s of etcd role %s: %w", have.Key, name, err)
		}
	}
	return nil
}

func (g grant) end() string {
	if g.prefix {
		return clientv3.GetPrefixRangeEnd(g.key)
	}
	return ""
}

func (g grant) is(have *authpb.Permission) bool {
	return g.key == string(have.Key) && g.end() == string(have.RangeEnd) && clientv3.PermissionType(have.PermType) == g.kind
}
