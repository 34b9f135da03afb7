package main

import (
	"strings"
	"testing"
)

func TestAShortRunPrintsEveryContestWithItsRatios(t *testing.T) {
	var out, problems strings.Builder
	// The status is not looked at: a short run on a busy machine may miss a target.
	run([]string{"-count", "1000", "-rounds", "1"}, &out, &problems)
	if problems.Len() > 0 {
		t.Fatal(problems.String())
	}
	for _, want := range []string{"machine ", "github.com/nats-io/nats.go v", "publish: 1000 events", "consume: 1000 events", "replay: 1000 events", "target 0.70", "target 0.40"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestWrongUseIsStatusTwo(t *testing.T) {
	for _, args := range [][]string{{"-count", "1"}, {"-rounds", "0"}, {"-nonsense"}, {"extra"}, {"-only", "nothing"}} {
		var out, problems strings.Builder
		if status := run(args, &out, &problems); status != 2 || problems.Len() == 0 {
			t.Errorf("%v: status %d, %q", args, status, problems.String())
		}
	}
}
