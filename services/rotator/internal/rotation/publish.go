package rotation

import (
	"slices"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// publish hands a staged version on, by reference: to everybody when no deployer takes it, else to one region after the other.
func (d *decision) publish() {
	v := d.flying()
	if v == nil {
		v = d.current()
	}
	switch {
	case v == nil:
	case len(d.policy.Regions) > 0:
		d.ask(v)
	case v.Stage == state.StageStaged:
		v.Stage = state.StageCanary
		d.rotated(v, "")
		if d.policy.Kind != events.CredentialRoot { // whose version is in force only when it has been applied
			d.take(v)
		}
	}
}

// ask asks each region whose turn has come. A version that the active region has is still brought to the others.
func (d *decision) ask(v *state.CredentialVersion) {
	switch v.Stage {
	case state.StageStaged:
	case state.StageCanary, state.StageCurrent:
		if len(v.Asked) == 0 { // of a time when all regions were asked by one event
			return
		}
	default:
		return
	}
	for {
		region, ok := d.turn(*v)
		if !ok {
			return
		}
		at := d.now
		v.Asked, v.AskedAt = with(v.Asked, region), &at
		if v.Stage == state.StageStaged {
			v.Stage = state.StageCanary
		}
		d.rotated(v, region)
	}
}

func (d *decision) rotated(v *state.CredentialVersion, region events.Region) {
	d.announce(v, events.CredentialRotated{Credential: d.reference(*v), Region: region, Lease: leaseOf(*v), Previous: v.Previous, Trigger: v.Trigger, Act: v.Act})
}

// turn is the region to be asked next: the first in the order that was not, when those asked before have deployed the version or are not waited for. While
// nobody may write it is not known which region comes last, and none is asked.
func (d *decision) turn(v state.CredentialVersion) (events.Region, bool) {
	if d.seen.Active == "" {
		return "", false
	}
	for _, region := range v.Asked {
		switch {
		case slices.Contains(v.Deployed, region), slices.Contains(d.seen.Away, region):
		case v.Stage == state.StageCurrent && slices.Contains(v.RolledBack, region):
		case v.AskedAt != nil && d.now.Before(v.AskedAt.Add(d.policy.Patience)):
			return "", false
		}
	}
	for _, region := range d.order() {
		if !slices.Contains(v.Asked, region) && !slices.Contains(v.Deployed, region) {
			return region, true
		}
	}
	return "", false
}

// order is the configured one, or the region that writes last: what would hurt it is found out where nobody is hurt.
func (d *decision) order() []events.Region {
	if len(d.policy.Order) > 0 {
		return d.policy.Order
	}
	order := slices.DeleteFunc(slices.Clone(d.policy.Regions), func(r events.Region) bool { return r == d.seen.Active })
	return append(order, d.seen.Active)
}
