package dnstest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
)

// Name is the name that the tests move.
const Name = "erp.ofitec.test"

// Record is that name, with a TTL that every provider takes.
func Record(address string, epoch events.Epoch) dns.Record {
	return dns.Record{Name: Name, Address: address, TTL: time.Minute, Epoch: epoch}
}

// Conform is what every provider that keeps the epoch must do, from nothing. It ends at epoch 9.
func Conform(t *testing.T, p dns.Provider) {
	t.Helper()
	ctx := t.Context()
	is := func(want dns.Record) {
		t.Helper()
		if got, err := p.Lookup(ctx, Name); err != nil || got != want {
			t.Fatalf("the name is %+v, %v; want %+v", got, err, want)
		}
	}
	set := func(r dns.Record) {
		t.Helper()
		if err := p.Set(ctx, r); err != nil {
			t.Fatal(err)
		}
		is(r)
	}
	is(dns.Record{Name: Name})
	set(Record("192.0.2.11", 1))
	set(Record("192.0.2.12", 2))
	set(Record("192.0.2.12", 2)) // again
	set(Record("192.0.2.13", 2)) // the address was changed by hand, the epoch not: it is put right
	shorter := Record("192.0.2.13", 2)
	shorter.TTL = 30 * time.Second
	set(shorter)
	var smaller *dns.SmallerError
	if err := p.Set(ctx, Record("192.0.2.11", 1)); !errors.As(err, &smaller) || smaller.Asked != 1 || smaller.Seen != 2 {
		t.Fatalf("a smaller epoch gives %v", err)
	}
	is(shorter)
	if err := p.Set(ctx, Record("2001:db8::1", 3)); err == nil {
		t.Fatal("an address that is not IPv4 was taken")
	}
	is(shorter)
	set(Record("192.0.2.9", 9))
}

// Race lets many move a name that has an epoch, each under its own. The highest one stays.
func Race(t *testing.T, p dns.Provider) {
	t.Helper()
	var all sync.WaitGroup
	for epoch := events.Epoch(10); epoch < 18; epoch++ {
		all.Go(func() {
			for {
				err := p.Set(context.Background(), Record("192.0.2."+strconv.Itoa(int(epoch)), epoch))
				if _, smaller := errors.AsType[*dns.SmallerError](err); err == nil || smaller {
					return
				}
				if !errors.Is(err, dns.ErrChanged) {
					t.Errorf("epoch %d: %v", epoch, err)
					return
				}
			}
		})
	}
	all.Wait()
	if got, err := p.Lookup(context.Background(), Name); err != nil || got != Record("192.0.2.17", 17) {
		t.Errorf("the name is %+v, %v", got, err)
	}
}
