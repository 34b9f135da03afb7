package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

func TestACutNamesTheWaysThatItCuts(t *testing.T) {
	for text, want := range map[string]string{
		"a|bc":    "a>b b>a a>c c>a",
		"b|ac":    "b>a a>b b>c c>b",
		"ab|c":    "a>c c>a b>c c>b",
		"a-b":     "a>b b>a",
		"a>b":     "a>b",
		"a>bc":    "a>b a>c",
		"a>b,c>a": "a>b c>a",
		"a|b,b-a": "a>b b>a",
	} {
		ways, err := ParseCut(text)
		var got []string
		for _, way := range ways {
			got = append(got, fmt.Sprintf("%s>%s", way.From, way.To))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s cuts %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestACutThatSaysNothingIsRefused(t *testing.T) {
	for _, text := range []string{"", "a", "ab", "a|a", "a|d", "a|", "|b", "aa|b", "a-b,", "a<b", "a|b|c"} {
		if _, err := ParseCut(text); err == nil || !strings.Contains(err.Error(), "a|bc") {
			t.Errorf("%q is taken: %v", text, err)
		}
	}
}

func TestOnlyWhoDoesNotHearGetsRules(t *testing.T) {
	ways, err := ParseCut("a>b")
	if err != nil {
		t.Fatal(err)
	}
	if got := ruleset(layout.Namespaced(), layout.B, ways); !strings.Contains(got, "ip saddr { 10.77.0.11, 10.77.0.111 } drop") {
		t.Errorf("b gets %s", got)
	}
	if got := ruleset(layout.Namespaced(), layout.A, ways); strings.Contains(got, "drop") {
		t.Errorf("a gets %s", got)
	}
}

// regionsApart gives each region a namespace, inside one of the test's own; outside, it has run the test there, and nothing is left to do.
func regionsApart(t *testing.T) (addressing layout.Addressing, inside bool) {
	t.Helper()
	if testing.Short() {
		t.Skip("makes network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if os.Getenv("OFITEC_NETNS_TEST") == "" {
		inOwnNamespace(t)
		return addressing, false
	}
	addressing = layout.Namespaced()
	if err := Setup(t.Context(), addressing); err != nil {
		t.Skipf("this machine makes no namespaces: %v", err)
	}
	t.Cleanup(func() { Remove(context.WithoutCancel(t.Context())) })
	return addressing, true
}

// TestAPartitionLosesWhatItSaysAndNothingElse sends datagrams between real namespaces. It runs in a network namespace of its own, so that it meets no stack.
func TestAPartitionLosesWhatItSaysAndNothingElse(t *testing.T) {
	addressing, inside := regionsApart(t)
	if !inside {
		return
	}
	ctx := t.Context()
	ears := map[layout.Region]net.PacketConn{}
	for _, r := range layout.Regions {
		ears[r] = socketIn(t, r, addressing.Region[r]+":9")
	}
	heard := func(from, to layout.Region, within time.Duration) bool {
		target, err := net.ResolveUDPAddr("udp", addressing.Region[to]+":9")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first one may wait for the neighbour's address
			_, _ = ears[from].WriteTo([]byte{from[0]}, target)
			_ = ears[to].SetReadDeadline(time.Now().Add(within))
			if _, _, err := ears[to].ReadFrom(make([]byte, 1)); err == nil {
				return true
			}
		}
		return false
	}
	for _, cut := range []string{"", "a|bc", "a-b", "a>b"} {
		var ways []Way
		var err error
		if cut != "" {
			ways, err = ParseCut(cut)
		}
		if err == nil {
			err = Partition(ctx, addressing, ways)
		}
		if err != nil {
			t.Fatalf("%s: %v", cut, err)
		}
		lost := map[Way]bool{}
		for _, way := range ways {
			lost[way] = true
		}
		for _, from := range layout.Regions {
			for _, to := range layout.Regions {
				within := 2 * time.Second
				if lost[Way{from, to}] {
					within = 100 * time.Millisecond
				}
				if from != to && heard(from, to, within) == lost[Way{from, to}] {
					t.Errorf("cut %q: what %s says to %s arrives: %v", cut, from, to, !lost[Way{from, to}])
				}
			}
		}
	}
	if err := Heal(ctx); err != nil {
		t.Fatal(err)
	}
	if !heard(layout.A, layout.B, 2*time.Second) {
		t.Error("healed, and b does not hear a")
	}
}
