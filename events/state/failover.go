package state

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Phase is how far a failover has come.
type Phase string

// The phases. In PhaseSteady the active region may renew its mandate; in all others it may not.
const (
	PhaseSteady   Phase = "steady"
	PhaseIntent   Phase = "intent"
	PhaseFenced   Phase = "fenced"
	PhasePromoted Phase = "promoted"
	PhaseSwitched Phase = "switched"
)

// Phases lists the phases in order; after PhaseSwitched comes PhaseSteady again.
var Phases = []Phase{PhaseSteady, PhaseIntent, PhaseFenced, PhasePromoted, PhaseSwitched}

// Failover is the one state that decides who may hold the mandate. It is changed only by compare-and-swap under the leader's term.
type Failover struct {
	Version  V1            `json:"version"`
	Epoch    events.Epoch  `json:"epoch"`              // of the last mandate that was granted; during a failover, that of the old owner
	Active   events.Region `json:"active"`             // owner of that mandate
	Phase    Phase         `json:"phase"`              //
	Since    time.Time     `json:"since"`              // when the phase was entered, on the leader's clock
	Intent   *Intent       `json:"intent,omitempty"`   // set in all phases but steady
	Cooldown *Cooldown     `json:"cooldown,omitempty"` // after a failover
	Pause    *Pause        `json:"pause,omitempty"`    // nothing is decided while it stands; a started failover is finished
	Sync     SyncMode      `json:"sync,omitempty"`     // synchronous replication as it is in force; empty is off
	Rejoin   *Rejoin       `json:"rejoin,omitempty"`   // a region that must not serve before it is a standby again
	Held     *Held         `json:"held,omitempty"`     // a rule that keeps the arbiters from doing what is called for

	SyncWanted  SyncMode      `json:"sync_wanted,omitempty"`  // what an operator has asked for; empty is off
	SyncStandby events.Region `json:"sync_standby,omitempty"` // the standby of SyncJoining and SyncOn
}

// Held is an alarm that stands: it is announced once, by whichever leader sees it begin.
type Held struct {
	Rule  string    `json:"rule"`  // code of failover.held
	Since time.Time `json:"since"` // when it was announced, on the leader's clock
	Event string    `json:"event"` // id of the event that tells of it
}

// SyncMode is the switch of synchronous replication.
type SyncMode string

// The modes. From SyncJoining on the primary acknowledges no commit that the standby has not flushed, and goes on so until it reads SyncOff. In SyncOn, which follows
// once the standby has all that was acknowledged before, only that standby may be promoted.
const (
	SyncOff     SyncMode = "off"
	SyncJoining SyncMode = "joining"
	SyncOn      SyncMode = "on"
)

// Waits says whether commits wait for the standby.
func (m SyncMode) Waits() bool { return m == SyncJoining || m == SyncOn }

// Intent is a decided failover and what of it is done.
type Intent struct {
	Epoch           events.Epoch     `json:"epoch"` // the new owner's: the state's epoch + 1
	From            events.Region    `json:"from"`  // empty at the first mandate of all
	To              events.Region    `json:"to"`
	Cause           events.Cause     `json:"cause"`
	DecidedAt       time.Time        `json:"decided_at"`
	Deadline        time.Time        `json:"deadline"`         // of the step under way, on the leader's clock
	MandateRevision int64            `json:"mandate_revision"` // mod revision of the mandate that the intent has ended; the promotion compares it
	Loss            events.LossBound `json:"loss"`
	Receipt         *events.Receipt  `json:"receipt,omitempty"`   // nil when the mandate ended by everyone's clock
	Steps           []Step           `json:"steps"`               // completed, in order
	Act             *events.Act      `json:"act,omitempty"`       // manual failovers
	Decision        string           `json:"decision"`            // message id of the failover.started event, with the evidence
	Suspected       *time.Time       `json:"suspected,omitempty"` // the first failed check, on its observer's clock; nil where nothing was observed
	Detected        *time.Time       `json:"detected,omitempty"`  // when the majority stood, on the leader's clock
	Diverged        bool             `json:"diverged,omitempty"`  // the target is no standby: it lost the mandate before and has not rejoined, and an operator takes it as it is
}

// Step is a completed step.
type Step struct {
	Phase Phase     `json:"phase"`
	At    time.Time `json:"at"`
	Term  int64     `json:"term"` // create revision of the leader key under which it was recorded
}

// Done says whether the step is recorded as completed.
func (i Intent) Done(phase Phase) bool {
	for _, step := range i.Steps {
		if step.Phase == phase {
			return true
		}
	}
	return false
}

// Cooldown keeps a second failover from following the first too soon. It never blocks finishing one.
type Cooldown struct {
	Until        time.Time    `json:"until"`
	Seconds      float64      `json:"seconds"` // its length, doubled when the last failover was recent
	Epoch        events.Epoch `json:"epoch"`   // of the failover that began it
	Acknowledged *events.Act  `json:"acknowledged,omitempty"`
}

// Pause is an operator's order to decide nothing.
type Pause struct {
	Act   events.Act `json:"act"`
	Until *time.Time `json:"until,omitempty"` // nil: until resumed
}

// Rejoin is a region that lost the mandate and is not yet a standby.
type Rejoin struct {
	Region   events.Region `json:"region"`
	Epoch    events.Epoch  `json:"epoch"` // the last one that it owned
	Timeline int           `json:"timeline,omitempty"`
	ForkLSN  *events.LSN   `json:"fork_lsn,omitempty"` // where the new timeline left the old one
}

// Kind implements Document.
func (Failover) Kind() string { return "failover state" }

// Validate implements Document.
func (f Failover) Validate() error {
	var c events.Check
	events.OneOf(&c, "phase", f.Phase, Phases...)
	c.Time("since", f.Since)
	c.That(f.Active == "" || f.Active.HoldsData(), "active", f.Active, "a, b or empty")
	c.That((f.Active == "") == (f.Epoch == 0), "epoch", uint64(f.Epoch), "0 exactly when nobody is active")
	c.That((f.Phase == PhaseSteady) == (f.Intent == nil), "intent", f.Intent != nil, "set in every phase but steady")
	if f.Sync != "" {
		events.OneOf(&c, "sync", f.Sync, SyncOff, SyncJoining, SyncOn)
	}
	if f.SyncWanted != "" {
		events.OneOf(&c, "sync_wanted", f.SyncWanted, SyncOff, SyncOn)
	}
	c.That(!f.Sync.Waits() || f.SyncStandby.HoldsData() && f.SyncStandby != f.Active, "sync_standby", f.SyncStandby, "the region that commits wait for")
	if f.Intent != nil {
		c.Part("intent", f.Intent.problems(f))
	}
	if f.Cooldown != nil {
		c.Time("cooldown.until", f.Cooldown.Until)
		events.NotNegative(&c, "cooldown.seconds", f.Cooldown.Seconds)
	}
	if f.Pause != nil {
		c.Part("pause.act", f.Pause.Act.Problems())
	}
	if f.Held != nil {
		c.Token("held.rule", f.Held.Rule)
		c.Time("held.since", f.Held.Since)
	}
	if f.Rejoin != nil {
		c.DataRegion("rejoin.region", f.Rejoin.Region)
		c.Epoch("rejoin.epoch", f.Rejoin.Epoch)
	}
	return c.Err(f.Kind())
}

// problems allows the state's epoch to be the intent's own from the promotion on, when the new mandate is granted.
func (i Intent) problems(f Failover) []events.Problem {
	var c events.Check
	granted := f.Phase == PhasePromoted || f.Phase == PhaseSwitched
	want, owner := f.Epoch+1, i.From
	if granted {
		want, owner = f.Epoch, i.To
	}
	c.That(i.Epoch == want, "epoch", uint64(i.Epoch), fmt.Sprintf("%d in phase %s of epoch %d", uint64(want), f.Phase, uint64(f.Epoch)))
	c.That(f.Active == owner, "from", i.From, fmt.Sprintf("the active region %q before the promotion", string(f.Active)))
	c.That(i.From == "" || i.From.HoldsData(), "from", i.From, "a, b or empty")
	c.DataRegion("to", i.To)
	events.OneOf(&c, "cause", i.Cause, events.Causes...)
	c.That(i.From != i.To || i.Cause == events.CauseReturn, "to", i.To, "the other region, unless the mandate returns")
	c.Time("decided_at", i.DecidedAt)
	c.Time("deadline", i.Deadline)
	c.That(i.MandateRevision > 0 || i.From == "", "mandate_revision", i.MandateRevision, "the mod revision of the mandate that was read")
	c.Part("loss", i.Loss.Problems())
	if i.Receipt != nil {
		c.Part("receipt", i.Receipt.Problems())
	}
	if i.Act != nil {
		c.Part("act", i.Act.Problems())
	}
	c.That(i.Done(f.Phase), "steps", len(i.Steps), "a completed step "+string(f.Phase))
	for n, step := range i.Steps {
		c.That(n+1 < len(Phases) && step.Phase == Phases[n+1], fmt.Sprintf("steps[%d].phase", n), step.Phase, "the phases in order")
		c.Time(fmt.Sprintf("steps[%d].at", n), step.At)
		c.That(step.Term > 0, fmt.Sprintf("steps[%d].term", n), step.Term, "a leader's term")
	}
	return c.Problems()
}

// Mandate is the active region's right to commit. It is written by its owner only, and its mod revision is what others count from.
type Mandate struct {
	Version         V1            `json:"version"`
	Owner           events.Region `json:"owner"`
	Epoch           events.Epoch  `json:"epoch"`
	Incarnation     string        `json:"incarnation"`      // the owner's data folder and process, so that two copies of one arbiter know each other
	Renewal         int64         `json:"renewal"`          // running number, from 1; it grows over epochs
	RenewedAt       time.Time     `json:"renewed_at"`       // when it was sent, on the owner's clock
	FlushLSN        events.LSN    `json:"flush_lsn"`        // flush position of the WAL then; 0 before the database is there
	Timeline        int           `json:"timeline"`         // 0 before the database is there
	HeartbeatNumber int64         `json:"heartbeat_number"` // newest heartbeat written
	HeartbeatAt     *time.Time    `json:"heartbeat_at,omitempty"`
}

// Kind implements Document.
func (Mandate) Kind() string { return "mandate" }

// Validate implements Document.
func (m Mandate) Validate() error {
	var c events.Check
	c.DataRegion("owner", m.Owner)
	c.Epoch("epoch", m.Epoch)
	c.Text("incarnation", m.Incarnation, 100)
	events.AtLeastOne(&c, "renewal", m.Renewal)
	c.Time("renewed_at", m.RenewedAt)
	events.NotNegative(&c, "timeline", m.Timeline)
	events.NotNegative(&c, "heartbeat_number", m.HeartbeatNumber)
	return c.Err(m.Kind())
}

// Config is what must be equal in all regions (protocol.md, rule R10), in seconds. An arbiter whose own values differ refuses to work.
type Config struct {
	Version V1      `json:"version"`
	Mandate float64 `json:"mandate_seconds"` // M
	Delta   float64 `json:"delta_seconds"`   // margin between two regions' clocks
	Drift   float64 `json:"drift"`           // fraction by which two clocks may run apart
}

// Kind implements Document.
func (Config) Kind() string { return "failover configuration" }

// Validate implements Document.
func (f Config) Validate() error {
	var c events.Check
	c.That(f.Mandate > 0, "mandate_seconds", f.Mandate, "more than 0")
	c.That(f.Delta > 0 && f.Delta < f.Mandate, "delta_seconds", f.Delta, "more than 0 and less than the mandate")
	c.That(f.Drift >= 0 && f.Drift < 0.1, "drift", f.Drift, "a fraction from 0 to 0.1")
	c.That(f.Delta >= f.Drift*f.Mandate, "delta_seconds", f.Delta, "at least drift x mandate (rule R3)")
	return c.Err(f.Kind())
}

// Verb is what an operator asks of the arbiters.
type Verb string

// The verbs.
const (
	VerbSwitchover  Verb = "switchover"
	VerbPause       Verb = "pause"
	VerbResume      Verb = "resume"
	VerbOverride    Verb = "override"
	VerbAcknowledge Verb = "acknowledge"
	VerbSynchronous Verb = "synchronous"
)

// Request is a manual act, compared and swapped into /ofitec/failover/requests/<id> so that it works without the bus.
type Request struct {
	Version V1            `json:"version"`
	Verb    Verb          `json:"verb"`
	To      events.Region `json:"to,omitempty"` // switchover, override
	Epoch   events.Epoch  `json:"epoch"`        // that the operator saw; a request for another epoch is refused
	DryRun  bool          `json:"dry_run,omitempty"`
	Until   *time.Time    `json:"until,omitempty"`  // pause
	Mode    SyncMode      `json:"mode,omitempty"`   // synchronous
	Attest  string        `json:"attest,omitempty"` // override to a region that is no standby: what the operator has made sure of
	Act     events.Act    `json:"act"`
	Answer  *Answer       `json:"answer,omitempty"` // by the leader
}

// Answer is what became of a request.
type Answer struct {
	Accepted bool      `json:"accepted"`
	Reason   string    `json:"reason"`
	Event    string    `json:"event,omitempty"` // id of the event that records it
	At       time.Time `json:"at"`
}

// Kind implements Document.
func (Request) Kind() string { return "failover request" }

// Validate implements Document.
func (r Request) Validate() error {
	var c events.Check
	events.OneOf(&c, "verb", r.Verb, VerbSwitchover, VerbPause, VerbResume, VerbOverride, VerbAcknowledge, VerbSynchronous)
	moves := r.Verb == VerbSwitchover || r.Verb == VerbOverride
	c.That(moves == (r.To != ""), "to", r.To, "set exactly for switchover and override")
	c.That(r.To == "" || r.To.HoldsData(), "to", r.To, "one of a, b")
	c.That(r.Until == nil || r.Verb == VerbPause, "until", r.Until != nil, "set only for pause")
	c.That(r.Verb != VerbSynchronous && r.Mode == "" || r.Verb == VerbSynchronous && (r.Mode == SyncOn || r.Mode == SyncOff), "mode", r.Mode, "on or off, exactly for synchronous")
	c.That(r.Attest == "" || r.Verb == VerbOverride, "attest", r.Attest != "", "set only for override")
	if r.Attest != "" {
		c.Text("attest", r.Attest, 1000)
	}
	c.Part("act", r.Act.Problems())
	if r.Answer != nil {
		c.Text("answer.reason", r.Answer.Reason, 1000)
		c.Time("answer.at", r.Answer.At)
	}
	return c.Err(r.Kind())
}
