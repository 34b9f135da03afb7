package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
)

func TestAUserThatVaultHasForgottenMayLogInNoMoreAndLeasesThatEndWithATokenAreReplaced(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	orphan := fmt.Sprintf("v-approle-odoo-app-AAAAAAAAAAAAAAAAAAAA-%d", time.Now().Add(-time.Hour).Unix())
	young := fmt.Sprintf("v-approle-odoo-app-BBBBBBBBBBBBBBBBBBBB-%d", time.Now().Add(time.Hour).Unix())
	for _, user := range []string{orphan, young} {
		r.database.Super(t, "ofitec_prod", fmt.Sprintf(`CREATE ROLE %q LOGIN NOINHERIT PASSWORD 'x' IN ROLE odoo_owner`, user))
	}
	p := r.rotator(t, events.RegionA)
	may := func(user string) string {
		return r.database.Super(t, "ofitec_prod", fmt.Sprintf("SELECT rolcanlogin FROM pg_roles WHERE rolname = '%s'", user))
	}
	await(t, 60*time.Second, "the forgotten user may log in no more", func() bool { return may(orphan) == "f" })
	if may(young) != "t" {
		t.Error("a user that is being made was fenced")
	}
	now := r.inUse(t, credential, 1)
	if may(now.User) != "t" {
		t.Error("the user in use was fenced")
	}
	await(t, 20*time.Second, "the comparison is told", func() bool {
		metrics := p.Await(t, "/metrics", 200)
		return strings.Contains(metrics, `ofitec_rotator_credential_differences{credential="odoo-app",what="user_unrecorded"} 1`) && metric(t, metrics, "ofitec_rotator_orphan_users_total") == 1
	})
	for _, user := range []string{orphan, young} {
		r.database.Super(t, "ofitec_prod", fmt.Sprintf(`DROP ROLE %q`, user))
	}
	r.checkRevokedToken(t)
}

// checkRevokedToken takes the rotator's token away, and with it the leases.
func (r *rig) checkRevokedToken(t *testing.T) {
	t.Helper()
	first := current(r.stateOf(t, credential))
	accessors, err := r.vault.root.Logical().List("auth/token/accessors")
	must(t, err)
	revoked := 0
	for _, accessor := range accessors.Data["keys"].([]any) {
		look, err := r.vault.root.Logical().Write("auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		if err == nil && strings.Contains(fmt.Sprint(look.Data["policies"]), "rotator") {
			must(t, r.vault.root.Auth().Token().RevokeAccessor(accessor.(string)))
			revoked++
		}
	}
	if revoked == 0 {
		t.Fatal("the rotator has no token")
	}
	if second := r.settled(t, first.Number); second.User == first.User {
		t.Errorf("in use is %+v", second)
	}
}

func TestEveryRequestNamesTheNamespace(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.Header.Get("X-Vault-Namespace")]++
		mu.Unlock()
		_, _ = w.Write([]byte(`{"data":{"ttl":3600}}`))
	}))
	t.Cleanup(server.Close)
	p := chassistest.Start(t, "VAULT_ADDR="+server.URL, "VAULT_NAMESPACE=ofitec/prod", "OFITEC_VAULT_TOKEN=t", "OFITEC_DATABASE_PROXIES="+chassistest.FreeAddr(t),
		"NATS_URL="+chassistest.NATS(t), "ETCD_ENDPOINTS="+etcdtest.Start(t))
	p.Await(t, "/metrics", 200)
	await(t, 10*time.Second, "Vault is asked", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) > 0 })
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || seen["ofitec/prod"] == 0 {
		t.Errorf("namespaces: %v", seen)
	}
}
