package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// TestAFirstVersionThatIsRolledBackIsTakenOutOfTheOneFileForGood has a start that fails, so that the version is rolled back, and the settling is done again and again.
func TestAFirstVersionThatIsRolledBackIsTakenOutOfTheOneFileForGood(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	file, refuse, wrapper, config := r.dir+"/.env", r.dir+"/refuse", r.dir+"/wrapper", r.dir+"/deployer.yaml"
	content, err := os.ReadFile(r.envFile(state.Blue))
	must(t, err)
	first := string(content) + "ADMIN_PASSWORD=first # of the first start\nMAIL_PASSWORD=\"old mail\"\n"
	must(t, os.WriteFile(file, []byte(first), 0o600))
	must(t, os.WriteFile(refuse, nil, 0o600))
	must(t, os.WriteFile(wrapper, fmt.Appendf(nil, "echo >> %s/tries; test ! -e %s && ENV_FILE=%s exec sh %s/start\n", r.dir, refuse, file, r.dir), 0o600))
	must(t, os.WriteFile(config, []byte(`credentials:
  - {name: odoo-app, kind: database}
  - {name: odoo-master, kind: kv, keys: {ADMIN_PASSWORD: value}}
  - {name: mail, kind: kv, keys: {MAIL_PASSWORD: value}}
`), 0o600))
	r.deployer(t, "OFITEC_CONFIG="+config, "OFITEC_ODOO_BLUE_ENV_FILE="+file, "OFITEC_ODOO_GREEN_ENV_FILE="+file, "OFITEC_START_COMMAND=sh "+wrapper)
	asked := func() int {
		content, err := os.ReadFile(r.dir + "/tries")
		must(t, err)
		return len(content)
	}
	holds := func() string {
		content, err := os.ReadFile(file)
		must(t, err)
		return string(content)
	}
	bad := r.publishOf(t, "odoo-master", events.CredentialKV, map[string]any{"value": "rejected"})
	await(t, 60*time.Second, "the version is rolled back", func() bool { return r.stateOf(t, "odoo-master").Phase == state.DeploymentRolledBack })
	mail := r.publishOf(t, "mail", events.CredentialKV, map[string]any{"value": "new mail"})
	await(t, 30*time.Second, "the file is given back", func() bool { return holds() == first })
	before := asked()
	await(t, 30*time.Second, "it is done twice more", func() bool {
		if text := holds(); text != first {
			t.Fatalf("the file holds %q again", text)
		}
		return asked() >= before+2
	})
	if s := r.stateOf(t, "mail"); s.Number != 0 {
		t.Errorf("another credential's version %d is %s while the file is not known to be given back", s.Number, s.Phase)
	}
	must(t, os.Remove(refuse))
	r.endedOf(t, "odoo-master", bad, state.DeploymentRolledBack)
	await(t, 60*time.Second, "the other one's turn has come", func() bool {
		s := r.stateOf(t, "mail")
		return s.Number == mail && s.Phase == state.DeploymentWatching
	})
	if text, want := holds(), strings.Replace(first, `"old mail"`, "'new mail'", 1); text != want {
		t.Errorf("the file holds %q, want %q", text, want)
	}
	if left, _ := filepath.Glob(file + ".before-odoo-master-*"); len(left) > 0 { // the pattern is well formed
		t.Errorf("left behind: %v", left)
	}
	if info, err := os.Stat(oneFile(file).before(r.stateOf(t, "mail"))); err != nil || info.Mode() != 0o600 {
		t.Errorf("what it held before: %v, %v", info, err)
	}
}

func TestWhatTheOneFileHeldBeforeIsKeptOnceAndRemovedWhenTheVersionIsSettled(t *testing.T) {
	file := oneFile(filepath.Join(t.TempDir(), ".env"))
	write := func(content string) { must(t, os.WriteFile(string(file), []byte(content), 0o600)) }
	s := state.Deployment{Name: "odoo-master", Number: 3, Phase: state.DeploymentRolledBack, Step: "gate"}
	if err := file.giveBack(s, []string{"A"}); err == nil || !strings.Contains(err.Error(), "copy it to "+string(file)+".before-odoo-master-3") {
		t.Errorf("what is not there is given back: %v", err)
	}
	write("A= # none yet\nB=1\n")
	must(t, file.keep(s))
	write("A=rejected\nB=1\n")
	must(t, file.keep(s)) // a process that died after it had written does it again
	write("A=rejected\nB=2\n")
	for range 2 {
		must(t, file.giveBack(s, []string{"A"}))
		must(t, file.forget(s)) // not settled: it stays
		if content, err := os.ReadFile(string(file)); err != nil || string(content) != "A= # none yet\nB=2\n" {
			t.Errorf("given back %q, %v", content, err)
		}
	}
	s.Settled = true
	must(t, file.forget(s))
	must(t, file.forget(s))
	if left, _ := filepath.Glob(string(file) + ".*"); len(left) > 0 { // the pattern is well formed
		t.Errorf("left behind: %v", left)
	}
	s.Step = "render"
	must(t, file.giveBack(s, []string{"A"})) // nothing was written
	s.Previous = 2
	must(t, file.keep(s)) // Vault has that version
	if _, err := os.Stat(file.before(s)); !os.IsNotExist(err) {
		t.Errorf("kept what Vault has: %v", err)
	}
	write("B=2\n")
	s.Previous, s.Step = 0, "gate"
	must(t, dotenv.Keep(string(file), file.before(s)))
	if err := file.giveBack(s, []string{"A"}); err == nil || !strings.Contains(err.Error(), "has no line A=") {
		t.Errorf("a line that is not there: %v", err)
	}
}
