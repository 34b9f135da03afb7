package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

const readerPlace = "ofitec/credentials/analytics-reader"

// read logs in to the marts with a version, as a dashboard does.
func (r *rig) read(ctx context.Context, t *testing.T, version int64) (*pgx.Conn, error) {
	t.Helper()
	settings, err := pgx.ParseConfig("postgres://" + r.proxy + "/analytics?sslmode=verify-full&sslrootcert=" + r.database.TLS.CA)
	must(t, err)
	settings.User, settings.Password = r.vault.value(t, readerPlace, "username", version), r.vault.value(t, readerPlace, "password", version)
	r.passwords = append(r.passwords, settings.Password)
	return pgx.ConnectConfig(ctx, settings)
}

// readers are the users that Vault has made for dashboards.
func (r *rig) readers(t *testing.T) string {
	t.Helper()
	return r.database.Super(t, "analytics", "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'v-approle-analytic-%'")
}

func TestAReaderIsReplacedWithoutADeployerAndOneThatMayWriteIsRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	role, err := deploy.VaultReaderRole()
	must(t, err)
	r.vault.databaseRole(t, "analytics-reader", "1h", "24h", role)
	p := r.rotator(t, events.RegionA, configFile(t, `
credentials:
  - {name: odoo-app, kind: database}
  - {name: analytics-reader, kind: database, deploy: false, overlap: 2s, reads: {database: analytics, group: analytics_reader}}
`))
	first := r.inUse(t, "analytics-reader", 0)
	held, err := r.read(t.Context(), t, first.Number)
	must(t, err)
	r.jobFor(t, "analytics-reader", "r-1")
	second := r.inUse(t, "analytics-reader", first.Number)
	if len(second.Asked)+len(second.Deployed) > 0 {
		t.Errorf("deployers were asked: %+v", second)
	}
	next, err := r.read(t.Context(), t, second.Number)
	must(t, err)
	await(t, 30*time.Second, "the first reader is seen out", func() bool { return r.readers(t) == second.User && ended(held) })
	if ended(next) {
		t.Error("the second reader was seen out with the first")
	}
	if application := r.settled(t, 1); application.Trigger != "first" || application.Act != nil {
		t.Errorf("the application's user is %+v: the reader's rotation is none of its", application)
	}
	for group, reason := range map[string]string{"analytics_reader, analytics_owner": "can make a table", "odoo_owner": "pg_hba.conf rejects"} {
		wrong := role
		wrong.Creation = strings.Replace(role.Creation, "IN ROLE analytics_reader", "IN ROLE "+group, 1)
		r.vault.databaseRole(t, "analytics-reader", "1h", "24h", wrong)
		r.jobFor(t, "analytics-reader", "r-"+strings.ReplaceAll(group, ", ", "-"))
		await(t, 30*time.Second, "a member of "+group+" is refused and ended", func() bool {
			return slices.ContainsFunc(r.stateOf(t, "analytics-reader").Versions, func(v state.CredentialVersion) bool {
				return v.Cause == "rejected" && v.Stage == state.StageRevoked && strings.Contains(v.Reason, reason)
			})
		}, func() string { return fmt.Sprintf("%+v", r.stateOf(t, "analytics-reader").Versions) })
	}
	if now := current(r.stateOf(t, "analytics-reader")); now.Number != second.Number || ended(next) {
		t.Errorf("in use is %+v, want the second reader as before", now)
	}
	r.vault.databaseRole(t, "analytics-reader", "1h", "24h", role)
	third := r.inUse(t, "analytics-reader", second.Number)
	await(t, 30*time.Second, "one reader is left", func() bool { return r.readers(t) == third.User })
	p.Terminate(t)
	r.checkSecrets(t, p.Output())
}
