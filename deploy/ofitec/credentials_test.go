package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func asked() events.Act {
	return events.Act{Actor: "operator:maria", Reason: "a test", Request: "r-1", At: noon}
}

// made is one that grants the act, made a second later.
func made(number int64, stage state.Stage, change ...func(*state.CredentialVersion)) state.CredentialVersion {
	act := asked()
	v := state.CredentialVersion{
		Number: number, Stage: stage, User: "v-user", Lease: "l", Act: &act, Trigger: "job", Previous: number - 1,
		MintedAt: noon.Add(time.Second), ExpiresAt: noon.Add(time.Hour), DeadlineAt: noon.Add(24 * time.Hour),
	}
	for _, c := range change {
		c(&v)
	}
	return v
}

func plain(number int64, stage state.Stage) state.CredentialVersion {
	return made(number, stage, func(v *state.CredentialVersion) { v.Act, v.Trigger, v.MintedAt = nil, "first", noon.Add(-time.Hour) })
}

func deployedIn(regions ...events.Region) func(*state.CredentialVersion) {
	return func(v *state.CredentialVersion) { v.Deployed = regions }
}

func rolledBackIn(regions ...events.Region) func(*state.CredentialVersion) {
	return func(v *state.CredentialVersion) { v.RolledBack, v.Reason = regions, "gate: 5 of 100 requests failed" }
}

func because(cause string) func(*state.CredentialVersion) {
	return func(v *state.CredentialVersion) { v.Cause = cause }
}

func TestARotationHasEndedWhenEachRegionHasSpokenAndTheOldVersionIsRevoked(t *testing.T) {
	for _, c := range []struct {
		name     string
		versions []state.CredentialVersion
		ended    bool
		failure  string // part of it
		says     string // part of what is told
	}{
		{"nothing is made yet", []state.CredentialVersion{plain(2, state.StageCurrent)}, false, "", ""},
		{"made", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageMinted)}, false, "", "version 3 is made"},
		{"with the deployers", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageCanary)}, false, "", "staged and published"},
		{"in use in one region", []state.CredentialVersion{plain(2, state.StageDraining), made(3, state.StageCurrent, deployedIn("a"))}, false, "", "region a: in use"},
		{"the old one drains", []state.CredentialVersion{plain(2, state.StageDraining), made(3, state.StageCurrent, deployedIn("a", "b"))}, false, "", "version 2 is draining"},
		{"the old one is revoked", []state.CredentialVersion{plain(2, state.StageRevoked), made(3, state.StageCurrent, deployedIn("a", "b"))}, true, "", "version 2 is revoked"},
		{"the old one is forgotten", []state.CredentialVersion{made(3, state.StageCurrent, deployedIn("a", "b"))}, true, "", "region b: in use"},
		{"one region keeps the old one", []state.CredentialVersion{plain(2, state.StageDraining), made(3, state.StageCurrent, deployedIn("a"), rolledBackIn("b"))}, true, "keeps the one before", "region b: rolled back"},
		{"rolled back everywhere", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageRolledBack, rolledBackIn("a", "b"), because("rolledback"))}, true, "5 of 100", "is rolled back"},
		{"rolled back and revoked", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageRevoked, rolledBackIn("a"), because("rolledback"))}, true, "rolledback", "is revoked"},
		{"the standby rolls back", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageRolledBack, rolledBackIn("b"), because("rolledback"), func(v *state.CredentialVersion) { v.Asked = []events.Region{"b"} })}, true, "rolled back", "region a: not asked"},
		{"without a deployer", []state.CredentialVersion{plain(2, state.StageRevoked), made(3, state.StageCurrent)}, true, "", "version 2 is revoked"},
		{"refused by its test", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageRevoked, because("rejected"))}, true, "rejected", "is revoked"},
		{"lost with its maker", []state.CredentialVersion{plain(2, state.StageCurrent), made(3, state.StageRevoked, because("lost"))}, false, "", "is revoked"},
		{"made again after that", []state.CredentialVersion{plain(2, state.StageRevoked), made(3, state.StageRevoked, because("lost")), made(4, state.StageCurrent, deployedIn("a", "b"), func(v *state.CredentialVersion) { v.Previous = 2 })}, true, "", "version 2 is revoked"},
		{"replaced since", []state.CredentialVersion{plain(2, state.StageRevoked), made(3, state.StageRevoked, deployedIn("a", "b"), because("superseded")), plain(4, state.StageCurrent)}, true, "", "region a: in use"},
	} {
		step := stepOf(rotated{Credential: state.Credential{Name: "odoo-app", Versions: c.versions}}, asked())
		if step.ended != c.ended || (c.failure == "") != (step.failure == "") || !strings.Contains(step.failure, c.failure) {
			t.Errorf("%s: ended %v, failure %q", c.name, step.ended, step.failure)
		}
		if told := strings.Join(step.lines, "\n"); !strings.Contains(told, c.says) {
			t.Errorf("%s: tells %q", c.name, told)
		}
	}
}

func TestAWishThatALaterOneHasReplacedIsGrantedWithIt(t *testing.T) {
	later := made(3, state.StageCanary, func(v *state.CredentialVersion) { v.Act.Request, v.Act.At = "r-2", noon.Add(time.Second/2) })
	if step := stepOf(rotated{Credential: state.Credential{Versions: []state.CredentialVersion{later}}}, asked()); step.version != 3 {
		t.Errorf("the wish is granted by version %d", step.version)
	}
	earlier := made(3, state.StageCurrent, func(v *state.CredentialVersion) {
		v.Act.Request, v.Act.At, v.MintedAt = "r-0", noon.Add(-time.Minute), noon.Add(-time.Second)
	})
	if step := stepOf(rotated{Credential: state.Credential{Versions: []state.CredentialVersion{earlier}}}, asked()); step.version != 0 {
		t.Errorf("an earlier wish's version %d is taken for this one's", step.version)
	}
}

func TestTheListSaysWhatIsLeftAndHowFarEachRegionIs(t *testing.T) {
	next := noon.Add(14 * time.Hour)
	one := rotated{state.Credential{Name: "odoo-app", Method: events.CredentialDatabase, NextAt: &next, Alarm: "warn", Versions: []state.CredentialVersion{
		plain(2, state.StageCurrent), made(3, state.StageCanary),
	}}, map[events.Region]state.Deployment{"a": {Number: 3, Phase: state.DeploymentWatching, Hot: state.Blue}}}
	view := viewOf(one, noon.Add(10*time.Minute))
	if view.Version != 2 || view.UnderWay == nil || view.UnderWay.Version != 3 || *view.TTLLeft != 3000 || *view.MaxTTLLeft != 85800 || view.Age != 4200 || view.Regions["a"].Version != 3 {
		t.Errorf("the view is %+v", view)
	}
	var out bytes.Buffer
	if err := printCredential(&out, view); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"odoo-app", "v-user", "50m0s", "23h50m0s", "3 watching on blue", "none yet", "version 3 is on its way: canary", "ALARM warn", "operator:maria: a test"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestACredentialThatIsNotThereIsNamedBesideThoseThatAre(t *testing.T) {
	all := rotatedAll{{Credential: state.Credential{Name: "odoo-app"}}}
	if _, err := all.find("odoo"); err == nil || !strings.Contains(err.Error(), `"odoo"`) || !strings.Contains(err.Error(), "odoo-app") {
		t.Errorf("find says %v", err)
	}
	if _, err := (rotatedAll{}).find("odoo"); err == nil || !strings.Contains(err.Error(), "none yet") {
		t.Errorf("find says %v", err)
	}
}

func TestWrongUseOfCredentialsIsToldBeforeAnythingIsDone(t *testing.T) {
	for _, args := range [][]string{{"credentials", "rotate"}, {"credentials", "rotate", "odoo-app", "--reason", " "},
		{"credentials", "break-glass", "odoo-app"}, {"credentials", "break-glass", "--reason", "r"}, {"credentials", "show"}, {"credentials", "history"}, {"credentials", "list", "-o", "yaml"}, {"credentials", "rotate", "odoo-app", "--reason", "r", "--within", "0s"}} {
		if status := run(t.Context(), append(args, "--data", t.TempDir())); status != exitUsage {
			t.Errorf("%v: exit status %d", args, status)
		}
	}
}
