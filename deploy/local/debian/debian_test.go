package debian

import (
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
