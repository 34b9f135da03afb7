package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// step is the next step of the failover under way, when it is due. What is done comes before what is late: a leader that takes over in the middle finishes.
func (s State) step(now Instant) *Swap {
	f := s.view.Failover
	switch f.Phase {
	case state.PhaseIntent:
		return s.fence(now)
	case state.PhaseFenced:
		return s.promote(now)
	case state.PhasePromoted:
		return s.rename(now)
	case state.PhaseSwitched:
		return s.complete(now)
	}
	return nil
}

// fence records that nobody can commit in the old region any more: it has proven so itself, or its mandate has ended by everyone's clock.
func (s State) fence(now Instant) *Swap {
	i := s.view.Failover.Intent
	receipt := s.receipt(now)
	handOver, unchanged := i.Cause == events.CauseSwitchover, s.view.MandateRevision == i.MandateRevision
	manner := "receipt"
	switch {
	case receipt != nil && (!handOver || s.caughtUp(receipt, now)):
	case !handOver && unchanged && s.ended(now):
		manner = "expired"
	case !handOver && unchanged || !s.late(now): // a mandate that nobody can renew ends by itself
		return nil
	case !unchanged:
		return s.abort("mandate-changed", "somebody has written the mandate that the intent ended", false, now)
	case receipt == nil:
		return s.abort("no-receipt", "region "+string(i.From)+" gave no receipt in time", false, now)
	default:
		return s.abort("standby-behind", "region "+string(i.To)+" has not received everything in time", false, now)
	}
	patience := s.settings.PromoteIn
	if i.Diverged {
		patience += branchIn
	}
	swap := s.advance(state.PhaseFenced, patience, now)
	next := swap.Next.Intent
	next.Receipt = receipt
	next.Loss = s.finalLoss(receipt, now)
	swap.announce(events.FailoverFenced{
		Failover: name(*next), FencedAt: now.Wall, Manner: manner, Receipt: receipt, Loss: next.Loss, Waited: max(now.Wall.Sub(i.DecidedAt).Seconds(), 0),
	})
	swap.Why = "region " + string(i.From) + " is fenced: " + manner
	return swap
}

// receipt is the old region's proof, when it counts: of the epoch that the intent ends, by the arbiter whose renewal is the last one, and made after whatever
// that renewal can have opened. Both times are the old region's own, and a renewal that is answered later than its deadline opens nothing.
func (s State) receipt(now Instant) *events.Receipt {
	f, m := s.view.Failover, s.view.Mandate
	report, fresh := s.report(f.Intent.From, now)
	r := report.Receipt
	if r == nil || !fresh || m == nil || s.view.MandateRevision != f.Intent.MandateRevision {
		return nil
	}
	folder := func(incarnation string) string { before, _, _ := strings.Cut(incarnation, "."); return before }
	counts := r.Region == f.Intent.From && r.Epoch == f.Epoch && m.Epoch == f.Epoch && m.Owner == r.Region &&
		folder(report.Incarnation) == folder(m.Incarnation) && r.WrittenAt.After(m.RenewedAt.Add(s.settings.Deadline)) && len(r.Problems()) == 0
	if !counts {
		return nil
	}
	return r
}

// caughtUp says whether the target has everything that the old region has flushed, its shutdown checkpoint included.
func (s State) caughtUp(receipt *events.Receipt, now Instant) bool {
	report, fresh := s.report(s.view.Failover.Intent.To, now)
	d := report.Database
	return fresh && d.Condition == state.DatabaseStandby && d.Timeline == receipt.Timeline && d.FlushLSN >= receipt.FlushLSN
}

// finalLoss is the bound once nothing is added any more; what is not known now stays as it was decided upon.
func (s State) finalLoss(receipt *events.Receipt, now Instant) events.LossBound {
	i := s.view.Failover.Intent
	bound := s.loss(i.To, now)
	if receipt != nil {
		bytes := int64(0)
		if report, fresh := s.report(i.To, now); fresh && report.Database.Timeline == receipt.Timeline && report.Database.FlushLSN > 0 {
			if receipt.FlushLSN > report.Database.FlushLSN {
				bytes = int64(receipt.FlushLSN - report.Database.FlushLSN)
			}
			bound.Bytes = &bytes
		}
		if bound.Bytes != nil && *bound.Bytes == 0 {
			none := 0.0
			bound.Seconds, bound.Exposed = &none, &none
		}
	}
	if !bound.Known() {
		return i.Loss
	}
	return bound
}

// promote grants the new mandate, once the target's database takes writes. The transaction compares the old mandate once more; whoever comes after it with a
// promotion of its own finds another state.
func (s State) promote(now Instant) *Swap {
	f := s.view.Failover
	i := f.Intent
	report := s.view.Reports[i.To].Report
	p := report.Promotion
	answered := p != nil && p.Epoch == i.Epoch
	switch {
	case s.view.MandateRevision != i.MandateRevision:
		return s.abort("mandate-changed", "somebody has written the mandate that the intent ended", true, now)
	case answered && p.Refused != "":
		return s.abort("promotion-refused", fmt.Sprintf("region %s: %.800s", i.To, p.Refused), false, now)
	case answered && p.Done:
	case s.late(now):
		return s.abort("promotion-late", "region "+string(i.To)+" has not said in time what became of its promotion", true, now)
	default:
		return nil
	}
	swap := s.advance(state.PhasePromoted, s.settings.SwitchIn, now)
	swap.Mandate, swap.Active = i.MandateRevision, i.To
	next := &swap.Next
	next.Epoch, next.Active = i.Epoch, i.To
	next.Rejoin = &state.Rejoin{Region: i.From, Epoch: f.Epoch, Timeline: p.Timeline, ForkLSN: &p.LSN}
	swap.announce(events.FailoverPromoted{Failover: name(*next.Intent), PromotedAt: now.Wall, Timeline: p.Timeline, LSN: p.LSN})
	s.desynchronize(swap, now)
	swap.Why = "region " + string(i.To) + " owns the mandate"
	return swap
}

// rename records that the name has followed; where there is none, the failover is completed without.
func (s State) rename(now Instant) *Swap {
	f := s.view.Failover
	if !s.settings.Names {
		return s.complete(now)
	}
	n := s.named
	if n.Epoch != f.Epoch || n.Problem != "" {
		return nil
	}
	swap := s.advance(state.PhaseSwitched, s.settings.SwitchIn, now)
	swap.announce(events.FailoverSwitched{
		Failover: name(*swap.Next.Intent), SwitchedAt: now.Wall, Name: n.Name, Address: n.Address, TTLSeconds: n.TTL, Provider: n.Provider,
	})
	swap.Why = n.Name + " leads to " + n.Address
	return swap
}

// complete ends the failover when its new owner has renewed the mandate: only then does it take writes.
func (s State) complete(now Instant) *Swap {
	f, m := s.view.Failover, s.view.Mandate
	if m == nil || m.Owner != f.Active || m.Epoch != f.Epoch {
		return nil
	}
	stale, waiting := s.lastStale(now)
	if waiting {
		return nil
	}
	i := f.Intent
	cooldown := s.cooldown(i.Epoch, now)
	swap := s.swap("the failover is completed")
	next := &swap.Next
	next.Phase, next.Since, next.Intent, next.Held, next.Cooldown = state.PhaseSteady, now.Wall, nil, nil, cooldown
	split := times(i, now)
	split.LastStaleClient = stale
	if s.opened.epoch == i.Epoch && i.Suspected != nil {
		split.Total = max(s.opened.at.Sub(*i.Suspected).Seconds(), 0)
	} else if s.opened.epoch == i.Epoch {
		split.Total = max(s.opened.at.Sub(i.DecidedAt).Seconds(), 0)
	}
	swap.Announce = []Announcement{{Cause: i.Decision, Payload: events.FailoverCompleted{
		Failover: name(*i), CompletedAt: now.Wall, Times: split, Loss: i.Loss, CooldownSeconds: cooldown.Seconds,
	}}}
	return swap
}

// lastStale is how long after the switch the last observer that resolves the name was given the old address; nil when nobody resolves it, or when that takes longer
// than the name may be kept. Until then it is waited for: the owner takes writes meanwhile.
func (s State) lastStale(now Instant) (seconds *float64, waiting bool) {
	f := s.view.Failover
	if f.Phase != state.PhaseSwitched {
		return nil, false
	}
	resolving, agreed := 0, 0
	for _, h := range row(s, s.heard, f.Active) {
		if h == nil || h.age(now) > s.settings.Window || h.report.Resolved == "" {
			continue
		}
		resolving++
		if h.report.Resolved == s.named.Address {
			agreed++
		}
	}
	after := max(now.Wall.Sub(f.Since), 0)
	switch {
	case resolving > 0 && agreed == resolving:
		all := after.Seconds()
		return &all, false
	case resolving == 0 || s.named.Epoch != f.Epoch:
		return nil, false
	}
	return nil, after < time.Duration(s.named.TTL)*time.Second+s.settings.Window
}

// cooldown is longer when the last one is not long over and nobody has acknowledged it.
func (s State) cooldown(epoch events.Epoch, now Instant) *state.Cooldown {
	length := s.settings.Cooldown
	if last := s.view.Failover.Cooldown; last != nil && last.Acknowledged == nil {
		before := time.Duration(last.Seconds * float64(time.Second))
		if now.Wall.Before(last.Until.Add(before)) {
			length = min(2*before, 8*s.settings.Cooldown)
		}
	}
	return &state.Cooldown{Until: now.Wall.Add(length), Seconds: length.Seconds(), Epoch: epoch}
}

// times splits the outage by the steps; clocks of two leaders may disagree a little, and no part is below zero.
func times(i *state.Intent, now Instant) events.RecoveryTimes {
	at := func(phase state.Phase) time.Time {
		n := slices.IndexFunc(i.Steps, func(step state.Step) bool { return step.Phase == phase })
		if n < 0 {
			return now.Wall
		}
		return i.Steps[n].At
	}
	between := func(from, to time.Time) float64 { return max(to.Sub(from).Seconds(), 0) }
	intent := at(state.PhaseIntent)
	suspected, detected := intent, intent
	if i.Suspected != nil && i.Detected != nil {
		suspected, detected = *i.Suspected, *i.Detected
	}
	return events.RecoveryTimes{
		Detect: between(suspected, detected), Decide: between(detected, intent), Fence: between(intent, at(state.PhaseFenced)),
		Promote: between(at(state.PhaseFenced), at(state.PhasePromoted)), Switch: between(at(state.PhasePromoted), at(state.PhaseSwitched)),
		Total: between(suspected, now.Wall),
	}
}

// abort gives the intent up. The mandate goes back under a new epoch, so that a promotion that is still under way opens nothing whenever it ends. If the target
// may have promoted, it must become a standby again before it is a candidate.
func (s State) abort(code, reason string, mayHavePromoted bool, now Instant) *Swap {
	f := s.view.Failover
	i := f.Intent
	swap := s.swap("the failover is given up: " + reason)
	next := &swap.Next
	next.Epoch, next.Active, next.Phase, next.Since, next.Intent, next.Held = f.Epoch+2, i.From, state.PhaseSteady, now.Wall, nil, nil
	if f.Phase != state.PhaseIntent {
		next.Cooldown = s.cooldown(i.Epoch, now)
	}
	if mayHavePromoted {
		next.Rejoin = &state.Rejoin{Region: i.To, Epoch: i.Epoch}
	}
	swap.Announce = []Announcement{{Cause: i.Decision, Payload: events.FailoverAborted{
		Failover: name(*i), AbortedAt: now.Wall, Phase: string(f.Phase), Code: code, Reason: reason, NextEpoch: next.Epoch,
	}}}
	return swap
}

// stuck is the alarm of a step that nobody can take back and that does not come.
func (s State) stuck(now Instant) (rule, reason string) {
	f := s.view.Failover
	granted := f.Phase == state.PhasePromoted || f.Phase == state.PhaseSwitched
	switch {
	case !granted || !s.late(now):
		return "", ""
	case f.Phase == state.PhasePromoted && s.settings.Names:
		return RuleName, strings.TrimSuffix("the name does not lead to region "+string(f.Active)+": "+s.named.Problem, ": ")
	}
	return RuleOwner, "region " + string(f.Active) + " owns the mandate of epoch " + strings.TrimLeft(f.Epoch.String(), "0") + " and has not renewed it"
}

func (s State) late(now Instant) bool { return !now.Wall.Before(s.view.Failover.Intent.Deadline) }

// advance begins the transaction that records a completed step and gives the next one its deadline.
func (s State) advance(phase state.Phase, patience time.Duration, now Instant) *Swap {
	swap := s.swap("")
	i := *s.view.Failover.Intent
	i.Steps = append(slices.Clone(i.Steps), state.Step{Phase: phase, At: now.Wall, Term: s.term})
	i.Deadline = now.Wall.Add(patience)
	swap.Next.Phase, swap.Next.Since, swap.Next.Intent = phase, now.Wall, &i
	return swap
}

func (w *Swap) announce(p events.Payload) {
	w.Announce = append(w.Announce, Announcement{Payload: p, Cause: w.Next.Intent.Decision})
}
