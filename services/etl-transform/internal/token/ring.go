package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ofitec/ofitec/models"
)

// NextSuffix ends the name of the file with the key that is to follow on another one.
const NextSuffix = ".next"

// Ring is the key in use and, while a rotation is prepared or under way, another one. Which of them a warehouse is made by stands in its file. It is safe for concurrent use.
type Ring struct{ current, target, before *Sealer }

// OpenRing reads the key from a file, and the one that is to follow on it from the file beside it if there is one.
func OpenRing(path string) (*Ring, error) {
	current, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	next, err := OpenFile(path + NextSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		next, err = current, nil
	}
	if err != nil {
		return nil, err
	}
	return &Ring{current: current, target: next}, nil
}

// Versions makes a ring of a key that has versions: the newest is for all that is made anew, the one before, which may be nil, for what was made by it.
func Versions(newest, before *Sealer) *Ring {
	return &Ring{current: newest, target: newest, before: before}
}

// Current is the key of a warehouse that is made without one to follow on.
func (r *Ring) Current() *Sealer { return r.current }

// Target is the key that a rotation leads to; the current one when none is prepared.
func (r *Ring) Target() *Sealer { return r.target }

// Of is the key of that version, nil when the ring has none.
func (r *Ring) Of(version string) *Sealer {
	for _, s := range r.keys() {
		if s.version == version {
			return s
		}
	}
	return nil
}

func (r *Ring) keys() []*Sealer {
	keys := []*Sealer{r.current, r.target}
	if r.before != nil {
		keys = append(keys, r.before)
	}
	return keys
}

// Reveal is the value behind a token that one of the keys has made.
func (r *Ring) Reveal(kind models.PII, token string) (value string, err error) {
	for _, s := range r.keys() {
		if value, err = s.Reveal(kind, token); err == nil {
			return value, nil
		}
	}
	return "", err
}

// Promote puts the next key's file in the place of the one before it. It may be repeated.
func Promote(path string) error {
	if err := os.Rename(path+NextSuffix, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put next token key in its place: %w", err)
	}
	return nil
}
