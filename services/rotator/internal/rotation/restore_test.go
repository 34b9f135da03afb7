package rotation

import (
	"reflect"
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
	// The number cannot be used up for long: no look but the first one has anything to store.
	for second := 1; second < 4; second++ {
		again, with, then := Decide(lost, Observation{Active: "a", Stored: 35}, p, now.Add(time.Duration(second)*time.Second))
		again.Term = lost.Term
		if !reflect.DeepEqual(again, lost) || len(with) > 0 || !slices.Contains(then, Action(Burn{37})) {
			t.Errorf("after %d s it stores %+v and %v, and does %v", second, again, with, then)
		}
	}
	// Where an attempt has failed since, the next one has its pause.
	pause := now.Add(p.Again)
	failed := state.Credential{NextAt: &pause, Versions: []state.CredentialVersion{inUse, {Number: 38, Stage: state.StageRevoked}}}
	if waits, _, then := Decide(failed, Observation{Active: "a", Stored: 36}, p, now); !waits.NextAt.Equal(pause) || slices.Contains(then, Action(Mint{39})) {
		t.Errorf("after a failed attempt the next one is at %s, and it does %v", waits.NextAt, then)
	}
	if _, _, then = Decide(lost, Observation{Active: "a", Stored: 37}, p, now.Add(time.Second)); !slices.Contains(then, Action(Mint{38})) {
		t.Errorf("when the number is used up it does %v, want another version", then)
	}
	if _, _, then = Decide(s, Observation{Active: "a", Stored: -1}, p, now); slices.Contains(then, Action(Burn{37})) {
		t.Error("while Vault is away it takes a version for lost")
	}
}
