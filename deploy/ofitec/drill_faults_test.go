package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events/state"
)

// faultDrills are done one after the other on one stack. A and B stand for the region that is active then, and for the other one.
// Planned moves come first: what the others do turns gates red, and nobody moves to red gates.
var faultDrills = []string{
	"switchover B", "switchover B",
	"partition A-B", "partition AB|c", "partition B|Ac", "partition A>Bc", "partition A|Bc --for 43s", "partition A|Bc,B|Ac",
	"freeze B", "freeze c", "freeze A",
	"pause-arbiter B", "pause-arbiter c", "pause-arbiter A --for 1s", "pause-arbiter A",
	"no-quorum etcd --for 20s", "no-quorum nats --for 20s",
	"kill A/postgres", "kill A/haproxy-db", "kill A/failover-arbiter",
	"slow-disk B", "slow-disk A --for 90s", "full-disk B", "full-disk A --for 90s",
	"clock-jump B+1h", "clock-jump B-1h", "clock-jump c+1h", "clock-jump c-1h", "clock-jump A-1h", "clock-jump A+1h",
}

// longDrills take so long that they are asked for by OFITEC_DRILLS_LONG.
var longDrills = []string{"partition A|Bc --for 10m"}

// TestStackDrillsDoHarm does every kind of harm to one stack of namespaces, and kills the elected arbiter at each step of a failover. make drills runs it.
// Each is a subtest, so that one can be run alone (-run 'TestStackDrillsDoHarm/partition-a_bc-for-43s'), and leaves its evidence as it ends: a run that is cut
// short keeps what it has shown.
func TestStackDrillsDoHarm(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes most of an hour; make drills runs it")
	}
	s := newNamespacedStack(t, "--disks")
	drills := faultDrills
	if os.Getenv("OFITEC_DRILLS_LONG") != "" {
		drills = append(slices.Clone(drills), longDrills...)
	}
	for _, drill := range drills {
		s.drill(t, drillName(drill), func(t *testing.T, report *strings.Builder) {
			if result, ok := s.harm(t, drill); ok {
				writeFault(report, result)
			} else {
				fmt.Fprintf(report, "\n## %s\n\n**It could not be made.**\n", drill)
			}
		})
	}
	for _, phase := range state.Phases[1:] {
		s.drill(t, "kill-leader-at-"+string(phase), func(t *testing.T, report *strings.Builder) {
			lost := s.active(t)
			fmt.Fprintf(report, "\n## Region %s is lost, and the elected arbiter is killed in phase %s\n\n", lost, phase)
			result := s.loseRegion(t, lost, "--kill-leader-at", string(phase), "--max-outage", "40s")
			back := s.restoreRegion(t, lost)
			s.run("failover", "acknowledge", "--reason", "the drills go on")
			writeLoss(report, result, back)
		})
	}
}

// drill is one subtest on a stack that others use too. What it has to say is in the evidence even where it fails half-way.
func (s *stack) drill(t *testing.T, name string, run func(t *testing.T, report *strings.Builder)) {
	t.Helper()
	s.drillInto(t, name, "harm", harmTitle, run)
}

// drillInto is a drill whose evidence goes into the day's file of that name.
func (s *stack) drillInto(t *testing.T, name, file, title string, run func(t *testing.T, report *strings.Builder)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		if end, limited := t.Deadline(); limited && time.Until(end) < 80*time.Second {
			t.Skip("the run's -timeout is near: a stack that is cut off in a drill stays behind")
		}
		whole := s.t
		s.t = t // what the stack finds wrong ends this drill, not all of them
		defer func() { s.t = whole }()
		var report strings.Builder
		defer func() {
			word := "passed"
			if t.Failed() {
				word = "**failed**"
			}
			fmt.Fprintf(&report, "\n%s, %s\n", word, machine())
			appendEvidence(t, filepath.Join("..", "..", "docs", "evidence"), file, title, report.String())
		}()
		run(t, &report)
	})
}

const harmTitle = "# Drills: harm to a running stack\n\nEach is `ofitec drill ...` on a stack of `up --netns`, while writers at both doors and a database session on each side count what is acknowledged.\n"

// drillName is a drill as a subtest is named: without what -run would take for a part of its pattern.
func drillName(drill string) string {
	return strings.ToLower(strings.NewReplacer(" --", "-", " ", "-", "|", "_", ">", "-to-", ",", "-and-", "/", "-", "+", "-plus-").Replace(drill))
}

// appendEvidence adds to the day's file of that name, and begins it with the title.
func appendEvidence(t *testing.T, dir, name, title, content string) {
	t.Helper()
	path := filepath.Join(dir, time.Now().UTC().Format("2006-01-02")+"-"+name+".md")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = file.Close() }()
	if there, err := file.Stat(); err == nil && there.Size() == 0 {
		content = title + content
	}
	if _, err := file.WriteString(content); err != nil {
		t.Error(err)
	}
	t.Logf("evidence: %s\n%s", path, content)
}

func TestEvidenceIsAddedToWhatTheDayHasAndDrillsHaveNamesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	appendEvidence(t, dir, "harm", "title\n", "first\n")
	appendEvidence(t, dir, "harm", "title\n", "second\n")
	files, err := filepath.Glob(filepath.Join(dir, "*-harm.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	said := ""
	for _, file := range files { // two, where midnight came between
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said += string(content)
	}
	if len(files) == 1 && said != "title\nfirst\nsecond\n" {
		t.Errorf("the evidence is %q", said)
	}
	names := map[string]string{}
	for _, drill := range append(slices.Clone(faultDrills), longDrills...) {
		name := drillName(drill)
		if other, taken := names[name]; taken && other != drill {
			t.Errorf("%s and %s are both named %s", drill, other, name)
		}
		names[name] = drill
		if strings.ContainsAny(name, " /|>,+") {
			t.Errorf("%s: -run cannot ask for %s alone", drill, name)
		}
	}
	if got := drillName("partition A|Bc --for 43s"); got != "partition-a_bc-for-43s" {
		t.Errorf("the name is %s", got)
	}
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
func newNamespacedStack(t *testing.T, flags ...string) *stack {
	t.Helper()
	if os.Getenv("OFITEC_STACK_TEST") != "" && os.Geteuid() != 0 {
		t.Skip("network namespaces need root: no region was cut off")
	}
	s := newStack(t)
	s.start(15*time.Minute, append([]string{"--netns"}, flags...)...)
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
	fmt.Fprintf(report, "Active %s, epoch %d → %s, epoch %d. Without a write for %.2f s; whole again after %.1f s; %d acknowledged writes had not been replicated and are lost. %s.\n\n",
		r.Before.Active, r.Before.Epoch, r.After.Active, r.After.Epoch, r.Writes.Outage, r.Settled, r.Writes.LostTail, r.Machine)
	if r.Mode != "" {
		fmt.Fprintf(report, "Mode: %s.\n\n", r.Mode)
	}
	if r.Note != "" {
		fmt.Fprintf(report, "%s\n\n", r.Note)
	}
	if r.Times != nil {
		fmt.Fprintf(report, "%s.\n\nName: %s.\n\n", r.Times, tailsText(r.Names))
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

func TestAJumpIsARegionAndATime(t *testing.T) {
	for arg, far := range map[string]time.Duration{"a+1h": time.Hour, "b-1h": -time.Hour, "c+90s": 90 * time.Second} {
		if r, got, err := parseJump(arg); err != nil || got != far || string(r) != arg[:1] {
			t.Errorf("%s is read as %s %s, %v", arg, r, got, err)
		}
	}
	for _, arg := range []string{"", "a", "+1h", "d+1h", "a1h", "a+", "a+1", "a+0s", "a+1500ms", "ab-1h"} {
		if _, _, err := parseJump(arg); err == nil || !strings.Contains(err.Error(), "a+1h") {
			t.Errorf("%q is taken: %v", arg, err)
		}
	}
}

func TestOnlyALeapPastTheLifeOfLoginsMayKeepWritesAway(t *testing.T) {
	c := faultContext{state: state.Failover{Active: "a"}}
	for _, x := range []struct {
		region    layout.Region
		far       time.Duration
		maxOutage time.Duration
	}{
		{"a", time.Hour, 32 * time.Second}, {"a", 59 * time.Minute, outageStays}, {"a", -time.Hour, outageStays}, {"b", time.Hour, outageStays}, {"c", time.Hour, outageStays},
	} {
		if got := c.jumped(x.region, x.far, 20*time.Second); got.maxOutage != x.maxOutage || (got.moves == stays) != (x.maxOutage == outageStays) {
			t.Errorf("%s by %s: %+v", x.region, x.far, got)
		}
	}
}

// TestEveryDrillOfTheLongFormIsOneThatTheCommandTakes reads the list as the command does, so that a long run does not end at a slip of the pen.
func TestEveryDrillOfTheLongFormIsOneThatTheCommandTakes(t *testing.T) {
	for _, drill := range append(append(slices.Clone(faultDrills), longDrills...), "partition A|Bc --for 8s") {
		args := strings.Fields(strings.NewReplacer("A", string(layout.A), "B", string(layout.B)).Replace(drill))
		kinds := allKinds()
		at := slices.IndexFunc(kinds, func(k faultKind) bool { return strings.HasPrefix(k.use, args[0]+" ") })
		if at < 0 {
			t.Errorf("%s: there is no such drill", drill)
			continue
		}
		if err := kinds[at].check(args[1]); err != nil {
			t.Errorf("%s: %v", drill, err)
		}
		if err := newFault(kinds[at]).ParseFlags(args[2:]); err != nil {
			t.Errorf("%s: %v", drill, err)
		}
	}
}
