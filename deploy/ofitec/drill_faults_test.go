package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events/state"
)

// faultDrills are done one after the other on one stack. A and B stand for the region that is active then, and for the other one.
var faultDrills = []string{
	"partition A-B", "partition AB|c", "partition B|Ac", "partition A>Bc", "partition A|Bc --for 43s", "partition A|Bc,B|Ac",
	"freeze B", "freeze c", "freeze A",
	"pause-arbiter B", "pause-arbiter c", "pause-arbiter A --for 1s", "pause-arbiter A",
	"no-quorum etcd --for 20s", "no-quorum nats --for 20s",
	"kill A/postgres", "kill A/haproxy-db", "kill A/failover-arbiter",
	"switchover B", "switchover B",
	"partition A|Bc --for 10m",
}

// TestStackDrillsDoHarm does every kind of harm to one stack of namespaces, and kills the elected arbiter at each step of a failover. make drills runs it.
func TestStackDrillsDoHarm(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes most of an hour; make drills runs it")
	}
	s := newNamespacedStack(t)
	var report strings.Builder
	fmt.Fprintf(&report, "# Drills: harm to a running stack\n\n%s\n\nEach is `ofitec drill ...` on one stack of `up --netns`, while writers at both doors and a database session on each side count what is acknowledged.\n\n", machine())
	fmt.Fprintf(&report, "| drill | active, epoch | without a write | whole again after | not replicated and lost | machine |\n|---|---|---:|---:|---:|---|\n")
	var details strings.Builder
	for _, drill := range faultDrills {
		result, ok := s.harm(t, drill)
		if !ok {
			fmt.Fprintf(&report, "| %s | **could not be made** | | | | |\n", drill)
			continue
		}
		word := ""
		if result.Machine.Starved {
			word = fmt.Sprintf("starved: etcd silent %.2f s, overrun %.2f s", result.Machine.EtcdGap, result.Machine.Overrun)
		}
		fmt.Fprintf(&report, "| %s | %s %d → %s %d | %.2f s | %.1f s | %d | %s |\n", result.Fault, result.Before.Active, result.Before.Epoch, result.After.Active, result.After.Epoch,
			result.Writes.Outage, result.Settled, result.Writes.LostTail, word)
		writeFault(&details, result)
	}
	report.WriteString(details.String())
	for _, phase := range state.Phases[1:] {
		lost := s.active(t)
		result := s.loseRegion(t, lost, "--kill-leader-at", string(phase), "--max-outage", "40s")
		back := s.restoreRegion(t, lost)
		s.run("failover", "acknowledge", "--reason", "the drills go on")
		fmt.Fprintf(&report, "\n## Region %s is lost, and the elected arbiter is killed in phase %s\n\n", lost, phase)
		writeLoss(&report, result, back)
	}
	writeEvidence(t, "harm", report.String())
}

// TestStackParted cuts the active region off for a few seconds: the short form of the drills, for make test.
func TestStackParted(t *testing.T) {
	s := newNamespacedStack(t)
	result, ok := s.harm(t, "partition A|Bc --for 8s")
	if ok && !result.Moved {
		t.Error("the writes stayed in a region that nobody hears")
	}
}

// newNamespacedStack starts a stack with a network namespace a region, where that can be had.
func newNamespacedStack(t *testing.T) *stack {
	t.Helper()
	if os.Getenv("OFITEC_STACK_TEST") != "" && os.Geteuid() != 0 {
		t.Skip("network namespaces need root: no region was cut off")
	}
	s := newStack(t)
	s.start(15*time.Minute, "--netns")
	return s
}

// harm is one drill. All its checks must hold.
func (s *stack) harm(t *testing.T, drill string) (faultReport, bool) {
	t.Helper()
	active := s.active(t)
	args := strings.Fields(strings.NewReplacer("A", string(active), "B", string(active.Peer())).Replace(drill))
	var result faultReport
	if err := s.json(&result, append([]string{"drill"}, args...)...); err != nil {
		t.Error(err)
		s.run("drill", "heal")
		return result, false
	}
	for _, c := range result.Checks {
		if !c.OK {
			t.Errorf("%s: %s: %s", result.Fault, c.What, c.Detail)
		}
	}
	if len(result.Checks) < 9 {
		t.Errorf("%s: only %d checks", result.Fault, len(result.Checks))
	}
	if result.Moved {
		s.run("failover", "acknowledge", "--reason", "the drills go on") // its cooldown would hold the next one
	}
	return result, true
}

// writeFault is one drill in the evidence.
func writeFault(report *strings.Builder, r faultReport) {
	fmt.Fprintf(report, "\n## %s\n\n", r.Fault)
	if r.Times != nil {
		fmt.Fprintf(report, "%s.\n\n", r.Times)
	}
	if len(r.Timeline) > 3 {
		fmt.Fprintf(report, "| seconds after it began | took | |\n|---:|---:|---|\n")
		for _, e := range r.Timeline {
			fmt.Fprintf(report, "| %.3f | %.3f | %s |\n", e.Offset, e.Took, e.What)
		}
		fmt.Fprintln(report)
	}
	fmt.Fprintf(report, "| check | | |\n|---|---|---|\n")
	for _, c := range r.Checks {
		word := "ok"
		if !c.OK {
			word = "**failed**"
		}
		fmt.Fprintf(report, "| %s | %s | %s |\n", c.What, word, c.Detail)
	}
	fmt.Fprintf(report, "\nAcknowledged by region %v, refused or unanswered by door %v.\n", r.Writes.Acknowledged, r.Writes.Refused)
}

// TestEveryDrillOfTheLongFormIsOneThatTheCommandTakes reads the list as the command does, so that a long run does not end at a slip of the pen.
func TestEveryDrillOfTheLongFormIsOneThatTheCommandTakes(t *testing.T) {
	for _, drill := range append(slices.Clone(faultDrills), "partition A|Bc --for 8s") {
		args := strings.Fields(strings.NewReplacer("A", string(layout.A), "B", string(layout.B)).Replace(drill))
		at := slices.IndexFunc(faultKinds, func(k faultKind) bool { return strings.HasPrefix(k.use, args[0]+" ") })
		if at < 0 {
			t.Errorf("%s: there is no such drill", drill)
			continue
		}
		if err := faultKinds[at].check(args[1]); err != nil {
			t.Errorf("%s: %v", drill, err)
		}
		if err := newFault(faultKinds[at]).ParseFlags(args[2:]); err != nil {
			t.Errorf("%s: %v", drill, err)
		}
	}
}
