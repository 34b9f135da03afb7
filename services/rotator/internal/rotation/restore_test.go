package rotation

import (
	"slices"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func TestWhatARestoredVaultHasNoMoreIsReplacedAndItsNumberUsedUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	next := now.Add(100 * time.Hour)
	inUse := state.CredentialVersion{Number: 37, Stage: state.StageCurrent, Lease: "kv-37", User: "kv-37", MintedAt: now, TTL: 3600, ExpiresAt: now.Add(time.Hour), DeadlineAt: now.Add(time.Hour)}
	s := state.Credential{NextAt: &next, Versions: []state.CredentialVersion{inUse}}
	p := policy()
	p.Name, p.Kind, p.Path, p.Regions = "export-webhook", events.CredentialKV, "ofitec/credentials/export-webhook", nil
	whole, _, then := Decide(s, Observation{Active: "a", Stored: 37}, p, now)
	if slices.Contains(then, Action(Burn{37})) || !whole.NextAt.Equal(next) {
		t.Errorf("where nothing is lost it does %v, next at %s", then, whole.NextAt)
	}
	lost, _, then := Decide(s, Observation{Active: "a", Stored: 35}, p, now)
	if !slices.Contains(then, Action(Burn{37})) || slices.ContainsFunc(then, func(a Action) bool { _, mint := a.(Mint); return mint }) {
		t.Errorf("with version 35 as the last one it does %v, want that 37 is used up first", then)
	}
	if lost.NextAt == nil || lost.NextAt.After(now) || lost.Versions[0].Stage != state.StageCurrent {
		t.Errorf("the version in use is %+v, replaced at %v", lost.Versions[0], lost.NextAt)
	}
	if _, _, then = Decide(lost, Observation{Active: "a", Stored: 37}, p, now.Add(time.Second)); !slices.Contains(then, Action(Mint{38})) {
		t.Errorf("when the number is used up it does %v, want another version", then)
	}
	if _, _, then = Decide(s, Observation{Active: "a", Stored: -1}, p, now); slices.Contains(then, Action(Burn{37})) {
		t.Error("while Vault is away it takes a version for lost")
	}
}
