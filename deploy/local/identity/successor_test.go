package identity

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

func TestASecretsSuccessorTakesItsPlaceAndAStackStartsAtAnyPointOfThat(t *testing.T) {
	l := layout.Layout{Root: t.TempDir(), Addressing: layout.Loopback()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	starts := func() {
		t.Helper()
		_, err := Ensure(l, nil)
		must(err)
	}
	starts()
	before, err := Master(l, "token-key")
	must(err)
	must(PrepareSuccessor(l, nil, "token-key"))
	next, err := Successor(l, "token-key")
	must(err)
	starts()
	must(PrepareSuccessor(l, nil, "token-key"))
	if again, err := Successor(l, "token-key"); err != nil || !bytes.Equal(again, next) || bytes.Equal(next, before) {
		t.Fatalf("a successor that is there is not kept: %v", err)
	}
	// etl-transform of one region has put it in its place by itself.
	copyOfA, copyOfB := filepath.Join(l.IdentityDir(layout.A, "etl-transform"), "token.key"), filepath.Join(l.IdentityDir(layout.B, "etl-transform"), "token.key")
	must(os.Rename(copyOfA+".next", copyOfA))
	starts()
	for range 2 {
		must(Succeed(l, nil, "token-key"))
		starts()
	}
	for _, path := range []string{copyOfA, copyOfB, filepath.Join(l.OperatorDir(), "secrets", "token-key")} {
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, next) {
			t.Errorf("%s is not the successor: %v", path, err)
		}
		if _, err := os.Stat(path + ".next"); err == nil {
			t.Errorf("%s.next is left", path)
		}
	}
}
