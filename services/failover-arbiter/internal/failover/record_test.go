package failover

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events"
)

// TestADecisionFollowsFromWhatItsEventCarries plays lives by chance and takes every decision that was announced once more, from its event as it comes back from the bus: it is the
// same one, to the byte, whatever it was.
func TestADecisionFollowsFromWhatItsEventCarries(t *testing.T) {
	kinds := map[events.Type]int{}
	for seed := range uint64(20) {
		chance := rand.New(rand.NewPCG(seed, 9))
		w := newWorld(&strings.Builder{}, nil)
		w.onSwap = func(region events.Region, swap Swap) {
			for n, a := range swap.Announce {
				sent := encode(t, a.Payload)
				event, err := events.New(events.Origin{Region: region, Service: events.ServiceArbiter}, began.Add(w.now), a.Payload)
				if err != nil {
					t.Fatal(err)
				}
				data, err := event.Encode()
				if err != nil {
					t.Fatal(err)
				}
				back, err := events.Decode(data)
				if err != nil {
					t.Fatal(err)
				}
				payload, err := back.Payload()
				if err != nil {
					t.Fatal(err)
				}
				basis := events.BasisOf(payload)
				if basis == nil {
					t.Fatalf("%s has no basis", payload.Type())
				}
				actions, _, err := DecideAgain(*basis)
				if err != nil {
					t.Fatalf("%s: %v", payload.Type(), err)
				}
				again, ok := actions[0].(Swap)
				if !ok || len(again.Announce) != len(swap.Announce) || encode(t, again.Announce[n].Payload) != sent || encode(t, again.Next) != encode(t, swap.Next) {
					t.Fatalf("life %d: decided\n%s\nand again\n%+v", seed, sent, actions)
				}
				kinds[payload.Type()]++
			}
		}
		for range 30 {
			w.step()
		}
		w.happen("synchronous", []string{"on"})
		for range 900 {
			if chance.IntN(25) == 0 {
				disturb(w, chance)
			}
			w.step()
		}
	}
	if len(kinds) < 11 {
		t.Errorf("seen %v: some kinds of decision never came", kinds)
	}
	var largest int
	for _, n := range kinds {
		largest += n
	}
	t.Logf("%d decisions of %d kinds", largest, len(kinds))
}

func TestARecordThatIsNoneIsRefused(t *testing.T) {
	for _, record := range []string{`{`, `{"term":"x"}`, `{}`} {
		if _, _, err := DecideAgain(events.Basis{Record: json.RawMessage(record)}); err == nil {
			t.Errorf("%s is decided upon", record)
		}
	}
}

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
