package failover

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// rule says who would take over, or which rule holds, and why. Blindness and a foreign write are alarms even when nothing calls for a failover. When a rule speaks
// against each region that could take over, it is that of the first one.
func (s State) rule(c call, now Instant) (target events.Region, rule, reason string) {
	candidates := s.candidates(now)
	if rule, reason = s.unsound(c, now); rule != "" || c.cause == "" {
		return candidates[0], rule, reason
	}
	for n, candidate := range candidates {
		against, why := s.against(c, candidate, now)
		if against == "" {
			return candidate, "", ""
		}
		if n == 0 {
			rule, reason = against, why
		}
	}
	return candidates[0], rule, reason
}

// candidates are the regions that are not active: the preferred one first, and of equals the one with the smaller loss.
func (s State) candidates(now Instant) []events.Region {
	list := make([]events.Region, 0, len(s.settings.Data))
	for _, region := range s.settings.Data {
		if region != s.view.Failover.Active {
			list = append(list, region)
		}
	}
	lost := func(region events.Region) int64 {
		if bytes := s.loss(region, now).Bytes; bytes != nil {
			return *bytes
		}
		return math.MaxInt64
	}
	if len(list) > 1 {
		slices.SortStableFunc(list, func(a, b events.Region) int {
			return cmp.Or(cmp.Compare(s.settings.priority(b), s.settings.priority(a)), cmp.Compare(lost(a), lost(b)))
		})
	}
	return list
}

// unsound is what is wrong with the ground that any decision stands on.
func (s State) unsound(c call, now Instant) (rule, reason string) {
	f := s.view.Failover
	if want := strings.ToUpper(string(f.Active)); s.view.Active != want {
		return RuleForeignWrite, fmt.Sprintf("%s says %.20q and the state says %q: somebody else has written it", state.KeyActive, s.view.Active, want)
	}
	if c.cause == "" {
		if fresh := s.look(f.Active, now).fresh; fresh < s.settings.majority() {
			return RuleBlind, fmt.Sprintf("%d of %d observers of region %s are fresh", fresh, len(s.settings.Observers), f.Active)
		}
	}
	return "", ""
}

// against is what speaks against a failover to a region.
func (s State) against(c call, target events.Region, now Instant) (rule, reason string) {
	f := s.view.Failover
	unfinished := s.settings.Cooldown - now.Wall.Sub(f.Since) // of a failover that cannot be completed, and so has left none
	switch {
	case f.Pause != nil:
		return RulePaused, fmt.Sprintf("paused by %s: %s", f.Pause.Act.Actor, f.Pause.Act.Reason)
	case f.Rejoin != nil && f.Rejoin.Region == target:
		return RuleRejoin, fmt.Sprintf("region %s is not a standby again since epoch %d", target, f.Rejoin.Epoch)
	case f.Sync == state.SyncOn && f.SyncStandby != target:
		return RuleSynchronous, fmt.Sprintf("commits wait for region %s: only it has all of them", f.SyncStandby)
	case f.Cooldown != nil && f.Cooldown.Acknowledged == nil && now.Wall.Before(f.Cooldown.Until):
		return RuleCooldown, fmt.Sprintf("the failover of epoch %d is followed by a cooldown until %s", f.Cooldown.Epoch, f.Cooldown.Until.Format(time.RFC3339))
	case f.Intent != nil && unfinished > 0:
		return RuleCooldown, fmt.Sprintf("the failover of epoch %d is not completed, and was promoted less than %s ago", f.Intent.Epoch, s.settings.Cooldown)
	}
	return s.candidate(c, target, now)
}

// candidate says why the target may not take over.
func (s State) candidate(c call, target events.Region, now Instant) (rule, reason string) {
	if s.settings.priority(target) <= 0 {
		return RulePriority, fmt.Sprintf("region %s has priority 0: it is never promoted", target)
	}
	if s.isDown(target, now) {
		return RuleSameCause, fmt.Sprintf("region %s is down too", target)
	}
	if rule, reason = s.standby(target, now); rule != "" {
		return rule, reason
	}
	seen, gates := s.look(target, now), s.gates(target, now)
	switch {
	case seen.fresh < s.settings.majority():
		return RuleBlind, fmt.Sprintf("%d of %d observers of region %s are fresh", seen.fresh, len(s.settings.Observers), target)
	case gates == events.OutcomeFailed && c.cause == events.CauseGates:
		return RuleSameCause, fmt.Sprintf("the gates of region %s are red too", target)
	case gates == events.OutcomeFailed:
		return RuleGates, fmt.Sprintf("the gates of region %s are red: %s", target, why(seen.gates))
	case gates != events.OutcomeOK:
		return RuleGatesUnknown, fmt.Sprintf("%d of %d observers say that the gates of region %s are green: %s", seen.gatesOK, len(s.settings.Observers), target, why(seen.gates))
	}
	loss := s.loss(target, now)
	switch {
	case !loss.Known():
		return RuleLossUnknown, fmt.Sprintf("nobody can say how far region %s is behind", target)
	case *loss.Seconds >= s.settings.MaxLoss.Seconds():
		return RuleLag, fmt.Sprintf("region %s is %.0f s behind, and %.0f s is too much to lose without asking", target, *loss.Seconds, s.settings.MaxLoss.Seconds())
	}
	return "", ""
}

// standby says why the target's hands could not promote.
func (s State) standby(target events.Region, now Instant) (rule, reason string) {
	report, fresh := s.report(target, now)
	switch {
	case !fresh:
		return RuleSilent, fmt.Sprintf("the arbiter of region %s has not reported for %s", target, s.settings.Fresh)
	case report.Database.Condition != state.DatabaseStandby:
		return RuleDatabase, strings.TrimSuffix(fmt.Sprintf("the database of region %s is %s: %s", target, report.Database.Condition, report.Database.Reason), ": ")
	}
	return "", ""
}

func why(gates *events.Gates) string {
	switch {
	case gates == nil:
		return "nobody reads them"
	case gates.Reason == "":
		return "as read by one observer, they are " + string(gates.Healthy)
	}
	return fmt.Sprintf("%.200s", gates.Reason)
}

// patience is the least time that a rule must hold before it is announced. What the next report may clear up is given the time for one; blindness, while nothing
// calls for a failover, the time in which observers start.
func (s State) patience(rule string, called bool) time.Duration {
	switch {
	case rule == RuleBlind && !called:
		return 10 * s.settings.Window
	case rule == RuleBlind, rule == RuleSilent, rule == RuleDatabase, rule == RuleGatesUnknown, rule == RuleLossUnknown:
		return s.settings.Window
	}
	return 0
}

// calm is the time after which an alarm is over.
func (s State) calm() time.Duration { return 3 * s.settings.Window }

// hold keeps the alarm in the state: it is announced once when a rule begins to hold, and taken back after a calm.
func (s State) hold(rule, reason string, called bool, now Instant) (State, []Action) {
	if s.trouble.rule != rule || s.trouble.since == 0 {
		s.trouble = trouble{rule, now.Boot}
	}
	f, lasted := s.view.Failover, now.Boot-s.trouble.since
	switch {
	case rule == "" && f.Held != nil && lasted >= s.calm():
		swap := s.swap("rule " + f.Held.Rule + " holds no more")
		swap.Next.Held = nil
		return s, []Action{*swap}
	case rule == "" || f.Held != nil && f.Held.Rule == rule || lasted < s.patience(rule, called):
		return s, nil
	}
	target, _, _ := s.rule(call{cause: events.CauseDown}, now)
	held := events.FailoverHeld{
		Epoch: f.Epoch, Active: f.Active, Rule: rule, Reason: fmt.Sprintf("%.900s", reason), HeldAt: now.Wall, Leader: s.settings.Region, Term: s.term,
		Loss: s.loss(target, now), Evidence: s.evidence(now),
	}
	swap := s.swap("rule " + rule + " holds: " + reason)
	swap.Next.Held = &state.Held{Rule: rule, Since: now.Wall, Event: s.messageID(held)}
	swap.Announce = []Announcement{{Payload: held}}
	return s, []Action{*swap}
}
