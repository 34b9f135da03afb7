package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// keptVersions is how many ended versions the state remembers, for people and for deliveries that come late.
const keptVersions = 10

// decision is one run of Decide.
type decision struct {
	state  state.Credential
	policy Policy
	seen   Observation
	now    time.Time
	say    []Action // announcements and the wish's end, stored with the state
}

// Decide gives the state to be stored, what is to be stored with it (Announce, Fulfil), and what may then be done, the most urgent first: whoever acts takes the
// first that is not waiting for its back-off. The results in the observation are used up by the stored state. The given state is not changed.
func Decide(s state.Credential, o Observation, p Policy, now time.Time) (next state.Credential, with, then []Action) {
	s.Versions = slices.Clone(s.Versions)
	s.Name, s.Method, s.Attempt, s.Grace = p.Name, p.Kind, p.Attempt.Seconds(), p.Grace.Seconds()
	d := &decision{state: s, policy: p, seen: o, now: now}
	d.adopt()
	d.miss()
	d.learn()
	for _, result := range o.Results {
		d.hear(result)
	}
	d.judge()
	d.expire()
	d.wish()
	d.publish()
	d.loseForgotten()
	d.retire()
	d.alarm()
	d.prune()
	return d.state, d.say, d.todo()
}

func (d *decision) version(number int64) *state.CredentialVersion {
	for i := range d.state.Versions {
		if d.state.Versions[i].Number == number {
			return &d.state.Versions[i]
		}
	}
	return nil
}

func (d *decision) current() *state.CredentialVersion {
	for i := range d.state.Versions {
		if d.state.Versions[i].Stage == state.StageCurrent {
			return &d.state.Versions[i]
		}
	}
	return nil
}

func (d *decision) flying() *state.CredentialVersion {
	for i := range d.state.Versions {
		if inFlight(d.state.Versions[i]) {
			return &d.state.Versions[i]
		}
	}
	return nil
}

func (d *decision) last() int64 {
	if n := len(d.state.Versions); n > 0 {
		return d.state.Versions[n-1].Number
	}
	return 0
}

// adopt takes what the first start has put into KV v2 for the current version. It has no lease and is replaced at once.
func (d *decision) adopt() {
	if len(d.state.Versions) == 0 && d.seen.Stored > 0 {
		d.state.Versions = []state.CredentialVersion{{
			Number: d.seen.Stored, Stage: state.StageCurrent, Path: d.policy.Path, MintedAt: d.now, Reason: "brought by the first start; it has no lease",
		}}
	}
}

// learn takes an outcome in. One that does not fit the version's stage is of an action that somebody has overtaken, and changes nothing.
func (d *decision) learn() {
	switch o := d.seen.Outcome.(type) {
	case Minted:
		d.minted(o)
	case Tested:
		v := d.version(o.Number)
		switch {
		case v == nil || v.Stage != state.StageMinted:
		case o.Problem != "":
			d.doom(v, state.StageRejected, "rejected", o.Problem)
		default:
			v.Stage = state.StageTested
		}
	case Staged:
		v := d.version(o.Number)
		switch {
		case v == nil || v.Stage != state.StageTested:
		case o.Taken:
			d.doom(v, state.StageRejected, "lost", "its number in KV v2 was taken by another writer")
		default:
			v.Stage, v.Path = state.StageStaged, d.policy.Path
		}
	case Found:
		v := d.version(o.Number)
		switch {
		case v == nil || v.Stage != state.StageMinted && v.Stage != state.StageTested:
		case o.Staged:
			v.Stage, v.Path = state.StageStaged, d.policy.Path
		default:
			d.doom(v, state.StageRejected, "lost", "its secret was lost with the process that had made it")
		}
	case Applied:
		v := d.version(o.Number)
		switch {
		case v == nil || v.Stage != state.StageCanary:
		case o.Problem != "":
			d.doom(v, state.StageRolledBack, "rolledback", o.Problem)
		default:
			d.take(v)
		}
	case Renewed:
		d.renewed(o)
	case Shortened:
		if v := d.version(o.Number); v != nil && v.Stage == state.StageDraining {
			v.ExpiresAt = o.At.Add(o.TTL)
			if o.Gone {
				v.ExpiresAt = d.now
			}
			v.DeadlineAt = v.ExpiresAt // nobody renews it again
		}
	case Verified:
		d.verified(o)
	case Ended:
		d.ended(o)
	}
}

func (d *decision) minted(o Minted) {
	if d.flying() != nil || o.Number <= d.last() {
		return // of a leader that was overtaken; the lease ends by itself
	}
	v := state.CredentialVersion{
		Number: o.Number, Stage: state.StageMinted, Lease: o.Lease, User: o.User, Fingerprint: o.Fingerprint, MintedAt: o.At, Epoch: d.seen.Epoch,
		ExpiresAt: o.At.Add(o.TTL), DeadlineAt: o.At.Add(max(o.MaxTTL, o.TTL)), TTL: o.TTL.Seconds(), Trigger: "schedule",
	}
	if current := d.current(); current != nil {
		v.Previous = current.Number
		switch {
		case current.Lease == "":
			v.Trigger = "first"
		case current.Missing:
			v.Trigger = "failover"
		}
	} else {
		v.Trigger = "first"
	}
	if n := len(d.state.Versions); n > 0 && d.state.Versions[n-1].Cause == "lost" { // the same attempt again
		lost := d.state.Versions[n-1]
		v.Trigger, v.Act, v.Correlation, v.Causation = lost.Trigger, lost.Act, lost.Correlation, lost.Causation
	}
	if wish := d.seen.Wish; wish != nil {
		act := wish.Act
		v.Trigger, v.Act, v.Correlation, v.Causation = "job", &act, wish.Correlation, wish.Causation
	}
	d.state.Versions = append(d.state.Versions, v)
	d.state.NextAt = nil
}

func (d *decision) renewed(o Renewed) {
	v := d.version(o.Number)
	if v == nil || v.Lease == "" || v.Stage == state.StageRevoked {
		return
	}
	if o.Gone {
		v.ExpiresAt = d.now
		v.Reason = "Vault has no such lease any more"
		if v.Stage == state.StageCurrent {
			d.state.NextAt = &d.now
		}
		return
	}
	asked := seconds(v.TTL)
	at := o.At
	v.RenewedAt, v.ExpiresAt = &at, at.Add(o.TTL)
	if v.ExpiresAt.After(v.DeadlineAt) {
		v.ExpiresAt = v.DeadlineAt
	}
	v.Renewals++
	if o.TTL < asked*9/10 { // max_ttl is near: it is a deadline, not a hint
		if v.Stage == state.StageCurrent {
			d.state.NextAt = &d.now
		}
		v.DeadlineAt = v.ExpiresAt
	}
	d.announce(v, events.CredentialRenewed{Credential: d.reference(*v), Lease: leaseOf(*v), Renewal: v.Renewals})
}

// verified notes whether a failover has left the user in use; one that it has lost is replaced at once. A canary that it has lost never gets the traffic.
func (d *decision) verified(o Verified) {
	v := d.version(o.Number)
	if v == nil || v.Stage != state.StageCurrent && v.Stage != state.StageCanary {
		return
	}
	v.Verified, v.Missing = o.Epoch, o.Problem != ""
	if !v.Missing {
		return
	}
	reason := "the failover has lost its user: " + o.Problem
	if v.Stage == state.StageCanary {
		d.doom(v, state.StageRolledBack, "rolledback", reason)
	}
	v.Reason = clip(reason)
	d.state.NextAt = &d.now
}

func (d *decision) ended(o Ended) {
	v := d.version(o.Number)
	if v == nil || !doomed(*v) {
		return
	}
	v.Stage = state.StageRevoked
	drained := 0.0
	if v.DrainFrom != nil {
		drained = max(d.now.Sub(*v.DrainFrom), 0).Seconds()
	}
	manner := "revoked"
	if d.policy.Kind == events.CredentialSTS {
		manner = "expired"
	}
	d.announce(v, events.CredentialRevoked{
		Credential: d.reference(*v), Manner: manner, Cause: v.Cause, RevokedAt: d.now.UTC(), SessionsEnded: o.Sessions, DrainedProven: o.Drained,
		DrainSeconds: drained, OrphansReturned: o.Orphan,
	})
}

// hear notes a deployer's word. The same word again, and one about a version that is long gone, change nothing.
func (d *decision) hear(r Result) {
	v := d.version(r.Version)
	if v == nil || v.Stage == state.StageRevoked {
		return
	}
	if slices.Contains(v.Deployed, r.Region) || !r.Deployed && slices.Contains(v.RolledBack, r.Region) {
		return
	}
	if r.Deployed {
		v.Deployed = with(v.Deployed, r.Region)
		v.RolledBack = slices.DeleteFunc(slices.Clone(v.RolledBack), func(x events.Region) bool { return x == r.Region })
	} else {
		v.RolledBack = with(v.RolledBack, r.Region)
		v.Reason = fmt.Sprintf("region %s: %s", r.Region, r.Reason)
	}
	if v.Correlation == "" {
		v.Correlation = r.Correlation
	}
	v.Causation = r.Causation
}

// expire looks at leases that have ended by the clock: a version in use is replaced now, and one whose deployers have said nothing is given up.
func (d *decision) expire() {
	if v := d.flying(); v != nil {
		if (v.Stage == state.StageCanary || v.Stage == state.StageStaged) && !d.now.Before(v.ExpiresAt) {
			d.doom(v, state.StageRolledBack, "rolledback", "its lease ended before the active region's deployer said anything")
		}
		return
	}
	v := d.current()
	if v == nil || v.Lease == "" || d.now.Before(v.ExpiresAt) {
		return
	}
	d.hasten(v)
}

// judge acts on the word of the region that writes: its traffic is what counts.
func (d *decision) judge() {
	v := d.flying()
	if v == nil || v.Stage != state.StageCanary || d.seen.Active == "" {
		return
	}
	switch {
	case slices.Contains(v.Deployed, d.seen.Active):
		d.take(v)
	case slices.Contains(v.RolledBack, d.seen.Active):
		d.doom(v, state.StageRolledBack, "rolledback", v.Reason)
	case len(v.RolledBack) > 0 && len(v.Asked) > 0 && !slices.Contains(v.Asked, d.seen.Active):
		d.doom(v, state.StageRolledBack, "rolledback", fmt.Sprintf("%s; region %s was not asked any more", v.Reason, d.seen.Active))
	}
}

// take puts a version to use; the one before has the grace left.
func (d *decision) take(v *state.CredentialVersion) {
	if old := d.current(); old != nil {
		from := d.now
		old.Stage, old.DrainFrom, old.Cause = state.StageDraining, &from, "superseded"
		old.Correlation, old.Causation = v.Correlation, v.Causation
	}
	v.Stage, v.Reason = state.StageCurrent, ""
	next := v.MintedAt.Add(share(v.DeadlineAt.Sub(v.MintedAt), d.policy.RotateAt, v.Number, 0))
	d.state.NextAt = &next
}

// doom sends a version that never took the traffic on its way out; the next attempt waits, unless somebody wishes one.
func (d *decision) doom(v *state.CredentialVersion, stage state.Stage, cause, reason string) {
	from := d.now
	v.Stage, v.Cause, v.Reason, v.DrainFrom = stage, cause, clip(reason), &from
	again := d.now.Add(d.policy.Again)
	if cause == "lost" {
		again = d.now
	}
	d.state.NextAt = &again
}

// wish forgets a wish that has been granted.
func (d *decision) wish() {
	wish := d.seen.Wish
	if wish == nil {
		return
	}
	for _, v := range d.state.Versions {
		if v.Act != nil && v.Act.Request == wish.Act.Request {
			d.say = append(d.say, Fulfil{})
			d.seen.Wish = nil
			return
		}
	}
}

// loseForgotten gives up a version that was never staged and whose secret only a dead process knew.
func (d *decision) loseForgotten() {
	v := d.flying()
	if v == nil || v.Stage != state.StageMinted && v.Stage != state.StageTested {
		return
	}
	if d.seen.Held != v.Number && d.seen.Stored >= 0 && d.seen.Stored < v.Number {
		d.doom(v, state.StageRejected, "lost", "its secret was lost with the process that had made it")
	}
}

// retire ends what never had a lease: there is nothing to take back from it, and the stack's restore needs it.
func (d *decision) retire() {
	for i := range d.state.Versions {
		if v := &d.state.Versions[i]; doomed(*v) && v.Lease == "" {
			v.Stage, v.Reason = state.StageRevoked, "it had no lease; its user stays for a restore"
		}
	}
}

func (d *decision) announce(v *state.CredentialVersion, payload events.Payload) {
	d.say = append(d.say, Announce{Payload: payload, Correlation: v.Correlation, Causation: v.Causation})
}

// prune forgets the oldest ended versions.
func (d *decision) prune() {
	ended := 0
	for i := len(d.state.Versions) - 1; i >= 0; i-- {
		if d.state.Versions[i].Stage != state.StageRevoked {
			continue
		}
		if ended++; ended > keptVersions {
			d.state.Versions = slices.Delete(d.state.Versions, i, i+1)
		}
	}
}

func (d *decision) reference(v state.CredentialVersion) events.Credential {
	return events.Credential{Name: d.policy.Name, Kind: d.policy.Kind, Version: v.Number, Path: d.policy.Path, Fingerprint: v.Fingerprint}
}

func leaseOf(v state.CredentialVersion) events.Lease {
	return events.Lease{TTLSeconds: v.TTL, ExpiresAt: v.ExpiresAt.UTC(), DeadlineAt: v.DeadlineAt.UTC()}
}

func with(regions []events.Region, r events.Region) []events.Region {
	if slices.Contains(regions, r) {
		return regions
	}
	return append(slices.Clone(regions), r)
}

// clip keeps a reason within what an event takes.
func clip(reason string) string {
	if reason == "" {
		return "no reason was given"
	}
	if len(reason) > 900 {
		return reason[:900]
	}
	return reason
}
