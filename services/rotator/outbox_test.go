package main

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

// While the bus is away, ofitec credentials break-glass leaves its fact in the rotator's outbox.
func TestAGlassThatWasBrokenWithoutTheBusIsToldWhenItIsBack(t *testing.T) {
	t.Parallel() // it mostly waits
	address, endpoint := chassistest.FreeAddr(t), etcdtest.Start(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	now := time.Now().UTC()
	broken, err := events.New(events.Origin{Region: events.RegionA, Service: "operator"}, now, events.CredentialBreakGlass{
		Credential: events.Credential{Name: credential, Kind: events.CredentialDatabase, Version: 3, Path: path, Fingerprint: strings.Repeat("a", 64)},
		Act:        events.Act{Actor: "operator:maria", Reason: "the bus is away", Request: "r-1", At: now}, ExpiresAt: now.Add(15 * time.Minute),
	})
	must(t, err)
	put, err := etcd.NewOutbox(client, events.ServiceRotator).Announce(broken)
	must(t, err)
	_, err = client.Txn(t.Context()).Then(put).Commit()
	must(t, err)
	p := chassistest.Start(t, append(frontDoor(t), "NATS_URL=nats://"+address, "ETCD_ENDPOINTS="+endpoint)...)
	await(t, 30*time.Second, "the rotator misses the bus", func() bool { return strings.Contains(p.Output(), "outbox waits") })
	conn, err := nats.Connect(chassistest.NATSAt(t, address))
	must(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(t, err)
	_, err = bus.Provision(t.Context(), js, bus.Setup{Replicas: 1, MaxBytes: map[string]int64{events.StreamHealth: 16 << 20}, Durables: events.AllDurables()})
	must(t, err)
	var told []events.Event
	await(t, 60*time.Second, "the fact is on the bus", func() bool {
		told = nil
		err := bus.NewJetStream(js, nil).Replay(t.Context(), bus.Range{Stream: events.StreamFacts}, func(m bus.Replayed) error {
			told = append(told, m.Event)
			return m.Err
		})
		return err == nil && len(told) > 0
	})
	if len(told) != 1 || told[0].ID != broken.ID || told[0].Subject != broken.Subject {
		t.Errorf("told is %+v, want the fact as it was", told)
	}
	await(t, 10*time.Second, "nothing waits any more", func() bool {
		left, err := client.Get(t.Context(), state.OutboxPrefix(events.ServiceRotator), clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && left.Count == 0
	})
}
