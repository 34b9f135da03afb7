package failover

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// branchIn is what a database that is taken as it is needs more than a standby: it is stopped and started.
const branchIn = time.Minute

// take is the break glass for when both data regions died in turn and only the one lives that has lost the mandate before and has not rejoined (protocol.md, Boot,
// promotion, return 9). Its database is taken as it is, on a timeline of its own; everything that the other region has written since is given up. The operator attests
// that the other region is off, and that is recorded; nothing here can know it.
func (s State) take(r state.Request, manual events.ManualFailover, now Instant) verdict {
	f := s.view.Failover
	report, fresh := s.report(r.To, now)
	condition := report.Database.Condition
	switch {
	case r.Verb != state.VerbOverride || r.Attest == "":
		return refused("region %s is not a standby again since epoch %d; an override with an attestation takes it as it is, and gives up what region %s has written since",
			r.To, f.Rejoin.Epoch, f.Active)
	case !s.ended(now):
		return verdict{reason: fmt.Sprintf("region %s has renewed the mandate lately: it is not off", f.Active), passing: true}
	case !fresh:
		return verdict{reason: fmt.Sprintf("the arbiter of region %s has not reported for %s", r.To, s.settings.Fresh), passing: true}
	case condition != state.DatabasePrimary && condition != state.DatabaseStandby:
		return verdict{reason: fmt.Sprintf("the database of region %s is %s: %s", r.To, condition, report.Database.Reason), passing: true}
	case s.settings.priority(r.To) <= 0:
		return refused("%s: region %s has priority 0: it is never promoted", RulePriority, r.To)
	}
	swap := s.start(call{cause: events.CauseOverride, fired: FiredAsked, evidence: s.evidence(now)}, r.To, &manual.Act, now)
	if swap == nil {
		return refused("there is no mandate that could be taken")
	}
	swap.Next.Intent.Diverged = true
	payload := events.FailoverOverridden{ManualFailover: manual, To: r.To, Rule: RuleRejoin, Loss: swap.Next.Intent.Loss, Attested: r.Attest}
	swap.Announce = append([]Announcement{{Payload: payload}}, swap.Announce...)
	return obeyed(swap, s.messageID(payload))
}
