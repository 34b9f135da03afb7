package simulation

import (
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// standstill is a state in which a new leader finds the failover, in a world that does nothing any more but what is said here.
type standstill struct {
	phase     state.Phase
	cause     events.Cause
	receipt   bool // of the old region, valid
	rewritten bool // somebody has written the mandate that the intent ended
	renews    bool // whoever may renew the mandate does
	promotion string
	target    string // how the target reports
	named     bool   // the name server does what it is told
	heard     string // what the observers say of the active region; of the other one nothing bad
	paused    bool
	foreign   bool // /ofitec/active says something else
	rejoins   bool // the region that is not active has not rejoined
	cooling   bool
}

// standstills are all of them.
func standstills(visit func(standstill)) {
	both := []bool{false, true}
	causes, promotions := []events.Cause{events.CauseDown, events.CauseSwitchover, events.CauseOverride}, []string{"none", "done", "refused", "of another epoch"}
	for _, phase := range state.Phases {
		steady := phase == state.PhaseSteady
		pick := func(list []bool, counts bool) []bool {
			if counts {
				return list
			}
			return list[:1]
		}
		for _, cause := range causes {
			if steady && cause != causes[0] {
				continue
			}
			for _, promotion := range promotions {
				if steady && promotion != promotions[0] {
					continue
				}
				for _, target := range []string{"standby", "down", "silent"} {
					for _, heard := range []string{"nothing", "down", "well"} {
						for n := range 1 << 8 {
							bit := func(b int, counts bool) bool { return pick(both, counts)[n>>b&1%len(pick(both, counts))] }
							s := standstill{
								phase: phase, cause: cause, promotion: promotion, target: target, heard: heard,
								receipt: bit(0, !steady), rewritten: bit(1, !steady), renews: bit(2, true), named: bit(3, !steady),
								paused: bit(4, true), foreign: bit(5, true), rejoins: bit(6, steady), cooling: bit(7, steady),
							}
							if !steady && n >= 1<<6 || steady && n&0b1011 != 0 { // that was counted already
								continue
							}
							visit(s)
						}
					}
				}
			}
		}
	}
}

// stage is what a standstill looks like in etcd.
type stage struct {
	standstill
	read     failover.Read
	mind     failover.State
	now      failover.Instant
	revision int64
	settings failover.Settings
	name     events.Region
}

func (s standstill) stage() *stage {
	w := &world{regions: events.Regions, data: events.DataRegions}
	g := &stage{standstill: s, now: failover.Instant{Boot: time.Hour, Wall: began}, revision: 100, settings: w.settings("c"), name: "a"}
	shared := profile.Shared()
	f := state.Failover{Epoch: 1, Active: "a", Phase: s.phase, Since: began}
	g.read = failover.Read{
		Failover: &f, FailoverRevision: 50, Config: &shared, Active: "A", MandateRevision: 40, Reports: map[events.Region]failover.Reported{},
		Mandate: &state.Mandate{Owner: "a", Epoch: 1, Incarnation: "fa.p1", Renewal: 9, RenewedAt: began, FlushLSN: 1000, Timeline: 1, HeartbeatAt: &g.now.Wall},
	}
	if s.phase != state.PhaseSteady {
		i := state.Intent{
			Epoch: 2, From: "a", To: "b", Cause: s.cause, DecidedAt: began, Deadline: began.Add(g.settings.HandOver), MandateRevision: 40, Decision: "x#y",
			Act: &events.Act{Actor: "ana", Reason: "told to", Request: "r1", At: began},
		}
		for _, phase := range state.Phases[1:] {
			i.Steps = append(i.Steps, state.Step{Phase: phase, At: began, Term: 7})
			if phase == s.phase {
				break
			}
		}
		f.Intent = &i
		if s.phase == state.PhasePromoted || s.phase == state.PhaseSwitched {
			f.Epoch, f.Active, g.read.Active = 2, "b", "B"
		}
		if s.rewritten {
			g.read.MandateRevision = 41
		}
	}
	if s.paused {
		f.Pause = &state.Pause{Act: events.Act{Actor: "ana", Reason: "told to", Request: "r2", At: began}}
	}
	if s.rejoins {
		f.Rejoin = &state.Rejoin{Region: "b", Epoch: 1}
	}
	if s.cooling {
		f.Cooldown = &state.Cooldown{Until: began.Add(cooldown), Seconds: cooldown.Seconds(), Epoch: 1}
	}
	if s.foreign {
		g.read.Active = "?"
	}
	g.mind, _ = failover.Decide(failover.New(g.settings), failover.Led{Term: 60}, g.now)
	return g
}

// second lets a second pass: observers speak, regions report, the mandate is renewed by whoever may and does, and the leader reads and acts.
func (g *stage) second(number int64) {
	g.now.Boot, g.now.Wall = g.now.Boot+time.Second, g.now.Wall.Add(time.Second)
	f := g.read.Failover
	if g.heard != "nothing" {
		for _, observer := range events.Regions {
			for _, target := range events.DataRegions {
				h := events.HealthObserved{Observer: observer, Incarnation: "i1", Number: number, Target: target, ObservedAt: g.now.Wall, Verdict: events.OutcomeOK, Gates: green}
				if target == f.Active && g.heard == "down" {
					h.Verdict, h.FailuresInRow = events.OutcomeFailed, 9
				}
				g.mind, _ = failover.Decide(g.mind, failover.Heard{Report: h}, g.now)
			}
		}
	}
	if g.renews && (f.Phase == state.PhaseSteady || f.Phase == state.PhasePromoted || f.Phase == state.PhaseSwitched) {
		g.revision++
		m := *g.read.Mandate
		m.Owner, m.Epoch, m.Renewal, m.RenewedAt, m.HeartbeatAt = f.Active, f.Epoch, number, g.now.Wall, &g.now.Wall
		g.read.Mandate, g.read.MandateRevision = &m, g.revision
	}
	g.reportAll()
	if region, epoch, ok := g.mind.Wanted(); ok {
		named := failover.Named{Epoch: epoch, Name: "erp", Address: string(region), TTL: 1, Provider: "rfc2136"}
		if !g.named {
			named.Problem = "no answer"
		}
		g.mind, _ = failover.Decide(g.mind, named, g.now)
	}
	var actions []failover.Action
	g.mind, actions = failover.Decide(g.mind, g.read, g.now)
	for _, action := range actions {
		if swap, ok := action.(failover.Swap); ok {
			g.revision++
			g.read.Failover, g.read.FailoverRevision = &swap.Next, g.revision
			if swap.Active != "" && !g.foreign {
				g.read.Active = map[events.Region]string{"a": "A", "b": "B"}[swap.Active]
			}
		}
	}
}

// reportAll lets both regions say what they say.
func (g *stage) reportAll() {
	f := g.read.Failover
	other := f.Active.Peer()
	if i := f.Intent; i != nil {
		other = i.To
	}
	reports := map[events.Region]failover.Reported{}
	for _, region := range events.DataRegions {
		if region == other && g.target == "silent" {
			continue
		}
		g.revision++
		r := state.Report{Region: region, Incarnation: "f" + string(region) + ".p1", Database: state.DatabaseReport{Condition: state.DatabasePrimary, Timeline: 1, FlushLSN: 1000, HeartbeatAt: &g.now.Wall}}
		if region == other {
			r.Database.Condition = state.DatabaseStandby
			if g.target == "down" {
				r.Database.Condition = state.DatabaseDown
			}
		}
		if i := f.Intent; i != nil && region == i.From && g.receipt {
			r.Receipt = &events.Receipt{Region: region, Epoch: f.Epoch, Counts: []int{0, 0}, Refused: true, FlushLSN: 1000, Timeline: 1, WrittenAt: g.now.Wall.Add(time.Minute)}
		}
		if i := f.Intent; i != nil && region == i.To {
			switch g.promotion {
			case "done":
				r.Promotion = &state.Promotion{Epoch: i.Epoch, Done: true, Timeline: 2, LSN: 1000, At: g.now.Wall}
			case "refused":
				r.Promotion = &state.Promotion{Epoch: i.Epoch, Refused: "no", At: g.now.Wall}
			case "of another epoch":
				r.Promotion = &state.Promotion{Epoch: i.Epoch + 5, Done: true, Timeline: 2, LSN: 1000, At: g.now.Wall}
			}
		}
		reports[region] = failover.Reported{Report: r, Revision: g.revision}
	}
	g.read.Reports = reports
}

// over says whether somebody writes or somebody is called: the state is steady, its owner renews the mandate, and nothing calls for a failover; or an alarm stands.
func (g *stage) over() bool {
	f := g.read.Failover
	return f.Held != nil || f.Phase == state.PhaseSteady && g.renews && g.heard == "well" && !g.foreign
}

// TestNoStateIsADeadEnd puts a new leader before each state in which a failover can be found, in a world where nothing changes any more: in bounded time there is a region that
// writes, or an alarm.
func TestNoStateIsADeadEnd(t *testing.T) {
	w := &world{regions: events.Regions, data: events.DataRegions}
	s := w.settings("c")
	// All deadlines one after the other, twice: a failover that is given up may begin once more.
	bound := 2*(s.Validity+s.Delta+5*time.Second+s.HandOver+s.PromoteIn+2*s.SwitchIn) + s.Cooldown + 10*s.Window
	count, longest := 0, time.Duration(0)
	var slowest standstill
	standstills(func(s standstill) {
		count++
		g := s.stage()
		for number := int64(1); ; number++ {
			g.second(number)
			if g.over() {
				break
			}
			if took := time.Duration(number) * time.Second; took > bound {
				t.Fatalf("after %s nobody writes and nobody is alarmed: %+v, now in phase %s of epoch %d", took, s, g.read.Failover.Phase, g.read.Failover.Epoch)
			}
		}
		if took := g.now.Wall.Sub(began); took > longest {
			longest, slowest = took, s
		}
	})
	if count < 10_000 {
		t.Fatalf("%d states only: the enumeration is wrong", count)
	}
	t.Logf("%d states; the slowest takes %s of at most %s: %+v", count, longest, bound, slowest)
}
