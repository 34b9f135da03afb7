// Package whatif plays recorded observations to the decisions of package failover, under thresholds that may be others than those that ran: how many failovers would have begun,
// how many of them for nothing, how soon, and which outages nobody would have answered. It is pure, and publishes nothing.
package whatif

import (
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// gap is a hole in the recording: what is heard behind it is not counted on from before.
const gap = 30 * time.Second

// Failover is one that would have begun.
type Failover struct {
	At      time.Time     `json:"at"`
	From    events.Region `json:"from"`
	To      events.Region `json:"to"`
	Cause   events.Cause  `json:"cause"`
	Rule    string        `json:"rule"`
	Detect  float64       `json:"detect_seconds"` // from the first failed check
	Nothing bool          `json:"for_nothing"`    // the region was well again before a failover would have been over, and none was recorded
}

// Outage is a time in which a majority of the observers failed to reach the active region.
type Outage struct {
	Region   events.Region `json:"region"`
	Began    time.Time     `json:"began"`
	Seconds  float64       `json:"seconds"`
	Real     bool          `json:"real"`               // it lasted as long as a failover takes, or was answered by one
	Answered bool          `json:"answered"`           // a failover would have begun
	Held     string        `json:"held_by,omitempty"`  // the rule that held it back
	Recorded bool          `json:"failover_was_taken"` // in what was recorded
}

// Result is what a trial has shown.
type Result struct {
	From         time.Time  `json:"from"`
	To           time.Time  `json:"to"`
	Observations int        `json:"observations"`
	Ignored      int        `json:"ignored"`
	Failovers    []Failover `json:"failovers"`
	Outages      []Outage   `json:"outages"`
}

// Nothing counts the failovers for nothing.
func (r Result) Nothing() int {
	n := 0
	for _, f := range r.Failovers {
		if f.Nothing {
			n++
		}
	}
	return n
}

// Missed counts the real outages that no failover would have answered, and all real ones.
func (r Result) Missed() (missed, outages int) {
	for _, o := range r.Outages {
		if o.Real {
			outages++
			if !o.Answered {
				missed++
			}
		}
	}
	return missed, outages
}

// Detection are the times from the first failed check to the decision, of failovers that were not for nothing.
func (r Result) Detection() []float64 {
	var list []float64
	for _, f := range r.Failovers {
		if !f.Nothing && f.Cause == events.CauseDown {
			list = append(list, f.Detect)
		}
	}
	return list
}

// Trial hears a recording in its order. What is not recorded there is taken to be well: the mandate is renewed, etcd answers, databases that restart do not say so.
type Trial struct {
	settings failover.Settings
	worth    time.Duration // an outage that is over sooner is not worth a failover

	mind     failover.State
	origin   time.Time
	now      failover.Instant
	readNext time.Duration
	number   int64

	active    events.Region
	epoch     events.Epoch
	cooldown  *state.Cooldown
	held      *state.Held
	positions map[events.Region]events.ReplicationObserved
	latest    map[events.Region]map[events.Region]events.HealthObserved // by target and observer
	placed    map[events.Region]int64                                   // how often a position came

	open    *Outage
	result  Result
	pending []int // failovers of which it is not known yet whether they were for nothing
}

// New begins a trial. Active is the region that is active until the recording says otherwise.
func New(settings failover.Settings, active events.Region, worth time.Duration) *Trial {
	settings.Names = false
	return &Trial{
		settings: settings, worth: worth, active: active, epoch: 1, positions: map[events.Region]events.ReplicationObserved{},
		latest: map[events.Region]map[events.Region]events.HealthObserved{}, placed: map[events.Region]int64{}, result: Result{Failovers: []Failover{}, Outages: []Outage{}},
	}
}

// Take hears what came at a time. Times must not go backwards; what is late is heard as of the newest time.
func (t *Trial) Take(p events.Payload, at time.Time) {
	switch p := p.(type) {
	case events.HealthObserved:
		t.advance(at)
		t.result.Observations++
		t.hear(failover.Heard{Report: p})
		t.note(p)
		if t.mind.Alarm(t.now) == failover.Alarmed {
			t.read()
		}
	case events.ReplicationObserved:
		t.advance(at)
		t.result.Observations++
		t.hear(failover.Positioned{Report: p})
		t.positions[p.Target] = p
		t.placed[p.Target]++
	case events.FailoverStarted:
		if t.open != nil && t.open.Region == p.From {
			t.open.Recorded = true
		}
		for _, n := range t.pending {
			t.result.Failovers[n].Nothing = false
		}
		t.pending = nil
	case events.FailoverPromoted:
		t.move(p.To, p.Epoch)
	}
}

// move is a change of the active region that was recorded.
func (t *Trial) move(to events.Region, epoch events.Epoch) {
	if to != t.active {
		t.shut(t.now.Wall)
	}
	t.active, t.epoch, t.held = to, max(epoch, t.epoch), nil
}

// Result is what was shown so far. An outage under way counts as it is.
func (t *Trial) Result() Result {
	result := t.result
	if t.open != nil {
		o := *t.open
		o.Seconds = t.now.Wall.Sub(o.Began).Seconds()
		o.Real = o.Recorded || t.now.Wall.Sub(o.Began) >= t.worth
		result.Outages = append(append([]Outage{}, result.Outages...), o)
	}
	return result
}

// advance lets time pass, with the reads of an arbiter that leads.
func (t *Trial) advance(at time.Time) {
	if t.origin.IsZero() || at.Sub(t.now.Wall) > gap {
		if t.origin.IsZero() {
			t.origin, t.result.From = at, at
		} else {
			t.shut(t.now.Wall)
		}
		t.mind = failover.New(t.settings)
		t.now = t.instant(at)
		t.mind, _ = failover.Decide(t.mind, failover.Led{Term: 1}, t.now)
		t.readNext = t.now.Boot
		clear(t.latest)
	}
	end := t.instant(at)
	for t.readNext <= end.Boot {
		t.now = failover.Instant{Boot: max(t.readNext, t.now.Boot), Wall: t.origin.Add(max(t.readNext, t.now.Boot) - time.Hour)}
		t.read()
		t.readNext = t.now.Boot + t.settings.Renew
	}
	if end.Boot > t.now.Boot {
		t.now = end
	}
	t.result.To = t.now.Wall
}

func (t *Trial) instant(at time.Time) failover.Instant {
	return failover.Instant{Boot: at.Sub(t.origin) + time.Hour, Wall: at}
}

func (t *Trial) hear(o failover.Observation) {
	var actions []failover.Action
	t.mind, actions = failover.Decide(t.mind, o, t.now)
	for _, action := range actions {
		if _, ignored := action.(failover.Ignored); ignored {
			t.result.Ignored++
		}
	}
}

// read is one read of a state in which nothing has gone wrong but for what was recorded, and what would have been done about it.
func (t *Trial) read() {
	t.number++
	var actions []failover.Action
	t.mind, actions = failover.Decide(t.mind, t.view(), t.now)
	for _, action := range actions {
		swap, is := action.(failover.Swap)
		if !is {
			continue
		}
		t.held = swap.Next.Held
		if t.held != nil && t.open != nil && !t.open.Answered {
			t.open.Held = t.held.Rule
		}
		for _, a := range swap.Announce {
			if started, is := a.Payload.(events.FailoverStarted); is {
				t.begin(started, swap.Next.Intent.Suspected)
			}
		}
	}
}

// begin notes a failover that would begin. The recording goes on as it was, so that only its cooldown is kept.
func (t *Trial) begin(started events.FailoverStarted, suspected *time.Time) {
	if t.open != nil && t.open.Answered { // the writes would be elsewhere by now
		return
	}
	f := Failover{At: t.now.Wall, From: started.From, To: started.To, Cause: started.Cause, Rule: started.Rule}
	if suspected != nil {
		f.Detect = t.now.Wall.Sub(*suspected).Seconds()
	}
	t.pending = append(t.pending, len(t.result.Failovers))
	t.result.Failovers = append(t.result.Failovers, f)
	t.cooldown = &state.Cooldown{Until: t.now.Wall.Add(t.settings.Cooldown), Seconds: t.settings.Cooldown.Seconds(), Epoch: t.epoch}
	if t.open != nil {
		t.open.Answered, t.open.Held = true, ""
	}
}

func (t *Trial) view() failover.Read {
	shared := t.settings.Shared
	f := &state.Failover{Epoch: t.epoch, Active: t.active, Phase: state.PhaseSteady, Since: t.origin, Cooldown: t.cooldown, Held: t.held}
	m := &state.Mandate{Owner: t.active, Epoch: t.epoch, Incarnation: "what.if", Renewal: t.number, RenewedAt: t.now.Wall}
	if p, known := t.positions[t.active]; known && p.FlushLSN != nil {
		m.FlushLSN, m.Timeline = *p.FlushLSN, p.Timeline
	}
	reports := map[events.Region]failover.Reported{}
	for _, region := range events.DataRegions {
		p, known := t.positions[region]
		if !known {
			continue
		}
		d := state.DatabaseReport{Condition: state.DatabasePrimary, Timeline: p.Timeline, HeartbeatAt: p.HeartbeatAt}
		if p.InRecovery {
			d.Condition = state.DatabaseStandby
		}
		switch {
		case p.InRecovery && p.ReceivedLSN != nil:
			d.FlushLSN = *p.ReceivedLSN
		case !p.InRecovery && p.FlushLSN != nil:
			d.FlushLSN = *p.FlushLSN
		}
		reports[region] = failover.Reported{Report: state.Report{Region: region, Incarnation: "what.if", Number: t.placed[region], Database: d}, Revision: t.placed[region]}
	}
	return failover.Read{
		Failover: f, FailoverRevision: 1, Mandate: m, MandateRevision: t.number + 1, Config: &shared, Active: strings.ToUpper(string(t.active)), Reports: reports,
	}
}

// note keeps what each observer said last, and with it when the active region was down in truth.
func (t *Trial) note(p events.HealthObserved) {
	if t.latest[p.Target] == nil {
		t.latest[p.Target] = map[events.Region]events.HealthObserved{}
	}
	t.latest[p.Target][p.Observer] = p
	if p.Target != t.active {
		return
	}
	failing, began := 0, t.now.Wall
	well := 0
	for _, last := range t.latest[t.active] {
		switch {
		case t.now.Wall.Sub(last.ObservedAt) > 2*t.settings.Window: // it is silent
		case last.Verdict == events.OutcomeFailed:
			failing++
			if first := last.ObservedAt.Add(-time.Duration(last.FailuresInRow-1) * t.settings.Every); first.Before(began) {
				began = first
			}
		case last.Verdict == events.OutcomeOK && (last.Gates == nil || last.Gates.Healthy != events.OutcomeFailed):
			well++
		}
	}
	majority := len(t.settings.Observers)/2 + 1
	switch {
	case failing >= majority && t.open == nil:
		t.open = &Outage{Region: t.active, Began: began}
	case well >= majority:
		t.recovered()
		t.shut(t.now.Wall)
	}
}

// recovered says of the failovers that have just begun whether they were for nothing.
func (t *Trial) recovered() {
	for _, n := range t.pending {
		f := &t.result.Failovers[n]
		f.Nothing = t.now.Wall.Sub(f.At)+time.Duration(f.Detect*float64(time.Second)) < t.worth && f.From == t.active
	}
	t.pending = nil
}

// shut ends the outage under way.
func (t *Trial) shut(at time.Time) {
	if t.open == nil {
		return
	}
	o := *t.open
	o.Seconds = max(at.Sub(o.Began).Seconds(), 0)
	o.Real = o.Recorded || at.Sub(o.Began) >= t.worth
	t.result.Outages = append(t.result.Outages, o)
	t.open = nil
}
