package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// configFile writes the rotator's YAML file.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := shortDir(t) + "/rotator.yml"
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return "OFITEC_CONFIG=" + path
}

// passwordPolicies brings Vault's password policies.
func (v *vaultServer) passwordPolicies(t *testing.T) {
	t.Helper()
	policies, err := deploy.VaultPasswordPolicies()
	must(t, err)
	for name, policy := range policies {
		v.write(t, "sys/policies/password/"+name, map[string]any{"policy": policy})
	}
}

// value is a field of a version; empty when it cannot be read any more.
func (v *vaultServer) value(t *testing.T, path, field string, version int64) string {
	t.Helper()
	answer, err := v.root.Logical().ReadWithData("secret/data/"+path, map[string][]string{"version": {fmt.Sprint(version)}})
	must(t, err)
	if answer == nil {
		return ""
	}
	data, _ := answer.Data["data"].(map[string]any)
	text, _ := data[field].(string)
	return text
}

func (r *rig) stateOf(t *testing.T, name string) (s state.Credential) {
	t.Helper()
	answer, err := r.etcd.Get(t.Context(), state.CredentialKey(name))
	must(t, err)
	if len(answer.Kvs) > 0 {
		s, err = state.Decode[state.Credential](answer.Kvs[0].Value)
		must(t, err)
	}
	return s
}

// inUse waits until a version after the given number is in use.
func (r *rig) inUse(t *testing.T, name string, after int64) (v state.CredentialVersion) {
	t.Helper()
	await(t, 60*time.Second, name+" has another version in use", func() bool { v = current(r.stateOf(t, name)); return v.Number > after && v.Lease != "" },
		func() string { return fmt.Sprintf("%+v", r.stateOf(t, name).Versions) })
	return v
}

func (r *rig) jobFor(t *testing.T, name, request string) {
	t.Helper()
	job := events.JobRotate{Name: name, Act: events.Act{Actor: "maria", Reason: "a test", Request: request, At: time.Now().UTC()}}
	event, err := events.New(events.Origin{Region: events.RegionA, Service: events.ServiceConsole}, time.Now(), job)
	must(t, err)
	_, err = r.bus.Publish(t.Context(), event)
	must(t, err)
}

func TestSecretsByPolicyAreDeployedOrOverlapAreNowhereElseAndNotTooShort(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	r.vault.passwordPolicies(t)
	r.vault.write(t, "secret/data/ofitec/credentials/odoo-master", map[string]any{"data": map[string]any{"value": "the-first-start's-own"}})
	p := r.rotator(t, events.RegionA, configFile(t, `
credentials:
  - {name: odoo-master, kind: kv, generate: ofitec-secret, life: 24h}
  - {name: export-webhook, kind: kv, deploy: false, generate: ofitec-secret, life: 24h, overlap: 4s}
`))
	master := r.inUse(t, "odoo-master", 1)
	if master.Number != 2 || !slices.Equal(master.Asked, []events.Region{"b", "a"}) || !slices.Equal(master.Deployed, []events.Region{"b", "a"}) {
		t.Errorf("the master password's version is %+v, want one that went to b and then to a", master)
	}
	secret := r.vault.value(t, "ofitec/credentials/odoo-master", "value", 2)
	if len(secret) != 40 || strings.ContainsFunc(secret, func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", c)
	}) {
		t.Errorf("the policy has made %d characters, or others than letters and digits", len(secret))
	}
	if epoch, term := r.vault.value(t, "ofitec/credentials/odoo-master", "epoch", 2), r.vault.value(t, "ofitec/credentials/odoo-master", "term", 2); epoch != events.Epoch(1).String() || term == "" {
		t.Errorf("written under epoch %q and term %q", epoch, term)
	}
	first := r.inUse(t, "export-webhook", 0)
	r.jobFor(t, "export-webhook", "r-1")
	second := r.inUse(t, "export-webhook", first.Number)
	const place = "ofitec/credentials/export-webhook"
	before, now := r.vault.value(t, place, "value", first.Number), r.vault.value(t, place, "value", second.Number)
	if before == "" || now == "" || before == now {
		t.Error("during the overlap both versions must be there, and differ")
	}
	await(t, 20*time.Second, "the version before is destroyed", func() bool { return r.vault.value(t, place, "value", first.Number) == "" })
	if age := time.Since(second.MintedAt); age < 4*time.Second {
		t.Errorf("the version before was destroyed %s after the next one was made: the overlap is 4s", age)
	}
	await(t, 20*time.Second, "its end is told", func() bool { return len(r.facts(t, events.TypeCredentialRevoked)) > 0 })
	p.Terminate(t)
	r.passwords = append(r.passwords, secret, before, now)
	r.checkSecrets(t, p.Output())
	r.checkShort(t)
}

// checkShort has a policy that makes too little.
func (r *rig) checkShort(t *testing.T) {
	t.Helper()
	before := len(r.facts(t, events.TypeCredentialRotated))
	r.vault.write(t, "sys/policies/password/ofitec-secret", map[string]any{"policy": "length = 8\nrule \"charset\" { charset = \"abcdefgh\" }"})
	r.rotator(t, events.RegionA, configFile(t, "credentials:\n  - {name: short, kind: kv, generate: ofitec-secret, life: 24h}\n"))
	await(t, 60*time.Second, "a version is refused and ended", func() bool {
		versions := r.stateOf(t, "short").Versions
		return len(versions) > 0 && versions[0].Stage == state.StageRevoked
	})
	if v := r.stateOf(t, "short").Versions[0]; v.Cause != "rejected" || !strings.Contains(v.Reason, "8 characters") {
		t.Errorf("the refused version is %+v", v)
	}
	if published := r.facts(t, events.TypeCredentialRotated); len(published) > before {
		t.Errorf("published: %v", published[before:])
	}
}

const rootConfig = `
credentials:
  - {name: odoo-app, kind: database}
  - {name: vault-root, kind: vault-root, generate: ofitec-secret, connection: ofitec, life: 24h, overlap: 1h}
`

// mints says whether Vault can make a user of the database.
func (v *vaultServer) mints(t *testing.T) bool {
	t.Helper()
	made, err := v.root.Logical().Read("database/creds/odoo-app")
	if err == nil && made != nil {
		must(t, v.root.Sys().Revoke(made.LeaseID))
	}
	return err == nil && made != nil
}

func TestTheEnginesOwnLoginIsRotatedWhenTheStandbyIsPastItAndSurvivesAFailoverThatLosesIt(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	r.vault.passwordPolicies(t)
	const place = "ofitec/rotator/vault-root"
	r.vault.write(t, "secret/data/"+place, map[string]any{"data": map[string]any{"username": "vault_admin", "password": postgrestest.Password}})
	verifier := func() string {
		return r.database.Super(t, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'vault_admin'")
	}
	old := verifier()
	// Without a standby nothing is touched, and users are made as before.
	alone := r.rotator(t, events.RegionA, configFile(t, rootConfig))
	await(t, 60*time.Second, "the change is tried and refused", func() bool { return failures(alone.Await(t, "/metrics", 200), "apply") >= 1 })
	r.settled(t, 1)
	if verifier() != old || !r.vault.mints(t) {
		t.Fatal("the login was changed though no standby could have followed")
	}
	alone.Terminate(t)
	s := startStandby(t, r.database, true)
	p := r.rotator(t, events.RegionA, configFile(t, rootConfig), "OFITEC_DATABASE_READ_PROXIES="+s.Relay(t))
	now := r.inUse(t, "vault-root", 1)
	if verifier() == old || s.Super(t, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'vault_admin'") != verifier() {
		t.Error("the login is not changed, or the standby has another one")
	}
	if !r.vault.mints(t) {
		t.Error("Vault cannot make a user any more")
	}
	if r.vault.value(t, place, "password", 1) != postgrestest.Password {
		t.Error("the password before is not kept aside")
	}
	// A failover that has lost the change: the new primary knows the password before only.
	changed := verifier()
	r.database.Super(t, "postgres", fmt.Sprintf("ALTER ROLE vault_admin PASSWORD '%s'", old))
	r.database.Super(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vault_admin'")
	if r.vault.mints(t) {
		t.Fatal("the test has not locked Vault out")
	}
	r.epoch(t, 2)
	await(t, 30*time.Second, "Vault makes users again", func() bool { return r.vault.mints(t) })
	if again := verifier(); again == old || again == changed {
		t.Error("the login was not put into force again")
	}
	if kept := current(r.stateOf(t, "vault-root")); kept.Number != now.Number || kept.Verified != 2 {
		t.Errorf("in use is %+v", kept)
	}
	r.passwords = append(r.passwords, r.vault.value(t, place, "password", now.Number))
	p.Terminate(t)
	r.checkSecrets(t, p.Output())
	log, err := os.ReadFile(r.database.Dir + "/log")
	must(t, err)
	if strings.Contains(string(log), "SCRAM-SHA-256$") || strings.Contains(string(log), r.passwords[len(r.passwords)-1]) {
		t.Error("PostgreSQL's log holds the login")
	}
}
