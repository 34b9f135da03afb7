package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAProgramOutsideThePathIsFoundAmongSystemPrograms(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if _, err := Program("ldconfig"); err != nil {
		t.Fatal(err)
	}
	if _, err := Program("no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Fatalf("error %v does not name the program", err)
	}
}

func TestTheStackKnowsAProgramForEveryPackage(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Packages {
		if p.Name == "" || p.Program == "" || seen[p.Name] {
			t.Errorf("package %+v is incomplete or listed twice", p)
		}
		seen[p.Name] = true
	}
}

func TestMissingPackagesAreListedWithTheCommandWhereNobodyMayInstallThem(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "apt-get"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	missing := []Package{{"haproxy", "haproxy"}, {"bind9", "named"}}
	err := installable(missing, false)
	if err == nil || err.Error() != "missing packages: haproxy bind9; run as root: apt-get install -y --no-install-recommends haproxy bind9" {
		t.Errorf("it says %v", err)
	}
	if err := installable(missing, true); err != nil {
		t.Errorf("root: %v", err)
	}
	if err := installable(nil, false); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := installable(missing, true); err == nil || !strings.Contains(err.Error(), "haproxy bind9; this is not Debian") {
		t.Errorf("without apt-get: %v", err)
	}
}
