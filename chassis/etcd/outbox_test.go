package etcd_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

// some gives n different events.
func some(t *testing.T, n int) []events.Event {
	t.Helper()
	var made []events.Event
	for _, payload := range example.Payloads()[:n] {
		event, err := example.Event(payload)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, event)
	}
	return made
}

func announce(t *testing.T, outbox *etcd.Outbox, event events.Event) clientv3.Op {
	t.Helper()
	op, err := outbox.Announce(event)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestAnEffectAndItsAnnouncementAreOne(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	ctx := within(t, 20*time.Second)
	outbox := etcd.NewOutbox(client, "failover-arbiter")
	cell := etcd.NewCell(client, "/ofitec/failover/state", etcd.JSON[plan]())
	three := some(t, 3)
	seen, err := cell.CompareAndSwap(ctx, etcd.Value[plan]{}, plan{1, "A"}, etcd.And(announce(t, outbox, three[2]), announce(t, outbox, three[0])))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cell.CompareAndSwap(ctx, etcd.Value[plan]{}, plan{2, "B"}, etcd.And(announce(t, outbox, three[1]))); !errors.Is(err, etcd.ErrConflict) {
		t.Fatalf("stale swap: %v", err)
	}
	if waiting, err := outbox.Waiting(ctx); err != nil || waiting != 2 {
		t.Errorf("%d events wait, %v; the refused effect must not be announced", waiting, err)
	}
	if _, err := cell.CompareAndSwap(ctx, seen, plan{2, "B"}, etcd.And(announce(t, outbox, three[1]))); err != nil {
		t.Fatal(err)
	}
	if waiting, err := outbox.Waiting(ctx); err != nil || waiting != 3 {
		t.Errorf("%d events wait, %v", waiting, err)
	}
}

func TestEventsLeaveInTheOrderOfTheirAnnouncementUntilTheyAreDone(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	ctx := within(t, 20*time.Second)
	outbox := etcd.NewOutbox(client, "failover-arbiter")
	four := some(t, 4)
	order := []events.Event{four[2], four[0], four[3], four[1]}
	for _, event := range append(order, order[0]) { // announced again, the first one keeps its place
		if _, err := client.Do(ctx, announce(t, outbox, event)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Put(ctx, "/ofitec/outbox/failover-arbiter-2/0", "another service's"); err != nil {
		t.Fatal(err)
	}
	entries, err := outbox.Pending(ctx)
	if err != nil || len(entries) != len(order) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, entry := range entries {
		if event, err := events.Decode(entry.Data); err != nil || event.MsgID() != order[i].MsgID() {
			t.Errorf("entry %d is %s (%v), want %s", i, event.MsgID(), err, order[i].MsgID())
		}
	}
	if done, err := bus.NewOutbox(outbox, bus.NewMemory(), nil, nil).Drain(ctx); err != nil || done != 4 {
		t.Fatalf("%d events published, %v", done, err)
	}
	if waiting, err := outbox.Waiting(ctx); err != nil || waiting != 0 {
		t.Errorf("%d events wait, %v", waiting, err)
	}
}

func TestAnOutboxThatIsFullSaysSo(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	ctx := within(t, 20*time.Second)
	outbox := etcd.NewOutbox(client, "rotator")
	if _, err := client.Do(ctx, announce(t, outbox, some(t, 1)[0])); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Room(ctx, etcd.OutboxLimit-1); err != nil {
		t.Error(err)
	}
	if err := outbox.Room(ctx, etcd.OutboxLimit); !errors.Is(err, etcd.ErrOutboxFull) {
		t.Errorf("error %v", err)
	}
}

func TestAnEventThatIsTooLargeIsRefused(t *testing.T) {
	event := some(t, 1)[0]
	event.Data = []byte(`"` + string(make([]byte, 100<<10)) + `"`)
	if _, err := etcd.NewOutbox(nil, "rotator").Announce(event); err == nil {
		t.Error("accepted")
	}
}

// fill puts n entries below a prefix.
func fill(t *testing.T, client *etcd.Client, prefix string, n int) {
	t.Helper()
	for done := 0; done < n; {
		var puts []clientv3.Op
		for ; len(puts) < 100 && done < n; done++ {
			puts = append(puts, clientv3.OpPut(prefix+strconv.Itoa(done), "?"))
		}
		if _, err := client.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// gauge reads one without labels.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestAnOutboxThatFillsIsCountedAndTold(t *testing.T) {
	client := connect(t, etcdtest.Start(t))
	ctx := within(t, 30*time.Second)
	fill(t, client, "/ofitec/outbox/rotator/", etcd.OutboxLimit/2)
	var out bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(before)
	outbox := etcd.NewOutbox(client, "rotator")
	registry := prometheus.NewRegistry()
	metrics, err := bus.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	drain := func() { _, _ = bus.NewOutbox(outbox, bus.NewMemory(), nil, metrics).Drain(ctx) } // what waits here is no event, and stays
	drain()
	if out.Len() > 0 {
		t.Errorf("half full: %s", out.String())
	}
	if _, err := client.Put(ctx, "/ofitec/outbox/rotator/one more", "?"); err != nil {
		t.Fatal(err)
	}
	drain()
	drain()
	if said := strings.Count(out.String(), "the outbox fills"); said != 1 {
		t.Errorf("told %d times, want once:\n%s", said, out.String())
	}
	if got := gauge(t, registry, "ofitec_bus_outbox_events"); got != etcd.OutboxLimit/2+1 {
		t.Errorf("the gauge says %v, want %d", got, etcd.OutboxLimit/2+1)
	}
}
