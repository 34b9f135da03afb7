package etcd_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/example"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"

	book "github.com/ofitec/ofitec/services/rotator/internal/etcd"
)

func TestAStepThatCannotBeAnnouncedIsHeldUntilThereIsRoom(t *testing.T) {
	settings := chassis.NewSettings()
	settings.Etcd.Endpoints = []string{etcdtest.Start(t)}
	client, err := etcd.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx := t.Context()
	full := state.OutboxPrefix("rotator")
	for n := 0; n < etcd.OutboxLimit; n += 100 {
		var puts []clientv3.Op
		for i := range 100 {
			puts = append(puts, clientv3.OpPut(fmt.Sprint(full, "waits-", n+i), "?"))
		}
		if _, err := client.Txn(ctx).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	leadership, err := client.Campaign(ctx, etcd.Election{Key: state.KeyRotator, Candidate: "test", TTL: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer leadership.Resign()
	outbox := etcd.NewOutbox(client, "rotator")
	b := book.Open(client, outbox, "odoo-db", events.Origin{Region: events.RegionA, Service: "rotator"})
	seen, err := b.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	next := state.Credential{Name: "odoo-db", Method: events.CredentialDatabase}
	announce := rotation.Announce{Payload: example.Payloads()[0]}
	if err := b.Store(ctx, leadership, seen, next, []rotation.Action{announce}, now); !errors.Is(err, etcd.ErrOutboxFull) {
		t.Fatalf("stored into a full outbox: %v", err)
	}
	if again, err := b.Read(ctx); err != nil || again.State.Content.Name != "" {
		t.Errorf("a step that was refused is stored: %+v, %v", again, err)
	}
	if _, err := client.Delete(ctx, full+"waits-0"); err != nil {
		t.Fatal(err)
	}
	if err := b.Store(ctx, leadership, seen, next, []rotation.Action{announce}, now); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if waiting, err := outbox.Waiting(ctx); err != nil || waiting != etcd.OutboxLimit {
		t.Errorf("%d events wait, %v", waiting, err)
	}
}
