package timing

import "time"

// Outage is the longest time without writes, by what happened and by the way on which clients come back: through a proxy that survived, or by DNS.
type Outage struct {
	DeadByProxy, DeadByDNS         time.Duration // the region is dead
	RenewingByProxy, RenewingByDNS time.Duration // its arbiter still renews, and no receipt comes
}

// WorstOutage computes both formulas of protocol.md.
func WorstOutage(p Profile) Outage {
	ended := p.Mandate + p.Delta + p.SeenLatency
	dead := max(p.Detect(), p.reelect(), ended) + p.Tick + p.Promote
	renewing := p.Detect() + p.Tick + ended + p.Promote
	names := max(p.Reconnect, p.DNSUpdate+p.DNSTTL)
	return Outage{
		DeadByProxy: dead + p.Reconnect, DeadByDNS: dead + names,
		RenewingByProxy: renewing + p.Reconnect, RenewingByDNS: renewing + names,
	}
}

// Longest is the worst of all.
func (o Outage) Longest() time.Duration {
	return max(o.DeadByProxy, o.DeadByDNS, o.RenewingByProxy, o.RenewingByDNS)
}
