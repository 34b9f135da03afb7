package postgres

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// The files of the configuration folder: two versions of the rules, and the one that is in force.
const (
	openRules   = "pg_hba.open.conf"
	fencedRules = "pg_hba.fenced.conf"
	rules       = "pg_hba.conf"
)

// A version is put in force by a second name for its spare, a copy that was made and synced before: a full disk has a place for a name, where it has none for a file. It
// is not the version's own file that is linked: whoever writes the rules in force in place would change that, too.
const (
	spareSuffix = ".spare"
	linkedRules = rules + ".linked" // the second name, for a moment
)

// install puts a version of the rules in force. Whatever it is cut off by leaves the old ones in force or the new ones, and the next call works.
func (s *Server) install(version string) error {
	content, err := os.ReadFile(s.path(version))
	if err != nil {
		return err
	}
	if s.holds(rules, content) {
		return nil
	}
	spare, err := s.prepare(version)
	if err != nil {
		return err
	}
	linked := s.path(linkedRules)
	if err := os.Remove(linked); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Link(spare, linked); err != nil { // a file system without links, or a spare that somebody took away
		return s.replace(rules, content)
	}
	return s.rename(linkedRules, rules)
}

// prepare makes the spare of a version, where it is not there as the version is now.
func (s *Server) prepare(version string) (spare string, err error) {
	content, err := os.ReadFile(s.path(version))
	if err != nil {
		return "", err
	}
	spare = version + spareSuffix
	if !s.holds(spare, content) {
		err = s.replace(spare, content)
	}
	return s.path(spare), err
}

func (s *Server) holds(name string, content []byte) bool {
	there, err := os.ReadFile(s.path(name))
	return err == nil && bytes.Equal(there, content)
}

// replace leaves the old file or the new one, on the disk, whatever happens. It belongs to the owner of the rules.
func (s *Server) replace(name string, content []byte) error {
	temporary, err := os.OpenFile(s.path(name+".new"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	if err == nil {
		err = sameOwner(temporary, s.path(fencedRules))
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return s.rename(name+".new", name)
}

// rename is on the disk when it returns.
func (s *Server) rename(from, to string) error {
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		return err
	}
	dir, err := os.Open(s.confDir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *Server) path(name string) string { return filepath.Join(s.confDir, name) }
