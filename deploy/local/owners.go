package local

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// owners maps a component to the user under which it runs. It is empty when the stack is not started by root: then all run as the one user,
// and file modes keep nobody apart.
type owners map[string]supervise.Credential

// firstUID begins the range of numeric users for components without a packaged user. They need no entry in /etc/passwd: nobody logs in as them.
const firstUID = 62100

// packagedUsers are components that run under the user of their Debian package. The arbiter shares PostgreSQL's, for it is its hands: the Unix socket,
// the swap of pg_hba.conf, the rejoin. The database proxy is the arbiter's too.
var packagedUsers = map[string]string{
	"postgres": "postgres", "failover-arbiter": "postgres", "haproxy-db": "postgres",
	"prometheus": "prometheus", "bind": "bind",
}

// numericUsers are all others, in a fixed order: the numbers stand in the data folder. Odoo's colours are one user, and the web proxy is the deployer's.
var numericUsers = [][]string{
	{"nats"}, {"etcd"}, {"vault"}, {"minio"}, {"odoo-blue", "odoo-green", "odoo"}, {"postgres-exporter"},
	{"health-probe"}, {"rotator"}, {"deployer", "haproxy-web"}, {"etl-ingest"}, {"etl-transform"}, {"console"},
}

// findOwners looks the users up; it must run after the packages are installed.
func findOwners() (owners, error) {
	all := owners{}
	if os.Geteuid() != 0 {
		return all, nil
	}
	for component, name := range packagedUsers {
		found, err := user.Lookup(name)
		if err != nil {
			return nil, fmt.Errorf("find the user of %s: %w; is its Debian package installed?", component, err)
		}
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if uidErr != nil || gidErr != nil {
			return nil, fmt.Errorf("find the user of %s: %s has no numeric id", component, name)
		}
		all[component] = supervise.Credential{UID: uint32(uid), GID: uint32(gid)}
	}
	for i, components := range numericUsers {
		for _, component := range components {
			id := uint32(firstUID + i)
			all[component] = supervise.Credential{UID: id, GID: id}
		}
	}
	for _, service := range layout.Services {
		if _, ok := all[service.Name]; !ok {
			return nil, fmt.Errorf("find the user of %s: it has none", service.Name)
		}
	}
	return all, nil
}

// of is a component's user; nil for the supervisor's own.
func (o owners) of(component string) *supervise.Credential {
	credential, ok := o[component]
	if !ok {
		return nil
	}
	return &credential
}

// forIdentity is the same map as package identity takes it.
func (o owners) forIdentity() identity.Owners {
	all := identity.Owners{}
	for component, credential := range o {
		all[component] = identity.Owner{UID: int(credential.UID), GID: int(credential.GID)}
	}
	return all
}
