package postgres

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	openText   = "host all all 127.0.0.111/32 scram-sha-256\n"
	fencedText = "local all postgres peer\n"
)

// ruled is a configuration folder with both versions, the fenced one in force, as a supervisor leaves it at a boot.
func ruled(t *testing.T, dir string) *Server {
	t.Helper()
	s := New(dir, 5433, dir, slog.New(slog.DiscardHandler))
	put(t, s.path(openRules), openText)
	put(t, s.path(fencedRules), fencedText)
	put(t, s.path(rules), fencedText)
	return s
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inForce fails the test when other rules are, or when a version is not what it was.
func inForce(t *testing.T, s *Server, want string) {
	t.Helper()
	for name, text := range map[string]string{rules: want, openRules: openText, fencedRules: fencedText} {
		if got, err := os.ReadFile(s.path(name)); err != nil || string(got) != text {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, text)
		}
	}
}

// admit is Admit without a server that reads the rules.
func admit(t *testing.T, s *Server) {
	t.Helper()
	if err := s.admit(); err != nil {
		t.Fatal(err)
	}
	inForce(t, s, openText)
}

func TestTheFenceNeedsNoFreeBlock(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	for kind, mount := range map[string]func(t *testing.T, dir string) error{"tmpfs": mountTmpfs, "ext4": mountExt4} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			if err := mount(t, dir); err != nil {
				t.Skip("cannot mount a small file system: " + err.Error())
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
					t.Errorf("unmount: %v", err)
				}
			})
			s := ruled(t, dir)
			admit(t, s)
			fill(t, filepath.Join(dir, "filler"))
			if err := os.WriteFile(filepath.Join(dir, "another"), []byte(fencedText), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the file system takes another file: %v", err)
			}
			for range 3 { // the mandate may come back and go again
				if err := s.Bar(); err != nil {
					t.Fatal(err)
				}
				inForce(t, s, fencedText)
				admit(t, s)
			}
		})
	}
}

func mountTmpfs(_ *testing.T, dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k")
}

func mountExt4(t *testing.T, dir string) error {
	image := filepath.Join(t.TempDir(), "image")
	put(t, image, strings.Repeat("\x00", 2<<20))
	for _, command := range [][]string{{"/sbin/mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			return errors.Join(err, errors.New(string(out)))
		}
	}
	return nil
}

// fill leaves no room on a file system.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, size := range []int{64 << 10, 512} {
		for err = nil; err == nil; {
			_, err = io.WriteString(file, strings.Repeat("x", size))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill %s: %v", path, err)
	}
}

func TestASystemThatRefusesSecondNamesIsToldOfOnceAndFencedByACopy(t *testing.T) {
	const warning = "the fence needs a free block"
	var told bytes.Buffer
	s := ruled(t, t.TempDir())
	s.log = slog.New(slog.NewTextHandler(&told, nil))
	admit(t, s)
	if told.Len() > 0 {
		t.Errorf("where second names are made: %s", told.String())
	}
	s.link = func(string, string) error { return syscall.EPERM }
	for range 2 {
		if err := s.Bar(); err != nil {
			t.Fatal(err)
		}
		inForce(t, s, fencedText)
		admit(t, s)
	}
	if strings.Count(told.String(), warning) != 1 || !strings.Contains(told.String(), "level=WARN") {
		t.Errorf("people read: %s", told.String())
	}
}

func TestWhateverACrashHasLeftTheNextFenceAndTheNextOpeningWork(t *testing.T) {
	for name, crash := range map[string]func(t *testing.T, s *Server){
		"before the rename": func(t *testing.T, s *Server) {
			if err := os.Link(s.path(fencedRules+spareSuffix), s.path(linkedRules)); err != nil {
				t.Fatal(err)
			}
		},
		"while a spare was being made": func(t *testing.T, s *Server) {
			put(t, s.path(fencedRules+spareSuffix+".new"), fencedText[:5])
			_ = os.Remove(s.path(fencedRules + spareSuffix))
		},
		"a spare that was not synced":                                    func(t *testing.T, s *Server) { put(t, s.path(fencedRules+spareSuffix), "") },
		"the rules in force written in place, through their second name": func(t *testing.T, s *Server) { put(t, s.path(rules), fencedText) },
		"rules of neither version":                                       func(t *testing.T, s *Server) { put(t, s.path(rules), "host all all all trust\n") },
		"no rules at all":                                                func(t *testing.T, s *Server) { _ = os.Remove(s.path(rules)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := ruled(t, t.TempDir())
			admit(t, s)
			crash(t, s)
			again := New(s.confDir, 5433, s.confDir, s.log)
			if err := again.Bar(); err != nil {
				t.Fatal(err)
			}
			inForce(t, again, fencedText)
			admit(t, again)
			if err := again.Bar(); err != nil {
				t.Fatal(err)
			}
			inForce(t, again, fencedText)
		})
	}
}
