package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// strictLoss is goodLoss where commits waited for the standby and, without one, nothing may be acknowledged: the tail does not exist, and neither do b's writes.
func strictLoss() drillEvidence {
	e := goodLoss()
	e.Dead, e.Lossless, e.Waits = after(10.5), true, true
	e.Acks, e.Stored = e.Acks[:2], map[string]map[int64]bool{"w": {1: true, 2: true}}
	return e
}

func TestWhereWritesWaitNoneIsAcknowledgedAndNoneIsLost(t *testing.T) {
	if bad := failedChecks(strictLoss()); bad != "" {
		t.Errorf("failed: %s", bad)
	}
	for _, c := range []struct {
		name string
		do   func(e *drillEvidence)
		says string
	}{
		{"a write was acknowledged without a standby", func(e *drillEvidence) { e.Acks = append(e.Acks, ackAt(17, 4, "b", 400)) }, "writes wait in region b"},
		{"an acknowledged write behind the fork is lost", func(e *drillEvidence) { e.Acks = append(e.Acks, ackAt(9.9, 3, "a", 300)) }, "every acknowledged write is there"},
		{"b took over twice", func(e *drillEvidence) { e.Epoch = 3 }, "under epoch 3"},
	} {
		e := strictLoss()
		c.do(&e)
		if bad := failedChecks(e); !strings.Contains(bad, c.says) {
			t.Errorf("%s: the judge finds %q", c.name, bad)
		}
	}
}

func TestOnlyStrictSynchronousModeLetsWritesWaitForALostRegion(t *testing.T) {
	for _, c := range []struct {
		mode  modes
		lost  layout.Region
		waits bool
		says  string
	}{
		{modes{}, "a", false, ""},
		{modes{strict: true}, "a", false, ""}, // it says what becomes of a mode that is not in force
		{modes{synchronous: true}, "a", false, "degrade"},
		{modes{synchronous: true, strict: true}, "a", true, "strict"},
		{modes{synchronous: true, strict: true}, "b", true, "strict"},
		{modes{synchronous: true, strict: true}, "c", false, "strict"},
		{modes{witness: true}, "a", false, "commit witness"},
	} {
		if got := c.mode.waits(c.lost); got != c.waits || !strings.Contains(c.mode.String(), c.says) || c.says == "" && c.mode.String() != "" {
			t.Errorf("%+v, %s lost: waits %v, said %q", c.mode, c.lost, got, c.mode)
		}
	}
}

const modesTitle = "# Drills: a region is lost in each mode\n\nEach mode is how commits are held, and what it promises is demanded of the drill.\n"

// TestStackDrillsHoldModesToTheirPromise loses regions where commits are held in another way than by default. make drills runs it.
func TestStackDrillsHoldModesToTheirPromise(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes minutes; make drills runs it")
	}
	t.Run("degrade", func(t *testing.T) {
		s := newNamespacedStack(t, "--commit-witness")
		s.modeDrill(t, "witness-freeze", func(t *testing.T, report *strings.Builder) {
			result, ok := s.harm(t, "freeze A")
			if !ok || !strings.Contains(result.Mode, "witness") {
				t.Fatalf("mode %q", result.Mode)
			}
			writeFault(report, result)
		})
		s.modeDrill(t, "witness-region-loss", s.lossInMode("commit witness"))
		s.synchronize(t)
		s.modeDrill(t, "synchronous-region-loss", s.lossInMode("synchronous (degrade"))
	})
	t.Run("strict", func(t *testing.T) {
		s := newNamespacedStack(t, "--strict")
		s.synchronize(t)
		s.modeDrill(t, "strict-region-loss", s.lossInMode("synchronous (strict"))
	})
}

func (s *stack) modeDrill(t *testing.T, name string, run func(t *testing.T, report *strings.Builder)) {
	t.Helper()
	s.drillInto(t, name, "modes", modesTitle, run)
}

// synchronize asks for synchronous replication. The drill waits until it is in force.
func (s *stack) synchronize(t *testing.T) {
	t.Helper()
	if out, code := s.run("failover", "synchronous", "on", "--reason", "a drill"); code != exitDone {
		t.Fatal(out)
	}
}

// lossInMode loses the active region and brings it back; afterwards writes go through in any mode.
func (s *stack) lossInMode(mode string) func(t *testing.T, report *strings.Builder) {
	return func(t *testing.T, report *strings.Builder) {
		active := s.active(t)
		result := s.loseRegion(t, active, "--black-hole")
		back := s.restoreRegion(t, active)
		s.run("failover", "acknowledge", "--reason", "the drills go on")
		s.eventually("writes go through", time.Minute, func() error { return s.write(active.Peer(), "mode", int(time.Now().UnixNano())) })
		if !strings.Contains(result.Mode, mode) {
			t.Errorf("the mode is %q, want %q", result.Mode, mode)
		}
		if strings.Contains(mode, "synchronous") && result.Writes.LostTail != 0 {
			t.Errorf("%d acknowledged writes are lost", result.Writes.LostTail)
		}
		fmt.Fprintf(report, "\n## Region %s is lost\n\n", active)
		writeLoss(report, result, back)
	}
}
