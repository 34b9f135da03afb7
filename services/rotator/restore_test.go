package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// startVaultOnRaft has integrated storage, which snapshots are of.
func startVaultOnRaft(t *testing.T, ttl, most string, d *postgrestest.Database, proxy string) *vaultServer {
	t.Helper()
	storage := fmt.Sprintf("storage \"raft\" {\n  path = %q\n  node_id = \"one\"\n  performance_multiplier = 1\n}\ncluster_addr = \"https://%s\"", shortDir(t), chassistest.FreeAddr(t))
	return startVaultOn(t, storage, ttl, most, d, proxy)
}

const restoreConfig = `
credentials:
  - {name: odoo-app, kind: database}
  - {name: export-webhook, kind: kv, deploy: false, generate: ofitec-secret, life: 24h}
  - {name: vault-root, kind: vault-root, generate: ofitec-secret, connection: ofitec, life: 24h, overlap: 1h}
`

// TestAVaultRestoredFromABackupIsCaughtUpWith takes Vault back to a time before several rotations, one of them of the engine's own login: leases, numbers and
// passwords of Vault are those of the snapshot, users and the book those of today. What is decided then is tested in internal/rotation each time; make drills runs this.
func TestAVaultRestoredFromABackupIsCaughtUpWith(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes a minute or two; make drills runs it")
	}
	t.Parallel() // it mostly waits
	r := startRigOn(t, startVaultOnRaft, "1h", "24h")
	r.vault.passwordPolicies(t)
	const root = "ofitec/rotator/vault-root"
	r.vault.write(t, "secret/data/"+root, map[string]any{"data": map[string]any{"username": "vault_admin", "password": postgrestest.Password}})
	p := r.rotator(t, events.RegionA, configFile(t, restoreConfig))
	then, webhook := r.settled(t, 1), r.inUse(t, "export-webhook", 0)
	var snapshot bytes.Buffer
	must(t, r.vault.root.Sys().RaftSnapshot(&snapshot))

	r.job(t, "r-1")
	before := r.settled(t, then.Number)
	r.job(t, "r-2")
	lost := r.settled(t, before.Number)
	r.jobFor(t, "export-webhook", "r-3")
	lostWebhook := r.inUse(t, "export-webhook", webhook.Number)
	verifier := func() string {
		return r.database.Super(t, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'vault_admin'")
	}
	early := verifier()
	const later = "of-a-later-time-than-the-snapshot"
	r.passwords = append(r.passwords, later)
	r.database.Super(t, "postgres", "ALTER ROLE vault_admin PASSWORD '"+later+"'")
	r.vault.write(t, "database/config/ofitec", map[string]any{"password": later})
	if !r.vault.mints(t) {
		t.Fatal("the engine does not take its new login")
	}

	must(t, r.vault.root.Sys().RaftSnapshotRestore(&snapshot, false))
	await(t, 30*time.Second, "Vault is back", func() bool {
		health, err := r.vault.root.Sys().Health()
		if err == nil && health.Sealed {
			_, err = r.vault.root.Sys().Unseal(r.vault.unsealKey)
		}
		return err == nil && !health.Sealed && !health.Standby && r.vault.stored(t) == then.Number
	})
	r.database.Super(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vault_admin'")
	// The engine's login of that time opens nothing: that is said, and the user in use goes on.
	await(t, 60*time.Second, "it is said that no stored password opens the database", func() bool {
		return strings.Contains(p.Output(), "no stored password opens the database as the engine's own user") && strings.Contains(p.Output(), "make a user of role odoo-app")
	})
	if now, _ := r.state(t); current(now).Number != lost.Number {
		t.Errorf("in use is %+v, though Vault can make no users", current(now))
	}
	if may := r.database.Super(t, "ofitec_prod", "SELECT rolcanlogin FROM pg_roles WHERE rolname = '"+lost.User+"'"); may != "t" {
		t.Error("the user in use may log in no more")
	}
	// By hand: the password that stands in the restored Vault is given to the user again.
	r.database.Super(t, "postgres", "ALTER ROLE vault_admin PASSWORD '"+early+"'")
	p.Terminate(t) // the next leader does not wait for its back-off
	r.checkSecrets(t, p.Output())
	p = r.rotator(t, events.RegionA, configFile(t, restoreConfig))

	await(t, 90*time.Second, "another version is in use", func() bool { s, _ := r.state(t); return current(s).Number > lost.Number },
		func() string { s, _ := r.state(t); return fmt.Sprintf("%+v", s.Versions) })
	now := r.settledButFor(t, lost.Number, lost.User)
	if now.Lease == lost.Lease || r.vault.stored(t) != now.Number {
		t.Errorf("in use is version %d, KV v2 counts %d", now.Number, r.vault.stored(t))
	}
	if may := r.database.Super(t, "ofitec_prod", "SELECT rolcanlogin FROM pg_roles WHERE rolname = '"+lost.User+"'"); may == "t" {
		t.Error("the user of a lease that Vault has forgotten may still log in")
	}
	again := r.inUse(t, "export-webhook", lostWebhook.Number)
	if text := r.vault.value(t, "ofitec/credentials/export-webhook", "value", again.Number); text == "" {
		t.Error("the newest version of the webhook's secret cannot be read")
	}
	p.Terminate(t)
	r.checkSecrets(t, p.Output())
}

// settledButFor waits until one version is in use and all others have ended; the user of one that Vault had forgotten stays, fenced.
func (r *rig) settledButFor(t *testing.T, after int64, forgotten string) (now state.CredentialVersion) {
	t.Helper()
	await(t, 90*time.Second, "one version is in use and the others have ended", func() bool {
		s, _ := r.state(t)
		now = current(s)
		for _, v := range s.Versions {
			if v.Stage != state.StageCurrent && v.Stage != state.StageRevoked {
				return false
			}
		}
		return now.Number > after && len(r.vault.leases(t)) == 1
	}, func() string { s, _ := r.state(t); return fmt.Sprintf("%+v leases %v", s.Versions, r.vault.leases(t)) })
	for _, user := range strings.Fields(strings.ReplaceAll(r.users(t), ",", " ")) {
		if user != now.User && user != forgotten {
			t.Errorf("user %s is left", user)
		}
	}
	return now
}
