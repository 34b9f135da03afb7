package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
)

const leaderKey = "/ofitec/failover/leader"

// dead is an address where nothing listens.
const dead = "http://127.0.0.1:1"

func connect(t *testing.T, endpoints ...string) *etcd.Client {
	t.Helper()
	settings := chassis.NewSettings()
	settings.Etcd.Endpoints = endpoints
	client, err := etcd.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func campaign(t *testing.T, c *etcd.Client, who string) *etcd.Leadership {
	t.Helper()
	won, err := c.Campaign(within(t, 20*time.Second), etcd.Election{Key: leaderKey, Candidate: who, TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return won
}

func TestReadinessNeedsOneMemberThatAnswers(t *testing.T) {
	alive := etcdtest.Start(t)
	if err := connect(t, dead, alive).Check(within(t, 5*time.Second)); err != nil {
		t.Errorf("one of two members answers: %v", err)
	}
	if err := connect(t, dead).Check(within(t, time.Second)); err == nil {
		t.Error("no member answers, yet ready")
	}
}

func TestReadinessAsksOverTheConnectionThatStands(t *testing.T) {
	wire := newCable(t, etcdtest.Start(t))
	client := connect(t, wire.url)
	for range 10 {
		if err := client.Check(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n := wire.connections(); n > 2 { // the client of all members and the one of this member
		t.Errorf("ten questions took %d connections", n)
	}
}

func TestACallToAllMembersIsNotHeldUpByADeadOne(t *testing.T) {
	client := connect(t, dead, etcdtest.Start(t))
	write := func(ctx context.Context, member *clientv3.Client) (int64, error) {
		response, err := member.Put(ctx, "/ofitec/x", "1")
		if err != nil {
			return 0, err
		}
		return response.Header.Revision, nil
	}
	if _, err := etcd.Race(within(t, 5*time.Second), client.Endpoints(), write); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := etcd.Race(within(t, 300*time.Millisecond), client.Endpoints()[:1], write); err == nil {
		t.Error("a dead member took a write")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the deadline of 300 ms was kept only after %s", took)
	}
}

type plan struct {
	Epoch  int    `json:"epoch"`
	Active string `json:"active"`
}

func TestOfTwoSwapsOverTheSameValueOneIsRefused(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	cell := etcd.NewCell(client, "/ofitec/failover/state", etcd.JSON[plan]())
	ctx := within(t, 10*time.Second)
	seen, err := cell.Get(ctx)
	if err != nil || seen.Revision != 0 {
		t.Fatalf("nothing is there yet: %+v, %v", seen, err)
	}
	first, err := cell.CompareAndSwap(ctx, seen, plan{1, "A"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cell.CompareAndSwap(ctx, seen, plan{1, "B"}); !errors.Is(err, etcd.ErrConflict) {
		t.Errorf("second swap over the same value: %v", err)
	}
	if read, err := cell.Get(ctx); err != nil || read != first {
		t.Errorf("read %+v, %v; want %+v", read, err, first)
	}
}

func TestAWriteUnderAnOldTermIsRefusedWithAllThatHangsOnIt(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	ctx := within(t, 30*time.Second)
	cell := etcd.NewCell(client, "/ofitec/failover/state", etcd.JSON[plan]())
	old := campaign(t, client, "a")
	seen, err := cell.CompareAndSwap(ctx, etcd.Value[plan]{}, plan{1, "A"}, etcd.Under(old))
	if err != nil {
		t.Fatal(err)
	}
	old.Resign()
	late := campaign(t, client, "b")
	defer late.Resign()
	if late.Term <= old.Term {
		t.Errorf("term %d follows term %d", late.Term, old.Term)
	}
	put := clientv3.OpPut("/ofitec/active", "B")
	if _, err := cell.CompareAndSwap(ctx, seen, plan{2, "B"}, etcd.Under(old), etcd.And(put)); !errors.Is(err, etcd.ErrTermOver) {
		t.Errorf("write under the old term: %v", err)
	}
	if found, err := client.Get(ctx, "/ofitec/active"); err != nil || len(found.Kvs) != 0 {
		t.Errorf("a part of the refused write took effect: %v, %v", found.Kvs, err)
	}
	if _, err := cell.CompareAndSwap(ctx, seen, plan{2, "B"}, etcd.Under(late)); err != nil {
		t.Errorf("write under the term of now: %v", err)
	}
}

func TestUnknownFieldsAreNotErasedBySwapping(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	ctx := within(t, 10*time.Second)
	if _, err := client.Put(ctx, "/ofitec/failover/state", `{"epoch":1,"active":"A","added_later":true}`); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.NewCell(client, "/ofitec/failover/state", etcd.JSON[plan]()).Get(ctx); err == nil {
		t.Error("a field that this program does not know was read over")
	}
}

func TestLeadershipOutlivesItsFirstLease(t *testing.T) {
	client := connect(t, dead, etcdtest.Start(t)) // renewals go to all members at once
	leader := campaign(t, client, "a")
	defer leader.Resign()
	select {
	case <-leader.Context().Done():
		t.Fatalf("leadership ended: %v", context.Cause(leader.Context()))
	case <-time.After(5 * time.Second):
	}
}

func TestALeaderThatCannotRenewStopsBeforeTheNextOneWins(t *testing.T) {
	server := etcdtest.Start(t)
	cut := newCable(t, server)
	leader := campaign(t, connect(t, cut.url), "a")
	ended := make(chan time.Time, 1)
	context.AfterFunc(leader.Context(), func() { ended <- time.Now() })
	cut.pull()
	next := campaign(t, connect(t, server), "b")
	won := time.Now()
	defer next.Resign()
	select {
	case at := <-ended:
		if !at.Before(won) {
			t.Errorf("old leadership ended at %s, the next one won at %s", at, won)
		}
	default:
		t.Fatal("two leaders")
	}
	if cause := context.Cause(leader.Context()); !errors.Is(cause, etcd.ErrLeaseEnded) {
		t.Errorf("cause %v", cause)
	}
}

func TestACandidateIsNotHeldUpByAMemberThatFellSilent(t *testing.T) {
	server := etcdtest.Start(t)
	before := watchers(t)
	paths := []*cable{newCable(t, server), newCable(t, server)}
	holder := campaign(t, connect(t, server), "a")
	candidate := connect(t, paths[0].url, paths[1].url)
	won := make(chan *etcd.Leadership, 1)
	go func() { won <- campaign(t, candidate, "b") }()
	for deadline := time.Now().Add(10 * time.Second); watchers(t) < before+2; time.Sleep(time.Millisecond) { // the holder's own and one of the candidate's
		if time.Now().After(deadline) {
			t.Fatal("the candidate does not watch the key within 10 s")
		}
	}
	paths[0].pull()
	began := time.Now()
	holder.Resign()
	next := <-won
	if took := time.Since(began); took > time.Second {
		t.Errorf("won after %s, though the other member answers", took)
	}
	paths[1].pull()
	<-next.Context().Done()
}

// watchers are those of all servers in this process.
func watchers(t *testing.T) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "etcd_debugging_mvcc_watcher_total" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("the server does not count its watchers")
	return 0
}

func TestALeaderWhoseKeyIsRemovedIsDeposed(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	leader := campaign(t, client, "a")
	if _, err := client.Delete(within(t, 5*time.Second), leaderKey); err != nil {
		t.Fatal(err)
	}
	select {
	case <-leader.Context().Done():
	case <-time.After(5 * time.Second):
		t.Fatal("still leads")
	}
	if cause := context.Cause(leader.Context()); !errors.Is(cause, etcd.ErrDeposed) {
		t.Errorf("cause %v", cause)
	}
}

func TestTheCandidateWithADelayLosesToTheOneWithout(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	holder := campaign(t, client, "c")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	winners := make(chan string, 2)
	enter := func(who string, delay func() time.Duration) {
		if _, err := client.Campaign(ctx, etcd.Election{Key: leaderKey, Candidate: who, TTL: 2 * time.Second, Delay: delay}); err == nil {
			winners <- who
		}
	}
	go enter("a", func() time.Duration { return time.Second })
	go enter("b", nil)
	time.Sleep(500 * time.Millisecond) // both wait for the key
	holder.Resign()
	if winner := <-winners; winner != "b" {
		t.Errorf("%s won, but it campaigns last", winner)
	}
}
