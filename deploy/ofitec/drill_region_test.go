package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// TestStackDrillsLoseARegion loses the active region in both ways, each on a stack of its own, and writes down what was measured. make drills runs it.
func TestStackDrillsLoseARegion(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes minutes; make drills runs it")
	}
	var report strings.Builder
	fmt.Fprintf(&report, "# Drills: a region is lost\n\n%s\n", machine())
	loseRegionDrills(t, &report)
	writeEvidence(t, "region-loss", report.String())
}

// loseRegionDrills runs the drill of the operator's command: every process killed, on loopback; and the network cut first, which needs namespaces.
func loseRegionDrills(t *testing.T, report *strings.Builder) {
	for _, c := range []struct {
		name  string
		up    []string
		drill []string
		root  bool
	}{
		{name: "Every process of region a is killed"},
		{name: "Region a falls into a black hole, then every process is killed", up: []string{"--netns"}, drill: []string{"--black-hole"}, root: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				fmt.Fprintf(report, "\n## %s\n\nNot run: network namespaces need root.\n", c.name)
				t.Skip("network namespaces need root")
			}
			s := newStack(t)
			s.start(15*time.Minute, c.up...)
			result := s.loseRegion(t, layout.A, c.drill...)
			restored := s.restoreRegion(t, layout.A)
			fmt.Fprintf(report, "\n## %s\n\n", c.name)
			writeLoss(report, result, restored)
		})
	}
}

// loseRegion is `ofitec drill region-loss`, as a script runs it; all its checks must hold.
func (s *stack) loseRegion(t *testing.T, r layout.Region, flags ...string) lossReport {
	t.Helper()
	var result lossReport
	if err := s.json(&result, append([]string{"drill", "region-loss", string(r)}, flags...)...); err != nil {
		t.Fatal(err)
	}
	for _, c := range result.Checks {
		if !c.OK {
			t.Errorf("%s: %s", c.What, c.Detail)
		}
	}
	if !result.Moved || !result.OK {
		t.Errorf("moved %v, ok %v", result.Moved, result.OK)
	}
	return result
}

// restoreRegion is `ofitec drill restore`; afterwards all is ready and the region is a standby.
func (s *stack) restoreRegion(t *testing.T, r layout.Region) restoreReport {
	t.Helper()
	var result restoreReport
	if err := s.json(&result, "drill", "restore", string(r)); err != nil {
		t.Fatal(err)
	}
	if result.Role != "standby" {
		t.Errorf("region %s came back as %s, want standby", r, result.Role)
	}
	s.eventually("all is ready after the restore", 2*time.Minute, s.allReady)
	return result
}

// json runs a command with -o json. A drill whose checks fail exits with 1 and still says what it saw.
func (s *stack) json(result any, args ...string) error {
	command := exec.Command(s.program, append(args, "-o", "json", "--data", s.data)...)
	var progress strings.Builder
	command.Stderr = &progress
	out, failed := command.Output()
	s.t.Logf("%s\n%s", strings.Join(args, " "), progress.String())
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("%s: %w: %.300s%s", strings.Join(args, " "), errors.Join(failed, err), out, progress.String())
	}
	return nil
}

// writeLoss is one drill in the evidence.
func writeLoss(report *strings.Builder, r lossReport, back restoreReport) {
	if r.Mode != "" {
		fmt.Fprintf(report, "Mode: %s.\n\n", r.Mode)
	}
	fmt.Fprintf(report, "Without an acknowledged write for **%.2f s**; %d components dead %.2f s after the loss began. %s.\n\n",
		r.Writes.Outage, r.How.Units, r.How.Dead.Sub(r.How.At).Seconds(), r.Times)
	fmt.Fprintf(report, "Name: %s.\n\n", tailsText(r.Names))
	fmt.Fprintf(report, "| seconds after the loss | took | |\n|---:|---:|---|\n")
	for _, e := range r.Timeline {
		fmt.Fprintf(report, "| %.3f | %.3f | %s |\n", e.Offset, e.Took, e.What)
	}
	fmt.Fprintf(report, "\n| check | | |\n|---|---|---|\n")
	for _, c := range r.Checks {
		word := "ok"
		if !c.OK {
			word = "**failed**"
		}
		fmt.Fprintf(report, "| %s | %s | %s |\n", c.What, word, c.Detail)
	}
	fmt.Fprintf(report, "\nAcknowledged by region %v, refused or unanswered by door %v; %d acknowledged writes had not been replicated and are lost.\n", r.Writes.Acknowledged, r.Writes.Refused, r.Writes.LostTail)
	if r.LossSeconds != nil && r.LossBytes != nil {
		fmt.Fprintf(report, "The bound at the decision was %.1f s, %d bytes.\n", *r.LossSeconds, *r.LossBytes)
	}
	fmt.Fprintf(report, "\nRegion %s came back as %s after %.1f s", back.Region, back.Role, back.Seconds)
	for n, step := range back.Steps {
		separator := ", "
		if n == 0 {
			separator = ": "
		}
		fmt.Fprintf(report, "%s%s %.1f s", separator, step.Step, step.Seconds)
	}
	fmt.Fprintln(report, ".")
}
