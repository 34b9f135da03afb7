package rotation

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Fulfil takes the wish away, in the transaction that stores the version that grants it.
type Fulfil struct{}

func (Fulfil) action() {}

// todo lists what may be done now, the most urgent first.
func (d *decision) todo() []Action {
	var todo []Action
	for _, v := range d.state.Versions {
		if at, ok := d.renewAt(v); ok && !d.now.Before(at) {
			todo = append(todo, Renew{v.Number, v.Lease, seconds(v.TTL)})
		}
	}
	for _, v := range d.state.Versions {
		inUse := v.Stage == state.StageCurrent || v.Stage == state.StageCanary && d.policy.Kind == events.CredentialDatabase
		if inUse && v.Lease != "" && d.policy.writes() && d.seen.Active != "" && d.seen.Epoch > max(v.Epoch, v.Verified) {
			todo = append(todo, Verify{v.Number, d.seen.Epoch})
		}
	}
	unused := false // a number that KV v2 does not know
	for _, v := range d.state.Versions {
		if d.seen.Stored >= v.Number || d.seen.Stored < 0 {
			continue
		}
		if d.lost(v) { // or rejected before it could be staged
			todo = append(todo, Burn{v.Number})
		}
		unused = true
	}
	if v := d.flying(); v != nil {
		todo = append(todo, d.step(*v)...)
	} else if !unused && d.seen.Stored >= 0 && d.mintDue() {
		todo = append(todo, Mint{max(d.seen.Stored, d.last()) + 1})
	}
	for _, v := range d.state.Versions {
		switch {
		case doomed(v) && d.drained(v):
			todo = append(todo, End{v.Number, v.Lease, v.User})
		case d.policy.Kind == events.CredentialDatabase && v.Stage == state.StageDraining && v.DeadlineAt.Sub(d.now) > d.policy.Grace+2*deadMan && d.everywhereLater(v.Number):
			todo = append(todo, Shorten{v.Number, v.Lease, d.policy.Grace + deadMan})
		}
	}
	return todo
}

// miss replaces a version in use that KV v2 has no more: a restored Vault has the versions of its snapshot only, and whoever needs it could not read it.
func (d *decision) miss() {
	if v := d.current(); v != nil && d.lost(*v) {
		v.Reason = "KV v2 has it no more; was Vault restored?"
		d.hasten(v)
	}
}

// hasten asks for another version now, or, where one has failed, when another attempt may be made. What is due already stays as it is: else each look would change the state.
func (d *decision) hasten(v *state.CredentialVersion) {
	by := d.now
	if d.last() > v.Number {
		by = by.Add(d.policy.Again)
	}
	if next := d.state.NextAt; next == nil || next.After(by) {
		d.state.NextAt = &d.now
	}
}

// lost says that a version stood in KV v2 and does no more. What was never staged cannot be.
func (d *decision) lost(v state.CredentialVersion) bool {
	return d.seen.Stored >= 0 && d.seen.Stored < v.Number && v.Stage != state.StageMinted && v.Stage != state.StageTested
}

// deadMan is how much later than the drain Vault ends a user by itself.
const deadMan = time.Minute

// step is what brings a version in flight further.
func (d *decision) step(v state.CredentialVersion) []Action {
	early := v.Stage == state.StageMinted || v.Stage == state.StageTested
	switch {
	case early && d.seen.Held != v.Number:
		return []Action{Look{v.Number, v.User}}
	case v.Stage == state.StageMinted:
		return []Action{Test{v.Number}}
	case v.Stage == state.StageTested:
		return []Action{Stage{v.Number}}
	case v.Stage == state.StageCanary && d.policy.Kind == events.CredentialRoot:
		return []Action{Apply{v.Number}}
	}
	return nil // a canary: the deployers have the word
}

// unendedAtMost is how many versions that did not pass may wait for their end before no more are made.
const unendedAtMost = 3

// mintDue says whether a new version is wanted. While nobody may write there is none to be had, and who cannot end users makes no more of them.
func (d *decision) mintDue() bool {
	unended := 0
	for _, v := range d.state.Versions {
		if doomed(v) && v.Stage != state.StageDraining && d.drained(v) {
			unended++
		}
	}
	if d.seen.Active == "" && (d.policy.writes() || len(d.policy.Regions) > 0) || unended > unendedAtMost {
		return false
	}
	if d.seen.Wish != nil {
		return true
	}
	current := d.current()
	if next := d.state.NextAt; next != nil {
		return !d.now.Before(*next)
	}
	return current == nil || current.Lease == ""
}

// renewAt is when a version's lease is to be renewed. Only what has, or had, a use is renewed, and nothing that is at its ceiling.
func (d *decision) renewAt(v state.CredentialVersion) (time.Time, bool) {
	switch v.Stage {
	case state.StageStaged, state.StageCanary, state.StageCurrent:
	case state.StageDraining, state.StageRolledBack:
		if d.drained(v) {
			return time.Time{}, false
		}
	default:
		return time.Time{}, false
	}
	if v.Lease == "" || v.TTL <= 0 || !d.now.Before(v.ExpiresAt) || v.DeadlineAt.Sub(v.ExpiresAt) < time.Second {
		return time.Time{}, false
	}
	from := v.MintedAt
	if v.RenewedAt != nil {
		from = *v.RenewedAt
	}
	return from.Add(share(seconds(v.TTL), d.policy.RenewAt, v.Number, v.Renewals+1)), true
}

// drained says whether an outgoing version may be ended: no region has taken it; or every region runs on a later one and the grace is over. A region that
// says nothing is waited for as long as the patience lasts; one that rolled the successor back, or has taken what the active region then refused, keeps the
// version until a later one has passed there, or until it expires.
func (d *decision) drained(v state.CredentialVersion) bool {
	if !d.now.Before(v.ExpiresAt) {
		return true
	}
	if d.policy.Kind == events.CredentialSTS {
		return false // nobody can end a session of a cloud before its time
	}
	if v.Stage != state.StageDraining {
		return !slices.ContainsFunc(v.Deployed, func(region events.Region) bool { later, _ := d.moved(region, v.Number); return !later })
	}
	if v.DrainFrom == nil || d.now.Before(v.DrainFrom.Add(d.policy.Grace)) {
		return false
	}
	for _, region := range d.policy.Regions {
		later, refused := d.moved(region, v.Number)
		if later {
			continue
		}
		if refused || d.now.Before(v.DrainFrom.Add(d.policy.Patience)) {
			return false
		}
	}
	return true
}

// moved says whether a region runs on a version later than the given one, or has refused one.
func (d *decision) moved(region events.Region, number int64) (later, refused bool) {
	for _, v := range d.state.Versions {
		if v.Number > number {
			later = later || slices.Contains(v.Deployed, region)
			refused = refused || slices.Contains(v.RolledBack, region)
		}
	}
	return later, refused && !later
}

// everywhereLater says that no region needs a version any more.
func (d *decision) everywhereLater(number int64) bool {
	return !slices.ContainsFunc(d.policy.Regions, func(region events.Region) bool { later, _ := d.moved(region, number); return !later })
}

// AttemptsLeft is how many rollouts fit before a version's deadline.
func AttemptsLeft(v state.CredentialVersion, p Policy, now time.Time) int {
	return max(int((v.DeadlineAt.Sub(now)-p.Grace)/p.Attempt), 0)
}

// alarm tells that the version in use nears its end: first that somebody should look, then that somebody must.
func (d *decision) alarm() {
	v := d.current()
	if v == nil || v.Lease == "" {
		d.state.Alarm = ""
		return
	}
	left, attempts, ttl := v.ExpiresAt.Sub(d.now), AttemptsLeft(*v, d.policy, d.now), seconds(v.TTL)
	level, reason := "", ""
	switch {
	case left < ttl/10:
		level, reason = "page", "the lease is about to expire and could not be renewed"
	case attempts <= 1 && len(d.policy.Regions) > 0:
		level, reason = "page", fmt.Sprintf("%d rollouts fit before max_ttl", attempts)
	case left < ttl/4:
		level, reason = "warn", "the lease could not be renewed for long"
	case attempts <= 3 && len(d.policy.Regions) > 0:
		level, reason = "warn", fmt.Sprintf("%d rollouts fit before max_ttl", attempts)
	}
	if level == d.state.Alarm {
		return
	}
	worse := level == "page" || level == "warn" && d.state.Alarm == ""
	d.state.Alarm = level
	if worse {
		if d.seen.Unmade != "" {
			reason = clip(reason + "; no other version can be made: " + d.seen.Unmade)
		}
		d.announce(v, events.CredentialExpiring{
			Credential: d.reference(*v), Level: level, Lease: leaseOf(*v), AttemptsLeft: attempts, SecondsLeft: max(left, 0).Seconds(), Reason: reason,
		})
	}
}

// Next is when something becomes due by the clock alone, at the latest.
func Next(s state.Credential, p Policy, now time.Time) time.Time {
	d := &decision{state: s, policy: p, seen: Observation{Active: "a"}, now: now}
	next := now.Add(time.Minute)
	sooner := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	if s.NextAt != nil {
		sooner(*s.NextAt)
	}
	for _, v := range s.Versions {
		if at, ok := d.renewAt(v); ok {
			sooner(at)
		}
		if v.DrainFrom != nil {
			sooner(v.DrainFrom.Add(p.Grace))
			sooner(v.DrainFrom.Add(p.Patience))
		}
		if v.AskedAt != nil {
			sooner(v.AskedAt.Add(p.Patience))
		}
		if v.Stage != state.StageRevoked && v.Lease != "" {
			sooner(v.ExpiresAt)
		}
	}
	return next
}

// share is a fraction of a span, moved by up to 0.05 in a way that differs from version to version and from renewal to renewal, and is the same for every leader.
func share(span time.Duration, fraction float64, number, turn int64) time.Duration {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%d/%d", number, turn) // a hash takes everything
	jitter := float64(h.Sum32()%1001)/1000*0.1 - 0.05
	return time.Duration(float64(span) * (fraction + jitter))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
