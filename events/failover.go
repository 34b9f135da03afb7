package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Failover names one failover. Every intent has an epoch of its own, the one that its target is to own, so that the epoch alone is the key of each step.
type Failover struct {
	Epoch Epoch  `json:"epoch" jsonschema:"description=of the mandate that To is to own"`
	From  Region `json:"from" jsonschema:"description=empty at the first mandate of all"`
	To    Region `json:"to"`
	Cause Cause  `json:"cause"`
}

// Entity implements Payload for all failover events.
func (Failover) Entity() string { return FailoverEntity }

// Key implements Payload for the steps of a failover.
func (f Failover) Key() string { return strconv.FormatUint(uint64(f.Epoch), 10) }

func (f Failover) fencing() Epoch { return f.Epoch }

// Problems says what is wrong with the failover's name.
func (f Failover) Problems() []Problem {
	var c Check
	c.Epoch("epoch", f.Epoch)
	c.That(f.From.HoldsData() || f.From == "" && f.Cause == CauseBoot, "from", f.From, "one of a, b, or empty when the cause is boot")
	c.DataRegion("to", f.To)
	c.That(f.From != f.To || f.Cause == CauseReturn, "to", f.To, "the other region, unless the cause is return")
	OneOf(&c, "cause", f.Cause, Causes...)
	return c.Problems()
}

// FailoverStarted: an intent is recorded; from here on the old mandate cannot be renewed.
type FailoverStarted struct {
	Failover
	DecidedAt time.Time  `json:"decided_at" jsonschema:"description=the time that the decision was given"`
	Rule      string     `json:"rule" jsonschema:"description=code of the rule that fired"`
	Leader    Region     `json:"leader" jsonschema:"description=region of the arbiter that decided"`
	Term      int64      `json:"term" jsonschema:"description=create revision of the leader key"`
	Loss      LossBound  `json:"loss"`
	Gates     *Gates     `json:"target_gates,omitempty" jsonschema:"description=the target's gates at the decision"`
	Evidence  []Evidence `json:"evidence,omitempty"`
	Act       *Act       `json:"act,omitempty" jsonschema:"description=when it was asked for by hand"`
	Founded
}

// Type implements Payload.
func (FailoverStarted) Type() Type { return TypeFailoverStarted }

// Validate implements Payload.
func (p FailoverStarted) Validate() error {
	c := Check{problems: p.Problems()}
	c.Time("decided_at", p.DecidedAt)
	c.Token("rule", p.Rule)
	c.Region("leader", p.Leader)
	AtLeastOne(&c, "term", p.Term)
	c.Part("loss", p.Loss.Problems())
	if p.Gates != nil {
		c.Part("target_gates", p.Gates.problems())
	}
	observed := p.Cause == CauseDown || p.Cause == CauseGates
	c.That(!observed || len(p.Evidence) > 0, "evidence", len(p.Evidence), "the observations that the decision rests on")
	evidence(&c, p.Evidence)
	manual := p.Cause == CauseSwitchover || p.Cause == CauseOverride
	c.That(!manual || p.Act != nil, "act", p.Act != nil, "set, since the cause is "+string(p.Cause))
	if p.Act != nil {
		c.Part("act", p.Act.Problems())
	}
	p.basis(&c)
	return invalid(p, c.problems)
}

func evidence(c *Check, list []Evidence) {
	for n, item := range list {
		c.Part(fmt.Sprintf("evidence[%d]", n), item.Problems())
	}
}

// FailoverFenced: nobody can commit in the old region any more.
type FailoverFenced struct {
	Failover
	FencedAt time.Time `json:"fenced_at"`
	Manner   string    `json:"manner" jsonschema:"enum=receipt,enum=expired,enum=none,description=receipt: proven by the region itself; expired: the mandate ended by everyone's clock; none: nobody held one"`
	Receipt  *Receipt  `json:"receipt,omitempty"`
	Loss     LossBound `json:"loss"`
	Waited   float64   `json:"waited_seconds"`
	Founded
}

// Type implements Payload.
func (FailoverFenced) Type() Type { return TypeFailoverFenced }

// Validate implements Payload.
func (p FailoverFenced) Validate() error {
	c := Check{problems: p.Problems()}
	c.Time("fenced_at", p.FencedAt)
	OneOf(&c, "manner", p.Manner, "receipt", "expired", "none")
	c.That((p.Manner == "receipt") == (p.Receipt != nil), "receipt", p.Receipt != nil, "set exactly when the manner is receipt")
	if p.Receipt != nil {
		c.Part("receipt", p.Receipt.Problems())
	}
	c.Part("loss", p.Loss.Problems())
	NotNegative(&c, "waited_seconds", p.Waited)
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverPromoted: the target owns the mandate and its database takes writes.
type FailoverPromoted struct {
	Failover
	PromotedAt time.Time `json:"promoted_at"`
	Timeline   int       `json:"timeline"`
	LSN        LSN       `json:"lsn" jsonschema:"description=where the new timeline begins"`
	Founded
}

// Type implements Payload.
func (FailoverPromoted) Type() Type { return TypeFailoverPromoted }

// Validate implements Payload.
func (p FailoverPromoted) Validate() error {
	c := Check{problems: p.Problems()}
	c.Time("promoted_at", p.PromotedAt)
	AtLeastOne(&c, "timeline", p.Timeline)
	c.That(p.LSN > 0, "lsn", p.LSN, "a WAL position")
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverSwitched: the authoritative DNS server answers with the target.
type FailoverSwitched struct {
	Failover
	SwitchedAt time.Time `json:"switched_at"`
	Name       string    `json:"name" jsonschema:"description=the DNS name"`
	Address    string    `json:"address" jsonschema:"description=read back from the authoritative server"`
	TTLSeconds int       `json:"ttl_seconds"`
	Provider   string    `json:"provider"`
	Founded
}

// Type implements Payload.
func (FailoverSwitched) Type() Type { return TypeFailoverSwitched }

// Validate implements Payload.
func (p FailoverSwitched) Validate() error {
	c := Check{problems: p.Problems()}
	c.Time("switched_at", p.SwitchedAt)
	c.Text("name", p.Name, 253)
	c.Text("address", p.Address, 64)
	AtLeastOne(&c, "ttl_seconds", p.TTLSeconds)
	c.Token("provider", p.Provider)
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverCompleted: all steps are done; the state is steady under the new owner.
type FailoverCompleted struct {
	Failover
	CompletedAt     time.Time     `json:"completed_at"`
	Times           RecoveryTimes `json:"times"`
	Loss            LossBound     `json:"loss"`
	CooldownSeconds float64       `json:"cooldown_seconds"`
	Founded
}

// Type implements Payload.
func (FailoverCompleted) Type() Type { return TypeFailoverCompleted }

// Validate implements Payload.
func (p FailoverCompleted) Validate() error {
	c := Check{problems: p.Problems()}
	c.Time("completed_at", p.CompletedAt)
	c.Part("times", p.Times.Problems())
	c.Part("loss", p.Loss.Problems())
	NotNegative(&c, "cooldown_seconds", p.CooldownSeconds)
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverAborted: an intent was given up; the mandate goes on under NextEpoch, or nobody holds it yet.
type FailoverAborted struct {
	Failover
	AbortedAt time.Time `json:"aborted_at"`
	Phase     string    `json:"phase" jsonschema:"enum=intent,enum=fenced,enum=promoted,description=how far it had come"`
	Code      string    `json:"code" jsonschema:"description=code of the reason"`
	Reason    string    `json:"reason"`
	NextEpoch Epoch     `json:"next_epoch" jsonschema:"description=epoch of what follows; 0 when nothing is decided"`
	Founded
}

// Type implements Payload.
func (FailoverAborted) Type() Type { return TypeFailoverAborted }

// Validate implements Payload.
func (p FailoverAborted) Validate() error {
	c := Check{problems: p.Problems()}
	c.Time("aborted_at", p.AbortedAt)
	OneOf(&c, "phase", p.Phase, "intent", "fenced", "promoted")
	c.Token("code", p.Code)
	c.Text("reason", p.Reason, 1000)
	c.That(p.NextEpoch == 0 || p.NextEpoch > p.Epoch, "next_epoch", uint64(p.NextEpoch), "0, or more than epoch")
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverHeld: something called for a failover, and a rule forbade it. It is said once for each rule and each time that it begins to hold.
type FailoverHeld struct {
	Epoch    Epoch      `json:"epoch" jsonschema:"description=of the mandate in force"`
	Active   Region     `json:"active"`
	Rule     string     `json:"rule" jsonschema:"description=code of the rule: blind; lag; gates; cooldown; paused; same-cause; loss-unknown; foreign-write ..."`
	Reason   string     `json:"reason"`
	HeldAt   time.Time  `json:"held_at" jsonschema:"description=when the rule began to hold"`
	Leader   Region     `json:"leader"`
	Term     int64      `json:"term"`
	Loss     LossBound  `json:"loss"`
	Evidence []Evidence `json:"evidence,omitempty"`
	Founded
}

// Type implements Payload.
func (FailoverHeld) Type() Type { return TypeFailoverHeld }

// Entity implements Payload.
func (FailoverHeld) Entity() string { return FailoverEntity }

// Key implements Payload.
func (p FailoverHeld) Key() string {
	return strings.Join([]string{strconv.FormatUint(uint64(p.Epoch), 10), p.Rule, strconv.FormatInt(p.HeldAt.UnixMilli(), 10)}, "-")
}

func (p FailoverHeld) fencing() Epoch { return p.Epoch }

// Validate implements Payload.
func (p FailoverHeld) Validate() error {
	var c Check
	c.Epoch("epoch", p.Epoch)
	c.DataRegion("active", p.Active)
	c.Token("rule", p.Rule)
	c.Text("reason", p.Reason, 1000)
	c.Time("held_at", p.HeldAt)
	c.Region("leader", p.Leader)
	AtLeastOne(&c, "term", p.Term)
	c.Part("loss", p.Loss.Problems())
	evidence(&c, p.Evidence)
	p.basis(&c)
	return invalid(p, c.problems)
}

// FailoverRejoined: a region that had lost the mandate is a standby again.
type FailoverRejoined struct {
	Epoch      Epoch     `json:"epoch" jsonschema:"description=of the mandate in force"`
	Region     Region    `json:"region"`
	RejoinedAt time.Time `json:"rejoined_at"`
	Manner     string    `json:"manner" jsonschema:"enum=followed,enum=rewound,enum=rebuilt"`
	Timeline   int       `json:"timeline"`
	ForkLSN    LSN       `json:"fork_lsn" jsonschema:"description=where the timelines parted"`
	Discarded  int64     `json:"discarded_bytes" jsonschema:"description=WAL of its own that it gave up"`
	Kept       string    `json:"kept,omitempty" jsonschema:"description=where the discarded WAL is kept; a path without secrets"`
	Founded
}

// Type implements Payload.
func (FailoverRejoined) Type() Type { return TypeFailoverRejoined }

// Entity implements Payload.
func (FailoverRejoined) Entity() string { return FailoverEntity }

// Key implements Payload.
func (p FailoverRejoined) Key() string {
	return strconv.FormatUint(uint64(p.Epoch), 10) + "-" + string(p.Region)
}

func (p FailoverRejoined) fencing() Epoch { return p.Epoch }

// Validate implements Payload.
func (p FailoverRejoined) Validate() error {
	var c Check
	c.Epoch("epoch", p.Epoch)
	c.DataRegion("region", p.Region)
	c.Time("rejoined_at", p.RejoinedAt)
	OneOf(&c, "manner", p.Manner, "followed", "rewound", "rebuilt")
	AtLeastOne(&c, "timeline", p.Timeline)
	NotNegative(&c, "discarded_bytes", p.Discarded)
	p.basis(&c)
	return invalid(p, c.problems)
}
