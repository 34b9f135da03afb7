package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	chassismetrics "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

func TestTheNewOwnerPublishesFromThePromotionOn(t *testing.T) {
	for phase, want := range map[state.Phase]bool{state.PhaseSteady: true, state.PhaseIntent: false, state.PhaseFenced: false, state.PhasePromoted: true, state.PhaseSwitched: true} {
		f := state.Failover{Epoch: 2, Active: "b", Phase: phase}
		if publishes(f, "b") != want || publishes(f, "a") {
			t.Errorf("phase %s of region b: b %t, a %t", phase, publishes(f, "b"), publishes(f, "a"))
		}
	}
}

// faulty is a raw store that can be away.
type faulty struct {
	raw.Folder
	away atomic.Bool
}

func (f *faulty) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if f.away.Load() {
		return nil, errors.New("connection refused")
	}
	return f.Folder.Get(ctx, name)
}

// bench is an intake on a warehouse of its own, at work until the test ends, and what feeds it.
func bench(t *testing.T) (*intake, *faulty, *source) {
	t.Helper()
	folder, _ := alone(t)
	c := NewConfig()
	c.Warehouse, c.TokenKeyFile, c.Engine.MemoryLimit = folder, filepath.Join(folder, "token.key"), "512MiB"
	log := slog.New(slog.DiscardHandler)
	w, err := c.openWarehouse(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	store := &faulty{Folder: raw.Folder(filepath.Join(folder, "raw"))}
	i := &intake{
		warehouse: w, store: raw.New(store.URL(), store), limits: c.limits(), metrics: newMetrics(chassismetrics.New(name)), log: log, loaded: func(warehouse.Result) {},
		waiting: make(chan waiter), stopped: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = i.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-i.stopped
		_ = w.Close()
	})
	return i, store, newSource(t, folder, chassistest.NATS(t))
}

// deliver hands an event to the intake as the bus does at an attempt.
func deliver(t *testing.T, i *intake, event events.Event, attempt int) error {
	t.Helper()
	payload, err := event.Payload()
	if err != nil {
		t.Fatal(err)
	}
	return i.consume(t.Context(), bus.Delivery{Event: event, Payload: payload, Attempt: attempt})
}

func TestAStoreThatIsAwayIsSaidInReadinessAndWhatItKeptOutComesInByTheManifestAndIsNotParked(t *testing.T) {
	i, store, s := bench(t)
	if err := errors.Join(i.checkLoad(t.Context()), i.checkRaw(t.Context())); err != nil {
		t.Errorf("before anything was loaded: %v", err)
	}
	event := s.keep("project", projects)
	store.away.Store(true)
	if err := deliver(t, i, event, 1); err == nil {
		t.Error("the first attempt is not made again")
	}
	for name, check := range map[string]func(context.Context) error{"load": i.checkLoad, "raw": i.checkRaw} {
		if err := check(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s says %v", name, err)
		}
	}
	if err := deliver(t, i, event, len(bus.Backoff)); err != nil {
		t.Errorf("the table's end would park it: %v", err)
	}
	if err := i.catchUp(t.Context()); err == nil {
		t.Error("the manifest was read from a store that is away")
	}
	store.away.Store(false)
	if err := i.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next, err := i.warehouse.NextMissing(t.Context()); err != nil || next != 2 {
		t.Errorf("next missing is record %d, %v", next, err)
	}
	if err := errors.Join(i.checkLoad(t.Context()), i.checkRaw(t.Context())); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestAFileThatIsNotWhatWasAnnouncedIsStillParkedInTheEndAndNoTroubleOfLoading(t *testing.T) {
	i, _, s := bench(t)
	event := s.keep("project", projects)
	ready, err := events.PayloadOf[events.ExportReady](event)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimPrefix(ready.RawURL, "file://"), []byte("project_id\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := deliver(t, i, event, len(bus.Backoff)+1); err == nil {
		t.Error("a damaged file was answered")
	}
	if err := i.checkLoad(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADiskThatTakesNothingIsSaidInReadinessUntilItDoes(t *testing.T) {
	i, _, s := bench(t)
	spool := filepath.Join(filepath.Dir(s.root), "etl-transform", "spool")
	if err := os.RemoveAll(spool); err != nil {
		t.Fatal(err)
	}
	event := s.keep("project", projects)
	if err := deliver(t, i, event, 1); err == nil {
		t.Fatalf("it was loaded without %s", spool)
	}
	if err := i.checkLoad(t.Context()); err == nil || !strings.Contains(err.Error(), "spool raw file") {
		t.Errorf("load says %v", err)
	}
	if err := os.MkdirAll(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(deliver(t, i, event, 2), i.checkLoad(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestMartsThatAreNotPublishedAreSaidOnceAMinuteWhateverTheWords(t *testing.T) {
	var out bytes.Buffer
	attempts := make(chan int) // unbuffered: the one before is said when the next is taken
	n := 0
	p := &publisher{
		active: func(context.Context) (bool, error) {
			n++
			attempts <- n
			return false, fmt.Errorf("attempt %d", n)
		},
		log: slog.New(slog.NewTextHandler(&out, nil)), wake: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	for range 5 {
		select {
		case <-attempts:
		case <-time.After(30 * time.Second):
			t.Fatal("it does not try again")
		}
		p.Wake()
	}
	cancel()
	var err error
	select {
	case <-attempts: // it was woken before it saw the end
		err = <-ended
	case err = <-ended:
	}
	if err != nil {
		t.Error(err)
	}
	if lines := strings.Count(out.String(), "marts are not published"); lines != 1 {
		t.Errorf("%d lines within %s:\n%s", lines, notice.Every, out.String())
	}
	if err := p.check(t.Context()); err == nil {
		t.Error("readiness does not say it")
	}
}
