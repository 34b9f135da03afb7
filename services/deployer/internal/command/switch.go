package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// Switch is a proxy whose traffic a command moves, all of it at once: the earlier delivery's switcher.py --one-shot as it stands. Status 0 says that the colour has the
// traffic now, any other that it stays where it was. A command that may toggle is never run twice for one switch: what is begun stands in a file beside the active one,
// and while nobody has seen its end, only Status can tell what became of it.
type Switch struct {
	Command
	Status []string // prints blue or green, the colour with traffic; without it the file is what counts
	Active active.File
}

// Traffic is what Status says, or the file.
func (s Switch) Traffic(ctx context.Context) (rollout.Traffic, error) {
	unknown := rollout.Traffic{Open: -1}
	if len(s.Status) > 0 {
		printed, err := Command{Args: s.Status, Timeout: s.Timeout}.run(ctx, "ask where the traffic goes", "")
		if err != nil {
			return unknown, err
		}
		colour := state.Colour(printed)
		if colour != state.Blue && colour != state.Green {
			return unknown, fmt.Errorf("ask where the traffic goes: %s prints %.40q, want blue or green", s.Status[0], printed)
		}
		return rollout.Traffic{Hot: colour, Open: -1}, nil
	}
	begun, err := os.ReadFile(s.begun())
	if err == nil {
		return unknown, fmt.Errorf("a switch to %s was begun and nobody saw its end: write the colour with traffic into %s, then remove %s", strings.TrimSpace(string(begun)), s.Active, s.begun())
	}
	if !errors.Is(err, os.ErrNotExist) {
		return unknown, fmt.Errorf("look for a switch that was begun: %w", err)
	}
	colour, err := s.Active.Read()
	return rollout.Traffic{Hot: colour, Open: -1}, err
}

// Give moves all of the traffic to a colour, unless it is there.
func (s Switch) Give(ctx context.Context, to state.Colour, percent int) error {
	if percent != 100 {
		return fmt.Errorf("give %s %d %% of the traffic: a switch command moves all of it", to, percent)
	}
	now, err := s.Traffic(ctx)
	if err != nil {
		return err
	}
	if now.Hot != to {
		if err := active.Replace(s.begun(), []byte(to+"\n"), 0o600); err != nil {
			return fmt.Errorf("switch to %s: %w", to, err)
		}
		if _, err := s.run(ctx, "switch to "+string(to), to); err != nil {
			var status interface{ ExitCode() int }
			if errors.As(err, &status) && status.ExitCode() > 0 { // it has ended by itself and says no
				return errors.Join(err, os.Remove(s.begun()))
			}
			return err
		}
	}
	if err := s.Active.Write(to); err != nil {
		return err
	}
	if err := os.Remove(s.begun()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("switch to %s: %w", to, err)
	}
	return nil
}

// Forgotten says that nothing was ever switched here.
func (s Switch) Forgotten() bool { return s.Active.Forgotten() }

func (s Switch) begun() string { return string(s.Active) + ".begun" }
