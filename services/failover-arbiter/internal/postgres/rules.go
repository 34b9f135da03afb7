package postgres

import (
	"bytes"
	"errors"
	"fmt"
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
	if err := s.unlink(); err != nil {
		return err
	}
	if err := s.link(spare, s.path(linkedRules)); err != nil { // refused, as tryLink has told, or a spare that somebody took away
		return s.replace(rules, content)
	}
	return s.rename(linkedRules, rules)
}

// admit prepares the fence and puts the open rules in force.
func (s *Server) admit() error {
	spare, err := s.prepare(fencedRules)
	if err != nil {
		return fmt.Errorf("prepare the fence: %w", err)
	}
	s.tryLink(spare)
	if err := s.install(openRules); err != nil {
		return fmt.Errorf("let applications in: %w", err)
	}
	return nil
}

// tryLink tells people, once, of a system that refuses second names: a file system without them, or fs.protected_hardlinks and rules of another owner. The fence then is a
// copy, which a full disk has no place for.
func (s *Server) tryLink(spare string) {
	err := s.unlink()
	if err == nil {
		err = errors.Join(s.link(spare, s.path(linkedRules)), s.unlink())
	}
	if err != nil {
		s.told.Do(func() {
			s.log.Warn("the fence needs a free block on the disk of PostgreSQL's rules: a second name for a prepared copy is refused", "error", err)
		})
	}
}

func (s *Server) unlink() error {
	if err := os.Remove(s.path(linkedRules)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
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
