package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// nameServer is a provider that holds what it is told.
type nameServer struct {
	holds      dns.Record
	sets       int
	refuses    error
	unreadable bool // until it is set
}

func (n *nameServer) Set(_ context.Context, r dns.Record) error {
	n.sets++
	if n.refuses == nil {
		n.holds, n.unreadable = r, false
	}
	return n.refuses
}

func (n *nameServer) Lookup(context.Context, string) (dns.Record, error) {
	if n.unreadable {
		return dns.Record{}, errors.New("it has 2 addresses")
	}
	return n.holds, nil
}

func TestTheNameIsSetUntilTheServerAgrees(t *testing.T) {
	config := DNS{Name: "erp.ofitec.test", TTL: time.Second, AddressA: "10.0.0.1", AddressB: "10.0.0.2"}
	server := &nameServer{holds: config.record(events.RegionA, 1)}
	n := &names{provider: server, kind: "rfc2136", record: config.record, within: time.Second, log: slog.New(slog.DiscardHandler)}
	if named := n.follow(context.Background(), events.RegionA, 1); named.Problem != "" || server.sets != 0 {
		t.Errorf("a name that agrees was set %d times: %+v", server.sets, named)
	}
	if named := n.follow(context.Background(), events.RegionB, 2); named.Problem != "" || named.Address != "10.0.0.2" || named.Epoch != 2 || named.TTL != 1 || server.sets != 1 {
		t.Errorf("after %d sets %+v", server.sets, named)
	}
	server.unreadable = true
	if named := n.follow(context.Background(), events.RegionB, 2); named.Problem != "" || server.sets != 2 {
		t.Errorf("what cannot be read was set %d times in all: %+v", server.sets, named)
	}
	server.holds, server.refuses = config.record(events.RegionA, 3), &dns.SmallerError{Asked: 2, Seen: 3}
	if named := n.follow(context.Background(), events.RegionB, 2); !strings.Contains(named.Problem, "epoch 2 is below epoch 3") || server.holds.Address != "10.0.0.1" {
		t.Errorf("over a later epoch: %+v", named)
	}
}

func TestEachReadComesSoonAfterARenewal(t *testing.T) {
	p := timing.Local()
	j := &judgement{profile: p, state: failover.New(NewConfig().judging(p))}
	renewed := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	read := failover.Read{Failover: &state.Failover{Phase: state.PhaseSteady}, Mandate: &state.Mandate{RenewedAt: renewed}}
	for _, c := range []struct{ after, want time.Duration }{
		{10 * time.Millisecond, 590 * time.Millisecond}, // that of this renewal is being read
		{100 * time.Millisecond, 500 * time.Millisecond},
		{300 * time.Millisecond, 300 * time.Millisecond},
		{490 * time.Millisecond, 110 * time.Millisecond},
		{10*time.Second + 300*time.Millisecond, 300 * time.Millisecond}, // the holder is gone
		{-200 * time.Millisecond, 300 * time.Millisecond},               // its clock is ahead
	} {
		if got := j.pace(read, renewed.Add(c.after)); got != c.want {
			t.Errorf("%s after a renewal: the next read comes in %s, want %s", c.after, got, c.want)
		}
	}
	read.Failover.Phase = state.PhaseIntent
	if got := j.pace(read, renewed); got != p.SeenLatency {
		t.Errorf("while a failover is under way: %s", got)
	}
}

func TestTroubleIsSaidOnceAMinute(t *testing.T) {
	var c complaints
	var said []int64
	for second := range 150 {
		if n := c.note(failover.ReasonStale, time.Duration(second)*time.Second); n > 0 {
			said = append(said, n)
		}
	}
	if len(said) != 3 || said[0] != 1 || said[1] != 60 || said[2] != 60 {
		t.Errorf("said %v", said)
	}
}

// stillBench is an etcd in which a is active, seen by an arbiter that does not lead.
type stillBench struct{ reads atomic.Int64 }

func (b *stillBench) Look(context.Context) (failover.Read, error) {
	if b.reads.Add(1)%5 == 0 {
		return failover.Read{}, errors.New("no answer")
	}
	now := time.Now().UTC()
	return failover.Read{
		Failover: &state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseSteady, Since: now}, FailoverRevision: 1, Active: "A",
		Mandate: &state.Mandate{Owner: events.RegionA, Epoch: 1, RenewedAt: now}, MandateRevision: b.reads.Load(),
	}, nil
}

func (b *stillBench) Swap(context.Context, *etcd.Leadership, failover.Swap, time.Time) error {
	return errors.New("nobody leads")
}

func (b *stillBench) Reply(context.Context, *etcd.Leadership, failover.Reply) error {
	return errors.New("nobody leads")
}

func TestItHearsReadsAndTellsAtTheSameTime(t *testing.T) {
	p := timing.Local()
	bench := &stillBench{}
	j := &judgement{
		bench: bench, profile: p, known: func() events.Epoch { return 1 }, learn: func(events.Epoch) {}, wake: func() {}, hurry: make(chan struct{}, 1),
		log: slog.New(slog.DiscardHandler), metrics: newMetrics(chassismetrics.New(name)), state: failover.New(NewConfig().judging(p)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { _ = j.run(ctx) })
	for _, observer := range events.Regions {
		working.Go(func() {
			for number := int64(1); ctx.Err() == nil; number++ {
				j.hear(failover.Heard{Report: events.HealthObserved{
					Observer: observer, Incarnation: "i1", Number: number, Target: events.RegionA, ObservedAt: time.Now(), Verdict: events.OutcomeFailed, FailuresInRow: 5,
				}})
				j.ignore(observer, failover.ReasonMalformed, errors.New("no event"))
				time.Sleep(time.Millisecond)
			}
		})
	}
	await(t, 10*time.Second, "a region that is down is seen, and read of more often", func() bool {
		return j.status().Regions[events.RegionA].Down && bench.reads.Load() > 5
	})
	cancel()
	working.Wait()
}
