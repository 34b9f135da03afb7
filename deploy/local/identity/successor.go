package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// successorSuffix ends the names of a secret's successor, the operator's copy and those beside the copies in use. etl-transform knows it.
const successorSuffix = ".next"

// PrepareSuccessor makes the secret that is to follow on one, unless there is one, and puts it beside each copy of the one in use. It may be repeated.
func PrepareSuccessor(l layout.Layout, owners Owners, name string) error {
	k, err := secretNamed(l, owners, name)
	if err != nil {
		return err
	}
	master := filepath.Join(l.OperatorDir(), "secrets", name) + successorSuffix
	next, found, err := read(master)
	if err != nil {
		return err
	}
	if !found {
		if next, err = k.fresh(); err != nil {
			return err
		}
		if err := write(master, next, 0o600, Owner{-1, -1}); err != nil {
			return err
		}
	}
	for _, c := range k.copies {
		if err := write(filepath.Join(c.dir, c.file)+successorSuffix, next, 0o600, c.owner); err != nil {
			return err
		}
	}
	return nil
}

// Successor reads the operator's copy of the secret that is to follow on one.
func Successor(l layout.Layout, name string) ([]byte, error) { return Master(l, name+successorSuffix) }

// Succeed puts a secret's successor in the place of it, the operator's copy last: until then Ensure takes copies of either. It may be repeated.
func Succeed(l layout.Layout, owners Owners, name string) error {
	k, err := secretNamed(l, owners, name)
	if err != nil {
		return err
	}
	master := filepath.Join(l.OperatorDir(), "secrets", name)
	next, found, err := read(master + successorSuffix)
	if err != nil || !found {
		return err
	}
	for _, c := range k.copies {
		path := filepath.Join(c.dir, c.file)
		if err := write(path, next, 0o600, c.owner); err != nil {
			return err
		}
		if err := os.Remove(path + successorSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove successor: %w", err)
		}
	}
	if err := os.Rename(master+successorSuffix, master); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return syncDir(filepath.Dir(master))
}

func secretNamed(l layout.Layout, owners Owners, name string) (kept, error) {
	for _, k := range secrets(l, owners) {
		if k.name == name {
			return k, nil
		}
	}
	return kept{}, fmt.Errorf("there is no secret %s", name)
}

// succeeded says whether a copy is already the successor of the secret in dir.
func (k kept) succeeded(dir string, c copyOf) (bool, error) {
	next, found, err := read(filepath.Join(dir, k.name) + successorSuffix)
	if err != nil || !found {
		return false, err
	}
	have, _, err := read(filepath.Join(c.dir, c.file))
	return bytes.Equal(have, next), err
}
