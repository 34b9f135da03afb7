package simulation

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

var life = flag.Int64("life", -1, "play this life only, and tell it: the seed of a failure")

// TestWhateverHappensTheInvariantsHold plays lives from seeds until its time is over: a quarter of a minute, or, with OFITEC_DRILLS=1, five minutes with evidence.
func TestWhateverHappensTheInvariantsHold(t *testing.T) {
	if *life >= 0 {
		w := live(uint64(*life), removal{}, true)
		t.Logf("%s\n%s", w.epitaph(), w.story.String())
		if len(w.violations) > 0 {
			t.Fail()
		}
		return
	}
	patience, drilling := 15*time.Second, chassistest.Drill()
	switch {
	case drilling:
		patience = 5 * time.Minute
	case testing.Short():
		patience = 5 * time.Second
	}
	first := uint64(0)
	if drilling { // other lives each day, and the same ones all day
		first = uint64(time.Now().Unix()/86400) * 1_000_000
	}
	sum, seed, started := tally{}, first, time.Now()
	steps := 0
	for ; time.Since(started) < patience || seed < first+10; seed++ {
		w := live(seed, removal{}, false)
		if len(w.violations) > 0 {
			w = live(seed, removal{}, true)
			t.Fatalf("%s\nplay it again: go test -run TestWhateverHappens -life %d ./internal/simulation\n%s", w.epitaph(), seed, w.story.String())
		}
		steps += w.steps
		sum.add(w.tally)
	}
	lives := int(seed - first)
	t.Logf("%d lives, %d steps in %s: %s", lives, steps, time.Since(started).Round(time.Second), sum)
	if many := lives >= 60; sum.failovers < lives/4 || many && (sum.aborts == 0 || sum.holds == 0 || sum.switchovers == 0) {
		t.Errorf("%s in %d lives: they are too quiet to show anything", sum, lives)
	}
	if drilling {
		chassistest.Evidence(t, "simulation", "Simulation of the failover's decisions", fmt.Sprintf("%d lives, seeds %d to %d, %.0f million steps in %s: %s. No invariant was violated, and each life ended with a region that commits or with an alarm.\n\n"+
			"Again: `cd services/failover-arbiter && OFITEC_DRILLS=1 go test -timeout 30m -run 'TestWhatever' -v ./internal/simulation`", lives, first, seed-1, float64(steps)/1e6, time.Since(started).Round(time.Second), sum))
	}
}

func (t *tally) add(o tally) {
	t.failovers, t.aborts, t.holds, t.switchovers = t.failovers+o.failovers, t.aborts+o.aborts, t.holds+o.holds, t.switchovers+o.switchovers
	t.lost = max(t.lost, o.lost)
}

func (t tally) String() string {
	return fmt.Sprintf("%d failovers completed (%d of them switchovers), %d given up, %d held back, %.1f s of commits lost at most", t.failovers, t.switchovers, t.aborts, t.holds, t.lost.Seconds())
}

// TestTheSameSeedIsTheSameLife is what makes a failure's seed worth printing.
func TestTheSameSeedIsTheSameLife(t *testing.T) {
	for seed := uint64(40); seed < 42; seed++ {
		first, second := live(seed, removal{}, true), live(seed, removal{}, true)
		if first.steps != second.steps || first.story.String() != second.story.String() {
			t.Errorf("life %d went two ways: %d and %d steps", seed, first.steps, second.steps)
		}
	}
}
