package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// severalCredentials gives both colours' files the keys of three credentials, and the deployer a list of them.
func (r *rig) severalCredentials(t *testing.T) (config string) {
	t.Helper()
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		content, err := os.ReadFile(r.envFile(colour))
		must(t, err)
		must(t, os.WriteFile(r.envFile(colour), append(content, "ADMIN_PASSWORD=first # of the first start\nAWS_KEY=k\nAWS_SECRET=s\nAWS_TOKEN=t\n"...), 0o600))
	}
	config = r.dir + "/deployer.yaml"
	must(t, os.WriteFile(config, []byte(`credentials:
  - {name: odoo-app, kind: database}
  - {name: odoo-master, kind: kv, keys: {ADMIN_PASSWORD: value}}
  - {name: backup, kind: sts, keys: {AWS_KEY: access_key_id, AWS_SECRET: secret_access_key, AWS_TOKEN: session_token}}
`), 0o600))
	return "OFITEC_CONFIG=" + config
}

func (r *rig) publishOf(t *testing.T, credential string, kind events.CredentialKind, fields map[string]any) int64 {
	t.Helper()
	version := r.stageOf(t, credential, fields)
	r.sayOf(t, credential, kind, version)
	return version
}

// TestSeveralCredentialsOfAllKindsShareTheColoursAndTakeTurns rolls a master password, a session of three values and a database user out into the same files.
func TestSeveralCredentialsOfAllKindsShareTheColoursAndTakeTurns(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	config := r.severalCredentials(t)
	stop := r.load(t)
	p := r.deployer(t, config)
	const master, session, token = "mas'ter \"$1", "session+secret/==", "tok en#1"
	r.secrets = append(r.secrets, master, session, token)
	// All at once: they take turns, and the last file has all of them.
	kv := r.publishOf(t, "odoo-master", events.CredentialKV, map[string]any{"value": master, "id": "1"})
	sts := r.publishOf(t, "backup", events.CredentialSTS, map[string]any{"access_key_id": "AKIA", "secret_access_key": session, "session_token": token, "expiration": "2026-01-01T00:00:00Z"})
	_, login := r.rotate(t, true)
	ended := []state.Deployment{
		r.endedOf(t, "odoo-master", kv, state.DeploymentDone), r.endedOf(t, "backup", sts, state.DeploymentDone), r.ended(t, login, state.DeploymentDone),
	}
	slices.SortFunc(ended, func(a, b state.Deployment) int { return a.Started.Compare(*b.Started) })
	for n := range 2 {
		if ended[n].Ended.After(*ended[n+1].Started) || ended[n].Hot == "" {
			t.Errorf("%s ended at %s, and %s began at %s", ended[n].Name, ended[n].Ended, ended[n+1].Name, ended[n+1].Started)
		}
	}
	want := "POSTGRES_USER=" + r.made[0].user + "\nPOSTGRES_PASSWORD=X\nLAST=1\nADMIN_PASSWORD=\"mas'ter \\\"\\$1\"\nAWS_KEY=AKIA\nAWS_SECRET='session+secret/=='\nAWS_TOKEN='tok en#1'\n"
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		lines := strings.SplitAfter(r.login(t, colour), "\n")
		lines[1] = "POSTGRES_PASSWORD=X\n" // hard to quote, and compared by logging in
		if got := strings.Join(lines, ""); got != want {
			t.Errorf("%s has\n%s, want\n%s", colour, got, want)
		}
	}
	for credential, version := range map[string]int64{"odoo-master": kv, "backup": sts, credentialName: login} {
		if deployed, ok := r.saidOnceOf(t, credential, version).(events.CredentialDeployed); !ok || deployed.Version != version || deployed.Kind != r.stateOf(t, credential).Method {
			t.Errorf("said of %s %+v", credential, deployed)
		}
	}

	// What the colour without traffic has of another credential may be of a time before: it gets what the one with traffic has, though its own rollout is not its turn.
	hot := r.state(t).Hot
	cold := map[state.Colour]state.Colour{state.Blue: state.Green, state.Green: state.Blue}[hot]
	content, err := os.ReadFile(r.envFile(cold))
	must(t, err)
	must(t, os.WriteFile(r.envFile(cold), []byte(strings.Replace(string(content), "AWS_KEY=AKIA", "AWS_KEY=stale", 1)), 0o600))
	next, newer, waits := r.stageOf(t, "odoo-master", map[string]any{"value": "the next one"}), r.stageOf(t, "odoo-master", map[string]any{"value": "the one after"}), r.stageMinted(t)
	r.sayOf(t, "odoo-master", events.CredentialKV, next)
	await(t, 60*time.Second, "the canary is watched", func() bool { return r.stateOf(t, "odoo-master").Phase == state.DeploymentWatching })
	if text := r.login(t, cold); !strings.Contains(text, "AWS_KEY=AKIA\n") || !strings.Contains(text, "ADMIN_PASSWORD='the next one'\n") {
		t.Errorf("the canary has %s", text)
	}
	if text := r.login(t, hot); strings.Contains(text, "the next one") {
		t.Errorf("the colour with traffic has %s", text)
	}
	// A version of another one waits for it, and a newer version of the same replaces it.
	r.say(t, waits)
	r.sayOf(t, "odoo-master", events.CredentialKV, newer)
	r.endedOf(t, "odoo-master", newer, state.DeploymentDone)
	if back, ok := r.saidOnceOf(t, "odoo-master", next).(events.CredentialRolledBack); !ok || !strings.Contains(back.Reason, "replaces it") {
		t.Errorf("said of the first %+v", back)
	}
	s := r.ended(t, waits, state.DeploymentDone)
	if began := r.stateOf(t, "odoo-master").Ended; s.Started.Before(*began) {
		t.Errorf("%s began at %s, before %s", s.Name, s.Started, began)
	}
	if r.login(t, state.Blue) != r.login(t, state.Green) || !strings.Contains(r.login(t, state.Blue), "ADMIN_PASSWORD='the one after'\n") {
		t.Errorf("blue has %q, green %q", r.login(t, state.Blue), r.login(t, state.Green))
	}
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, secret := range append(r.secrets, "the next one") {
		if strings.Contains(p.Output(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// aCredentialThatDoesNotFit is the bad input that more kinds bring.
func (r *rig) aCredentialThatDoesNotFit(t *testing.T) {
	config := r.severalCredentials(t)
	r.deployer(t, config)
	for n, c := range []struct {
		name       string
		credential string
		kind       events.CredentialKind
		fields     map[string]any
		reason     string
	}{
		{"another kind", "odoo-master", events.CredentialSTS, map[string]any{"value": "a secret text"}, `credential odoo-master is of kind "sts": want kv`},
		{"a field that is not there", "odoo-master", events.CredentialKV, map[string]any{"text": "a secret text"}, `no text in field "value"; it has the fields text`},
		{"two of three values", "backup", events.CredentialSTS, map[string]any{"access_key_id": "a secret text", "secret_access_key": "s"}, `no text in field "session_token"; it has the fields access_key_id, secret_access_key`},
		{"a text of two lines", "odoo-master", events.CredentialKV, map[string]any{"value": "a secret text\nX=1"}, "cannot hold the new ADMIN_PASSWORD: it has a line end or a NUL byte"},
		{"a key that the file does not have", "backup", events.CredentialSTS, map[string]any{"access_key_id": "A", "secret_access_key": "a secret text", "session_token": "t"}, "has no line AWS_TOKEN="},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n == 4 {
				content, err := os.ReadFile(r.envFile(state.Green))
				must(t, err)
				must(t, os.WriteFile(r.envFile(state.Green), []byte(strings.Replace(string(content), "AWS_TOKEN", "NO_TOKEN", 1)), 0o600))
			}
			still := r.untouched(t)
			version := r.publishOf(t, c.credential, c.kind, c.fields)
			r.endedOf(t, c.credential, version, state.DeploymentRolledBack)
			back, ok := r.saidOnceOf(t, c.credential, version).(events.CredentialRolledBack)
			if !ok || back.Step != "render" || !strings.Contains(back.Reason, c.reason) || strings.Contains(fmt.Sprint(back), "a secret text") {
				t.Errorf("said %+v", back)
			}
			still(c.name)
		})
	}
	// A key that only another credential needs is no hindrance.
	_, version := r.rotate(t, true)
	r.ended(t, version, state.DeploymentDone)
}
