package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// oneFile is the environment file that both colours read; empty when each has its own. What it held before the first version ever of a credential stands nowhere else, so
// it is kept beside it until that version is settled.
type oneFile string

func (f oneFile) before(s state.Deployment) string {
	return fmt.Sprintf("%s.before-%s-%d", f, s.Name, s.Number)
}

// keep is done before a version is written.
func (f oneFile) keep(s state.Deployment) error {
	if f == "" || s.Previous > 0 {
		return nil
	}
	return dotenv.Keep(string(f), f.before(s))
}

// giveBack undoes what a credential's first version has written. It may be done again and again: what was kept stays until forget.
func (f oneFile) giveBack(s state.Deployment, keys []string) error {
	err := dotenv.GiveBack(string(f), f.before(s), keys...)
	switch {
	case errors.Is(err, os.ErrNotExist) && s.Step == "render": // it was replaced before anything was written
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("give the environment file back what it held before version %d of %s: write that into it and copy it to %s: %w", s.Number, s.Name, f.before(s), err)
	}
	return err
}

// forget removes what was kept for a version that is settled. It is done at each turn, for the process before may have died right after it had stored that.
func (f oneFile) forget(s state.Deployment) error {
	if f == "" || s.Number == 0 || !rollout.Ended(s) || !s.Settled {
		return nil
	}
	if err := os.Remove(f.before(s)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what the environment file held before: %w", err)
	}
	return nil
}

// returning says that another credential's version was rolled back and the one file still has it: nothing may be started on that.
func (t *term) returning(k *track) bool {
	for _, other := range t.tracks {
		if s := other.seen.Content; other != k && t.oneFile != "" && s.Phase == state.DeploymentRolledBack && !s.Settled {
			return true
		}
	}
	return false
}

// align gives the cold colour's file what the hot one's has, for all credentials. Where both read one file, it gets back what it had before a roll-back: the version itself
// says what that was, or what was kept when there was none.
func (t *term) align(ctx context.Context, k *track, a rollout.Settle) error {
	switch {
	case t.oneFile == "":
		return t.hands.Write(ctx, a.Cold, dotenv.Edit{Take: k.keys(), Keep: t.others(k)})
	case a.Version == a.Number: // the file has it
		return nil
	case a.Version == 0:
		return t.oneFile.giveBack(k.seen.Content, k.keys())
	}
	version, err := t.vault.Read(ctx, a.Path, a.Version, k.fields()...)
	if err != nil {
		return fmt.Errorf("give the environment file version %d back: %w", a.Version, err)
	}
	return t.hands.Write(ctx, a.Cold, k.edit(version, nil))
}
