package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func TestARegionOfPriorityZeroIsNeverPromoted(t *testing.T) {
	for _, verb := range []string{"", "switchover", "override"} {
		var story strings.Builder
		w := newWorld(&story, func(s *Settings) { s.Priority = map[events.Region]int{events.RegionB: 0} })
		for range 30 {
			w.step()
		}
		if verb != "switchover" {
			w.happen("kill", []string{"a"})
		}
		if verb != "" {
			w.happen(verb, []string{"b"})
		}
		for range 200 {
			w.step()
		}
		if f := w.failover.Failover; f.Active != events.RegionA || f.Phase != state.PhaseSteady {
			t.Errorf("%q: region %s is active, in phase %s", verb, f.Active, f.Phase)
		}
		if !strings.Contains(story.String(), "priority 0") {
			t.Errorf("%q: nobody says why:\n%s", verb, story.String())
		}
	}
}

// TestTheCandidateIsThePreferredOneAndThenTheOneThatLosesLeast knows three standbys, which the stack does not.
func TestTheCandidateIsThePreferredOneAndThenTheOneThatLosesLeast(t *testing.T) {
	const d, e = events.Region("d"), events.Region("e")
	settings := testSettings(events.RegionC)
	settings.Data = []events.Region{events.RegionA, events.RegionB, d, e}
	now := Instant{Boot: time.Minute, Wall: began}
	at := func(flush events.LSN) Reported {
		return Reported{Report: state.Report{Database: state.DatabaseReport{Condition: state.DatabaseStandby, Timeline: 1, FlushLSN: flush}}, Revision: 1}
	}
	for _, c := range []struct {
		name     string
		priority map[events.Region]int
		want     []events.Region
	}{
		{"all equal", nil, []events.Region{e, d, events.RegionB}},
		{"one preferred", map[events.Region]int{events.RegionB: 2}, []events.Region{events.RegionB, e, d}},
		{"one never", map[events.Region]int{e: 0}, []events.Region{d, events.RegionB, e}},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings.Priority = c.priority
			s, _ := Decide(New(settings), Read{
				Failover: &state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseSteady}, Active: "A",
				Mandate: &state.Mandate{Owner: events.RegionA, Epoch: 1, FlushLSN: 1000, Timeline: 1}, MandateRevision: 1,
				Reports: map[events.Region]Reported{events.RegionB: at(100), d: at(200), e: at(300)},
			}, now)
			if got := s.candidates(now); !slices.Equal(got, c.want) {
				t.Errorf("candidates %v, want %v", got, c.want)
			}
		})
	}
}

func TestAClockThatWasSetBackHidesNoLoss(t *testing.T) {
	now := Instant{Boot: time.Minute, Wall: began}
	for _, c := range []struct {
		name              string
		beat              time.Duration // the standby's newest heartbeat, after the renewal
		renewed, received int64         // numbers
		want              float64       // -1: unknown
	}{
		{"clocks that agree", -3 * time.Second, 106, 100, 3},
		{"set back by half a minute", 27 * time.Second, 106, 100, 3},
		{"set forward by half a minute", -33 * time.Second, 106, 100, 33},
		{"without numbers", -3 * time.Second, 0, 0, 3},
		{"without numbers, written after the last renewal that succeeded", 4 * time.Second, 0, 0, 0},
		{"without numbers, set back", 27 * time.Second, 0, 0, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := now.Wall.Add(c.beat)
			s, _ := Decide(New(testSettings(events.RegionC)), Read{
				Failover: &state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseSteady}, Active: "A",
				Mandate: &state.Mandate{Owner: events.RegionA, Epoch: 1, RenewedAt: now.Wall, HeartbeatNumber: c.renewed}, MandateRevision: 1,
				Reports: map[events.Region]Reported{events.RegionB: {Revision: 1, Report: state.Report{Database: state.DatabaseReport{HeartbeatAt: &at, HeartbeatNumber: c.received}}}},
			}, now)
			got := -1.0
			loss := s.loss(events.RegionB, now)
			if loss.Seconds != nil {
				got = *loss.Seconds
			}
			if set := s.settings; (loss.Exposed == nil) != (c.want < 0) || loss.Exposed != nil && *loss.Exposed != c.want+(set.Validity+set.Delta).Seconds() {
				t.Errorf("exposed to %v s, want what is behind and the whole mandate after the last renewal", loss.Exposed)
			}
			if got != c.want {
				t.Errorf("%v s, want %v", got, c.want)
			}
		})
	}
}
