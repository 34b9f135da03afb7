// Package active keeps in a file which colour has the traffic: for the proxy's next start, and where the proxy itself cannot be asked.
package active

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// File is its path.
type File string

// Read gives the colour.
func (f File) Read() (state.Colour, error) {
	content, err := os.ReadFile(string(f))
	if err != nil {
		return "", fmt.Errorf("read which colour should have the traffic: %w", err)
	}
	colour := state.Colour(strings.TrimSpace(string(content)))
	if colour != state.Blue && colour != state.Green {
		return "", fmt.Errorf("read which colour should have the traffic: %s holds %.40q, want blue or green", f, colour)
	}
	return colour, nil
}

// Write keeps a colour durably, unless the file says the same.
func (f File) Write(colour state.Colour) error {
	content := []byte(colour + "\n")
	if have, err := os.ReadFile(string(f)); err == nil && string(have) == string(content) {
		return nil
	}
	// It is no secret, and whoever starts the proxy reads it as another user.
	if err := Replace(string(f), content, 0o644); err != nil {
		return fmt.Errorf("keep the active colour: %w", err)
	}
	return nil
}

// Weighed is the traffic under two weights. While both colours have one, the hot one is that in the file; a little is not nothing.
func (f File) Weighed(blue, green int) (rollout.Traffic, error) {
	weights, hot := map[state.Colour]int{state.Blue: blue, state.Green: green}, state.Blue
	switch {
	case blue == 0 && green == 0:
		return rollout.Traffic{}, errors.New("neither colour has a weight above 0: give one 100")
	case blue > 0 && green > 0:
		kept, err := f.Read()
		if err != nil {
			return rollout.Traffic{}, fmt.Errorf("both colours have traffic: %w", err)
		}
		hot = kept
	case green > 0:
		hot = state.Green
	}
	other := weights[rollout.Other(hot)]
	share := (other*100 + (blue+green)/2) / (blue + green)
	if other > 0 {
		share = max(share, 1)
	}
	return rollout.Traffic{Hot: hot, Share: share}, nil
}

// Forgotten says that there is no file, as on a machine on which nothing was ever switched.
func (f File) Forgotten() bool {
	_, err := os.Stat(string(f))
	return errors.Is(err, os.ErrNotExist)
}

// Replace puts a content in a file's place: written beside it, made durable and renamed, so that a reader sees the old one or the new one.
func Replace(path string, content []byte, mode os.FileMode) error {
	temporary := path + ".new"
	handle, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = handle.Write(content)
	err = errors.Join(err, handle.Chmod(mode), handle.Sync(), handle.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
