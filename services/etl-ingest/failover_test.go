package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/kv"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// arbiter writes the failover's state, as the arbiters do.
func arbiter(t *testing.T, endpoint string) (set func(f state.Failover)) {
	t.Helper()
	settings := chassis.NewSettings()
	settings.Etcd.Endpoints = []string{endpoint}
	client, err := etcd.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return func(f state.Failover) {
		t.Helper()
		f.Since = time.Now().UTC()
		data, err := state.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), state.KeyFailover, string(data)); err != nil {
			t.Fatal(err)
		}
	}
}

// operator makes streams, durables and the bucket, as `ofitec up` does.
func (s *site) operator(t *testing.T) {
	t.Helper()
	conn, err := nats.Connect(s.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Provision(t.Context(), js, bus.Setup{Replicas: 1, Durables: events.AllDurables()}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), kv.Config(events.BucketIngest, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestAfterAFailoverTheOtherRegionGoesOnWithTheSameCursorsAndCorrectsWhatWasLost(t *testing.T) {
	if testing.Short() {
		t.Skip("needs etcd")
	}
	a := newSite(t)
	a.operator(t)
	b := &site{erp: startERP(t), config: NewConfig(), natsURL: a.natsURL}
	b.config.Warehouse = t.TempDir()
	endpoint := etcdtest.Start(t)
	set := arbiter(t, endpoint)
	raw := filepath.Join(a.config.Warehouse, "raw")
	env := []string{"ETCD_ENDPOINTS=" + endpoint, "OFITEC_RAW_URL=file://" + raw}
	fill(a.erp)
	fill(b.erp)
	a.erp.put("invoice", 70, monday.Add(50*time.Minute), "was not replicated")
	a.erp.put("invoice", 3, monday.Add(51*time.Minute), "a change that was not replicated")

	first := a.start(t, env...)
	second := b.start(t, append(env, "OFITEC_REGION=b")...)
	first.Await(t, "/readyz", 200)
	second.Await(t, "/readyz", 200)
	if a.erp.asked()+b.erp.asked() != 0 {
		t.Error("somebody read before a region was active")
	}
	set(state.Failover{Epoch: 1, Active: "a", Phase: state.PhaseSteady})
	eventually(t, "region a reads", func() bool { return a.has(t, "invoice", 70) && a.has(t, "partner", 5) })
	if b.erp.asked() != 0 {
		t.Error("the standby region's Odoo was read")
	}
	first.Signal(t, syscall.SIGKILL)
	first.AwaitEnd(t)
	b.erp.put("invoice", 80, monday.Add(52*time.Minute), "written in b")
	set(state.Failover{Epoch: 2, Active: "b", Phase: state.PhaseSteady})
	eventually(t, "region b reads and corrects", func() bool {
		rows := replay(t, openFolder(t, raw), recordsOf(t, raw), "invoice")
		_, phantom := rows[70]
		_, written := rows[80]
		return written && !phantom && rows[3].name == "tie"
	})
	if status := second.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	mustEqual(t, replay(t, openFolder(t, raw), recordsOf(t, raw), "invoice"), b.erp.rows("invoice"))
	a.mustAnnounce(t)
	took := false
	for _, r := range recordsOf(t, raw) {
		if r.Region == "b" && r.AsOf.Epoch != 2 || r.Region == "a" && r.AsOf.Epoch != 1 {
			t.Errorf("record %d is of region %s and epoch %d", r.Sequence, r.Region, r.AsOf.Epoch)
		}
		if r.Region == "b" && r.Dataset == "invoice" && !took {
			took = true
			if r.From == nil {
				t.Error("region b began from the start, not at the cursor")
			}
		}
	}
}

// memoryStates keeps states in memory.
type memoryStates map[string]extract.State

func (m memoryStates) Get(_ context.Context, dataset string) (extract.State, error) {
	return m[dataset], nil
}

func (m memoryStates) Advance(_ context.Context, dataset string, r extract.Recorded) (extract.State, error) {
	m[dataset] = m[dataset].Advance(r)
	return m[dataset], nil
}

func (m memoryStates) Foresee(_ context.Context, dataset string, pages []extract.Seen) error {
	m[dataset] = m[dataset].Foresee(pages)
	return nil
}

func ledgerOf(t *testing.T, region events.Region, folder string, states states, sender bus.Sender) *ledger {
	t.Helper()
	service, err := chassis.New(name, chassis.NewSettings())
	if err != nil {
		t.Fatal(err)
	}
	store := openFolder(t, folder)
	return &ledger{chain: manifest.NewChain(store), states: states, bus: sender, root: store.URL(), region: region, metrics: newMetrics(service.Metrics), log: service.Log}
}

func record(epoch events.Epoch) manifest.Record {
	return manifest.Record{
		Kind: manifest.KindRows, Dataset: "invoice", Region: "a", Format: "csv", SHA256: strings.Repeat("0", 64), AsOf: events.AsOf{Epoch: epoch, SourceClock: monday},
	}
}

// deaf takes no events.
type deaf struct{}

func (deaf) Publish(context.Context, events.Event) (bus.Receipt, error) {
	return bus.Receipt{}, errors.New("nobody listens")
}

func TestARecordThatOneRegionCouldNotAnnounceIsAnnouncedByTheOther(t *testing.T) {
	folder, states, memory := t.TempDir(), memoryStates{}, bus.NewMemory()
	dying := ledgerOf(t, "a", folder, states, deaf{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dying.mu.Lock()
	_, err := dying.chain.Append(t.Context(), record(1), dying.complete())
	dying.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dying.commit(ctx, record(1)); err == nil {
		t.Fatal("a record went out although nobody listens")
	}
	if states["invoice"].Sequence != 0 {
		t.Error("the state moved for what nobody was told")
	}
	other := ledgerOf(t, "b", folder, states, memory)
	if err := other.settle(t.Context(), []string{"invoice"}); err != nil {
		t.Fatal(err)
	}
	if states["invoice"].Sequence != 1 {
		t.Errorf("the state is %+v", states["invoice"])
	}
}

func TestAWriterThatWasPausedDuringAFailoverCannotAddBehindItsSuccessor(t *testing.T) {
	folder, states, memory := t.TempDir(), memoryStates{}, bus.NewMemory()
	old, next := ledgerOf(t, "a", folder, states, memory), ledgerOf(t, "b", folder, states, memory)
	for _, step := range []struct {
		who   *ledger
		epoch events.Epoch
		fails bool
	}{{old, 1, false}, {next, 2, false}, {old, 1, true}, {next, 2, false}} {
		_, r, err := step.who.commit(t.Context(), record(step.epoch))
		if (err != nil) != step.fails || step.fails && !isFenced(err) {
			t.Fatalf("record %d of epoch %d: %v", r.Sequence, step.epoch, err)
		}
	}
	if records := recordsOf(t, folder); len(records) != 3 {
		t.Errorf("%d records", len(records))
	}
}
