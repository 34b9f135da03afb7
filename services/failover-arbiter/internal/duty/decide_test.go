package duty

import (
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func TestWhatTheStateAsksOfARegion(t *testing.T) {
	failover := func(active events.Region, epoch events.Epoch, phase state.Phase, intent *state.Intent) *state.Failover {
		return &state.Failover{Active: active, Epoch: epoch, Phase: phase, Intent: intent}
	}
	intent := func(from, to events.Region, epoch events.Epoch, cause events.Cause) *state.Intent {
		return &state.Intent{From: from, To: to, Epoch: epoch, Cause: cause}
	}
	const a, b = events.RegionA, events.RegionB
	down, planned := intent(a, b, 2, events.CauseDown), intent(a, b, 2, events.CauseSwitchover)
	primary := Situation{Region: a, Running: true, Cluster: true}
	standby := Situation{Region: b, Running: true, Standby: true, Cluster: true, Signal: true}
	with := func(s Situation, f *state.Failover, change ...func(*Situation)) Situation {
		s.Failover = f
		for _, c := range change {
			c(&s)
		}
		return s
	}
	for _, c := range []struct {
		name string
		s    Situation
		want Duty
	}{
		{"nothing is known", primary, None},
		{"steady, active", with(primary, failover(a, 1, state.PhaseSteady, nil)), None},
		{"steady, standby", with(standby, failover(a, 1, state.PhaseSteady, nil)), None},
		{"chosen, the old mandate not yet over", with(standby, failover(a, 1, state.PhaseIntent, down)), None},
		{"chosen, the old mandate over", with(standby, failover(a, 1, state.PhaseFenced, down)), Promote},
		{"chosen, promoted but not yet said", with(standby, failover(a, 1, state.PhaseFenced, down), func(s *Situation) { s.Standby, s.Signal, s.Seen = false, false, 2 }), Promote},
		{"chosen and answered", with(standby, failover(a, 1, state.PhaseFenced, down), func(s *Situation) { s.Promotion = &state.Promotion{Epoch: 2} }), None},
		{"chosen, an answer of another epoch", with(standby, failover(a, 1, state.PhaseFenced, down), func(s *Situation) { s.Promotion = &state.Promotion{Epoch: 1} }), Promote},
		{"an intent from the past", with(standby, failover(a, 1, state.PhaseFenced, down), func(s *Situation) { s.Seen = 3 }), None},
		{"failed over from here, not granted yet", with(primary, failover(a, 1, state.PhaseFenced, down)), None},
		{"switchover from here, sessions left", with(primary, failover(a, 1, state.PhaseIntent, planned)), None},
		{"switchover from here, fenced", with(primary, failover(a, 1, state.PhaseIntent, planned), func(s *Situation) { s.Fenced = true }), HandOver},
		{"switchover from here, stopped, no receipt", with(primary, failover(a, 1, state.PhaseIntent, planned), func(s *Situation) { s.Running, s.Stopped = false, true }), HandOver},
		{"switchover from here, handed over", with(primary, failover(a, 1, state.PhaseFenced, planned), func(s *Situation) { s.Stopped, s.Receipt = true, &events.Receipt{Epoch: 1} }), None},
		{"the mandate returns", with(primary, failover(a, 3, state.PhaseSteady, nil), func(s *Situation) { s.Running, s.Stopped = false, true }), Start},
		{"the other region was granted it", with(primary, failover(b, 2, state.PhasePromoted, down)), Rejoin},
		{"the same, stopped", with(primary, failover(b, 2, state.PhaseSteady, nil), func(s *Situation) { s.Running = false }), Rejoin},
		{"the same, after a lost etcd", with(primary, failover(b, 2, state.PhaseSteady, nil), func(s *Situation) { s.Seen = 5 }), None},
		{"the data is gone", Situation{Region: a, Failover: failover(b, 2, state.PhaseSteady, nil)}, Rejoin},
		{"the data is gone, but this region is active", Situation{Region: a, Failover: failover(a, 2, state.PhaseSteady, nil)}, None},
		{"a copy was interrupted", with(standby, failover(a, 2, state.PhaseSteady, nil), func(s *Situation) { s.Running, s.InProgress = false, true }), Rejoin},
		{"a standby that was stopped for its rejoin", with(standby, failover(a, 2, state.PhaseSteady, nil), func(s *Situation) { s.Running, s.Stopped = false, true }), Start},
		{"a standby that is down", with(standby, failover(a, 2, state.PhaseSteady, nil), func(s *Situation) { s.Running = false }), None},
		{"a standby again", with(standby, &state.Failover{Active: a, Epoch: 3, Phase: state.PhaseSteady, Rejoin: &state.Rejoin{Region: b}}), Confirm},
		{"and said so", with(standby, &state.Failover{Active: a, Epoch: 3, Phase: state.PhaseSteady, Rejoin: &state.Rejoin{Region: b}}, func(s *Situation) { s.Rejoined = &state.Rejoined{Epoch: 3} }), None},
		{"a rejoin waits while the other region fails", with(primary, failover(b, 2, state.PhaseIntent, intent(b, a, 3, events.CauseDown))), None},
	} {
		if got := Decide(c.s); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
