package failover

import (
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

// TestADecisionFollowsFromItsEvidence takes what failover.started carries, and what was read then, to an arbiter that knows nothing else: it decides the same, to the byte.
func TestADecisionFollowsFromItsEvidence(t *testing.T) {
	for _, c := range []struct {
		name    string
		disturb func(*world)
		after   time.Duration
	}{
		{"a region that dies", func(w *world) { w.happen("kill", []string{"a"}) }, 10 * time.Second},
		{"a region that is cut off", func(w *world) { w.happen("cut", []string{"a", "b"}); w.happen("cut", []string{"a", "c"}) }, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(io.Discard, nil)
			var told *events.FailoverStarted
			var read Read
			var at Instant
			w.onSwap = func(region events.Region, swap Swap) {
				for _, a := range swap.Announce {
					if started, ok := a.Payload.(events.FailoverStarted); ok && told == nil {
						told, read, at = &started, *w.arbiters[region].stale, w.instant()
					}
				}
			}
			for range 30 {
				w.step()
			}
			c.disturb(w)
			for end := w.now + c.after; w.now < end; {
				w.step()
			}
			if told == nil {
				t.Fatal("nothing was decided")
			}
			s := New(testSettings(told.Leader))
			s, _ = Decide(s, Led{Term: told.Term}, at)
			for _, e := range told.Evidence {
				age := time.Duration(e.AgeSeconds * float64(time.Second)).Round(time.Millisecond)
				then := Instant{Boot: at.Boot - age, Wall: at.Wall.Add(-age)}
				var ignored []Action
				if s, ignored = Decide(s, Heard{Report: *e.Health}, then); len(ignored) > 0 {
					t.Errorf("%+v is not heard again: %v", e, ignored)
				}
			}
			_, actions := Decide(s, read, at)
			if len(actions) != 1 {
				t.Fatalf("from its evidence follows %+v", actions)
			}
			again, ok := actions[0].(Swap).Announce[0].Payload.(events.FailoverStarted)
			told.Basis, again.Basis = nil, nil // what the arbiter remembers beside what it says; see TestADecisionFollowsFromWhatItsEventCarries
			if first, second := encode(t, *told), encode(t, again); !ok || first != second {
				t.Errorf("decided\n%s\nand from its evidence\n%s", first, second)
			}
		})
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
