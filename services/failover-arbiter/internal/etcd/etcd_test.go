package etcd

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// stores are two arbiters of region a with three clients each to one member: every request arrives three times.
func stores(t *testing.T) (one, two *Store, kv clientv3.KV) {
	t.Helper()
	address := etcdtest.Start(t)
	connect := func(name string) (*Store, clientv3.KV) {
		client, err := etcd.Connect(chassis.Settings{Etcd: chassis.EtcdSettings{Endpoints: []string{address, address, address}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		shared := state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001}
		return NewStore(etcd.NewNearest(client.Endpoints(), 0), events.RegionA, name, shared, clock.Now), client
	}
	one, kv = connect("f1.p1")
	two, _ = connect("f2.p1")
	return one, two, kv
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// take takes the first mandate and gives its revision.
func take(t *testing.T, s *Store) mandate.Renewed {
	t.Helper()
	renewed, ok := s.Take(deadline(t), mandate.Take{Number: 1}, Facts{}).(mandate.Renewed)
	if !ok {
		t.Fatal("the first mandate was not taken")
	}
	return renewed
}

// silent is a member that takes connections and never answers.
func silent(t *testing.T) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // HTTP/2's settings, none
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestTheStoreDoesNotForgetASilentMemberForOthersCalls(t *testing.T) {
	client, err := etcd.Connect(chassis.Settings{Etcd: chassis.EtcdSettings{Endpoints: []string{silent(t), etcdtest.Start(t)}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	nearest := etcd.NewNearest(client.Endpoints(), time.Minute)
	s := NewStore(nearest, events.RegionA, "f1.p1", state.Config{}, clock.Now)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if o, failed := s.Read(short).(mandate.Failed); !failed {
		t.Errorf("the silent member is not asked alone first: %+v", o)
	}
	if _, err := etcd.Ask(deadline(t), nearest, func(ctx context.Context, member *clientv3.Client) (struct{}, error) {
		if member != client.Endpoints()[0] {
			<-ctx.Done()
		}
		return struct{}{}, ctx.Err()
	}); err != nil {
		t.Error(err)
	}
	if o, failed := s.Read(deadline(t)).(mandate.Failed); failed {
		t.Errorf("it is waited for again: %+v", o)
	}
}

func TestTheFirstMandateIsTakenOnceAndWhole(t *testing.T) {
	one, two, kv := stores(t)
	if seen := one.Read(deadline(t)).(mandate.Seen); seen.Failover != nil || seen.Mandate != nil || seen.Config != nil {
		t.Errorf("an unused etcd shows %+v", seen)
	}
	taken := take(t, one)
	seen, ok := two.Take(deadline(t), mandate.Take{Number: 1}, Facts{}).(mandate.Seen)
	if !ok {
		t.Fatal("it was taken twice")
	}
	if seen.Failover.Epoch != 1 || seen.Failover.Active != events.RegionA || seen.Failover.Phase != state.PhaseSteady || seen.FailoverRevision != taken.FailoverRevision {
		t.Errorf("state %+v at %d", seen.Failover, seen.FailoverRevision)
	}
	if seen.Mandate.Incarnation != "f1.p1" || seen.Mandate.Epoch != 1 || seen.MandateRevision != taken.Revision || *seen.Config != one.shared {
		t.Errorf("mandate %+v at %d, configuration %+v", seen.Mandate, seen.MandateRevision, seen.Config)
	}
	active, err := kv.Get(deadline(t), state.KeyActive)
	if err != nil || len(active.Kvs) != 1 || string(active.Kvs[0].Value) != "A" {
		t.Errorf("%s: %v, %v", state.KeyActive, active, err)
	}
}

func TestARenewalThatArrivesThreeTimesSucceedsOnce(t *testing.T) {
	one, _, _ := stores(t)
	last := take(t, one)
	at := clock.Now()
	for number := int64(2); number < 30; number++ {
		renew := mandate.Renew{Epoch: 1, Number: number, FailoverRevision: last.FailoverRevision, MandateRevision: last.Revision}
		renewed, ok := one.Renew(deadline(t), renew, Facts{FlushLSN: 77, Timeline: 3, HeartbeatNumber: number, HeartbeatAt: at}).(mandate.Renewed)
		if !ok || renewed.Revision != last.Revision+1 || renewed.FailoverRevision != last.FailoverRevision || renewed.Number != number {
			t.Fatalf("renewal %d: %+v after %+v", number, renewed, last)
		}
		last = renewed
	}
	m := one.Read(deadline(t)).(mandate.Seen).Mandate
	if m.Renewal != 29 || m.FlushLSN != 77 || m.Timeline != 3 || m.HeartbeatNumber != 29 || !m.HeartbeatAt.Equal(at.Wall) {
		t.Errorf("mandate %+v", m)
	}
}

func TestARenewalFailsWhenTheStateOrTheMandateHasChanged(t *testing.T) {
	one, two, kv := stores(t)
	taken := take(t, one)
	renew := mandate.Renew{Epoch: 1, Number: 2, FailoverRevision: taken.FailoverRevision, MandateRevision: taken.Revision}
	if _, ok := two.Renew(deadline(t), renew, Facts{}).(mandate.Renewed); !ok {
		t.Fatal("the second copy could not renew at the revisions that it saw")
	}
	seen, ok := one.Renew(deadline(t), renew, Facts{}).(mandate.Seen)
	if !ok || seen.Mandate.Incarnation != "f2.p1" {
		t.Errorf("the first copy got %+v", seen)
	}
	failover := *seen.Failover
	failover.Sync = state.SyncOff
	data, err := state.Encode(failover)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(deadline(t), state.KeyFailover, string(data)); err != nil {
		t.Fatal(err)
	}
	renew.Number, renew.MandateRevision = 3, seen.MandateRevision
	if seen, ok := two.Renew(deadline(t), renew, Facts{}).(mandate.Seen); !ok || seen.FailoverRevision == taken.FailoverRevision {
		t.Errorf("a renewal under an old state got %+v", seen)
	}
}

func TestWhatCannotBeReadIsNotGuessed(t *testing.T) {
	one, _, kv := stores(t)
	take(t, one)
	if _, err := kv.Put(deadline(t), state.KeyFailover, `{"version":2}`); err != nil {
		t.Fatal(err)
	}
	if o, ok := one.Read(deadline(t)).(mandate.Failed); !ok {
		t.Errorf("got %+v", o)
	}
}
