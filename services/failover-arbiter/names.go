package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// names keeps the DNS name where the state wants it: whatever the authoritative server says, it is compared and set again until the two agree. Only a leader does.
type names struct {
	provider dns.Provider
	kind     string
	record   func(active events.Region, epoch events.Epoch) dns.Record
	within   time.Duration // of one call
	every    time.Duration // the least time between two tries to set the same
	rests    time.Duration // between two looks at a name that agreed

	judgement *judgement
	log       *slog.Logger

	asked   dns.Record // what was to be set the last time,
	answer  error      // what became of it,
	untried time.Time  // and until when it is not tried again
	busy    time.Time  // until when the provider wants to be left alone
}

// The time between two looks at the name: while it has to follow, and when it agreed the last time and its provider refuses a stale leader.
const (
	nameMoves = 200 * time.Millisecond
	nameRests = 5 * time.Second
)

func (n *names) run(ctx context.Context) error {
	var last failover.Named
	var settled time.Time
	for ctx.Err() == nil {
		region, epoch, ok := n.judgement.wanted()
		switch {
		case !ok:
		case last.Problem == "" && last.Epoch == epoch && time.Since(settled) < n.rests:
		default:
			named := n.follow(ctx, region, epoch)
			if named.Problem != last.Problem || named.Epoch != last.Epoch {
				n.log.Info("the name", "name", named.Name, "address", named.Address, "epoch", named.Epoch, "problem", named.Problem)
			}
			last, settled = named, time.Now()
			n.judgement.tell(named)
		}
		pause(ctx, nameMoves)
	}
	return nil
}

// follow looks, sets what differs, and looks again.
func (n *names) follow(ctx context.Context, region events.Region, epoch events.Epoch) failover.Named {
	want := n.record(region, epoch)
	named := failover.Named{Epoch: epoch, Name: want.Name, TTL: int(want.TTL / time.Second), Provider: n.kind}
	found, err := n.lookup(ctx, want.Name)
	if err != nil || !found.Agrees(want) { // what cannot be read, two addresses for instance, may well be set
		if err = n.set(ctx, want); err == nil {
			found, err = n.lookup(ctx, want.Name)
		}
	}
	named.Address = found.Address
	if err == nil && found.AddressOnly && found.TTL >= time.Second {
		named.TTL = int(found.TTL / time.Second)
	}
	switch {
	case err != nil:
		named.Problem = err.Error()
	case !found.Agrees(want):
		named.Problem = fmt.Sprintf("the server answers %s of epoch %d with ttl %s", found.Address, found.Epoch, found.TTL)
	}
	return named
}

func (n *names) lookup(ctx context.Context, name string) (dns.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, n.within)
	defer cancel()
	return n.provider.Lookup(ctx, name)
}

// set does nothing while it is too early to try again: what the last try said still stands, for servers may take a while to learn of it.
func (n *names) set(ctx context.Context, want dns.Record) error {
	now := time.Now()
	if now.Before(n.busy) || want == n.asked && now.Before(n.untried) {
		return n.answer
	}
	ctx, cancel := context.WithTimeout(ctx, n.within)
	defer cancel()
	n.asked, n.answer, n.untried = want, n.provider.Set(ctx, want), now.Add(n.every)
	if busy, ok := errors.AsType[*dns.BusyError](n.answer); ok {
		n.busy = now.Add(busy.For)
	}
	return n.answer
}

// wanted is where the name has to lead to.
func (j *judgement) wanted() (events.Region, events.Epoch, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.Wanted()
}

// addNames makes the keeper of the name, where one is configured.
func (a *arbiter) addNames(j *judgement) error {
	d := a.config.DNS
	if d.Server == "" {
		return nil
	}
	kind := providers[d.Provider](d, func(bool, string, string, string) {})
	provider, err := kind.open()
	if err != nil {
		return err
	}
	n := &names{provider: provider, kind: d.Provider, record: d.record, within: 2 * a.profile.DNSUpdate, every: kind.every, rests: nameRests, judgement: j, log: a.service.Log}
	if kind.undoes {
		n.rests = a.profile.Tick
	}
	a.service.Add("names", n.run)
	return nil
}
