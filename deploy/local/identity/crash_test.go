package identity

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// TestMain lets the test binary be a first start that can be killed.
func TestMain(m *testing.M) {
	if root := os.Getenv("OFITEC_TEST_ENSURE"); root != "" {
		if _, err := Ensure(layout.Layout{Root: root, Addressing: layout.Loopback()}, nil); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAStartThatWasKilledIsContinued(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range 10 {
		l := layout.Layout{Root: t.TempDir(), Addressing: layout.Loopback()}
		for kills := 0; kills < 3; kills++ {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "OFITEC_TEST_ENSURE="+l.Root)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
			_ = cmd.Process.Kill()
			if err := cmd.Wait(); err != nil && !strings.Contains(err.Error(), "killed") {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
		}
		if _, err := Ensure(l, nil); err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		before := files(t, l)
		if _, err := Ensure(l, nil); err != nil || len(before) != len(files(t, l)) {
			t.Errorf("seed %d, round %d: %v", seed, round, err)
		}
		for path := range before {
			if strings.HasPrefix(filepath.Base(path), ".") {
				t.Errorf("seed %d: %s was left over", seed, path)
			}
		}
	}
}
