package failover

import (
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// disturbances are what chance picks from; %d is a data region, %r any region, %n a number of seconds.
var disturbances = []string{
	"kill %d", "revive", "revive", "cut %r %r", "cut %r %r", "heal", "etcd-away", "etcd-back", "etcd-back", "stop-arbiter %r", "continue-arbiter", "continue-arbiter",
	"crash-database %d", "restart-database %d", "database-back", "red %d", "green %d", "promotion %d %n", "promotion %d 1", "mute %d", "unmute %d", "lag %d %n",
	"switchover %d", "override %d", "acknowledge", "acknowledge", "pause for=20", "resume", "name-server away", "name-server back", "write-active B",
}

// disturb lets chance do something to the world.
func disturb(w *world, chance *rand.Rand) {
	text := disturbances[chance.IntN(len(disturbances))]
	for _, place := range []struct {
		name    string
		choices []string
	}{{"%d", []string{"a", "b"}}, {"%r", []string{"a", "b", "c"}}, {"%n", []string{"-1", "3", "9", "11", "15"}}} {
		for strings.Contains(text, place.name) {
			text = strings.Replace(text, place.name, place.choices[chance.IntN(len(place.choices))], 1)
		}
	}
	fields := strings.Fields(text)
	w.say("%s", text)
	switch verb := fields[0]; {
	case verb == "revive":
		for _, region := range events.DataRegions {
			if w.places[region].dead {
				w.happen(verb, []string{string(region)})
			}
		}
	case verb == "continue-arbiter":
		for _, region := range events.Regions {
			if w.arbiters[region].stopped && !w.places[region].dead {
				w.happen(verb, []string{string(region)})
			}
		}
	case verb == "database-back":
		w.happen(verb, []string{"a"})
		w.happen(verb, []string{"b"})
	case w.failover.Failover == nil || verb == "kill" && (w.places["a"].dead || w.places["b"].dead):
	default:
		w.happen(verb, fields[1:])
	}
}

// calm takes every disturbance away.
func calm(w *world) {
	clear(w.cut)
	w.etcdDown, w.nameBroken = false, false
	for _, region := range events.Regions {
		p := w.places[region]
		p.crashed, p.restarts, p.red, p.mute, p.behind, p.promotes = false, false, false, false, 0, time.Second
		if p.dead {
			w.revive(p)
		}
		if w.arbiters[region].stopped {
			w.wake(region)
		}
	}
}

// live plays a minute of disturbances and then some of calm, and gives what was violated.
func live(seed uint64, out io.Writer, adjust func(*Settings)) *world {
	chance := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(out, adjust)
	for range 600 {
		if chance.IntN(25) == 0 {
			disturb(w, chance)
		}
		w.step()
	}
	calm(w)
	for range 600 {
		w.step()
	}
	return w
}

func TestWhateverHappensOneRegionAtMostCanCommit(t *testing.T) {
	lives, failovers, aborts := 150, 0, 0
	if testing.Short() {
		lives = 40
	}
	for seed := range uint64(lives) {
		var story strings.Builder
		w := live(seed, &story, nil)
		if len(w.violations) > 0 {
			t.Fatalf("life %d: %s\n%s", seed, strings.Join(w.violations, "\n"), story.String())
		}
		f := w.failover.Failover
		failovers += strings.Count(story.String(), "failover.completed")
		aborts += strings.Count(story.String(), "failover.aborted")
		if f.Phase != state.PhaseSteady && f.Held == nil {
			t.Fatalf("life %d ends in phase %s without an alarm:\n%s", seed, f.Phase, story.String())
		}
		if yes := w.places[f.Active].yesAt; w.now-yes > time.Second && f.Held == nil {
			t.Fatalf("life %d ends with nobody able to commit, and without an alarm:\n%s", seed, story.String())
		}
	}
	t.Log(strconv.Itoa(failovers) + " failovers were completed and " + strconv.Itoa(aborts) + " given up")
	if failovers < lives/4 || aborts == 0 {
		t.Errorf("%d failovers and %d aborts: the lives are too quiet to show anything", failovers, aborts)
	}
}

// TestTheInvariantsAreSeenToFail breaks the protocol in one place at a time: each must be noticed.
func TestTheInvariantsAreSeenToFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		seed   uint64 // a little before the first life that shows it
		broken func(*Settings)
	}{
		{"a mandate that ends too early for the leader", 80, func(s *Settings) { s.Validity = time.Second }},
		{"a receipt from before the last renewal", 340, func(s *Settings) { s.Deadline = -time.Hour }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := c.seed; seed < c.seed+300; seed++ {
				if w := live(seed, io.Discard, c.broken); len(w.violations) > 0 {
					t.Logf("life %d: %s", seed, w.violations[0])
					return
				}
			}
			t.Error("no life shows it")
		})
	}
}
