package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/hands"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/keeper"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// pointsVariable names the folder of a process that writes down the steps that it takes, and dies at the one that is asked for.
const pointsVariable = "ARBITER_TEST_POINTS"

// pointsOf is such a folder.
type pointsOf string

func (p pointsOf) trace() string { return filepath.Join(string(p), "trace") }
func (p pointsOf) fatal() string { return filepath.Join(string(p), "fatal") }

// dieAt kills the process the next time that it is at the point, without a word.
func (p pointsOf) dieAt(t *testing.T, point string) {
	t.Helper()
	must(t, os.WriteFile(p.fatal()+".next", []byte(point), 0o600))
	must(t, os.Rename(p.fatal()+".next", p.fatal()))
}

// taken are the points that were passed since forget, each once, in the order of the first time.
func (p pointsOf) taken(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(p.trace())
	if os.IsNotExist(err) {
		return nil
	}
	must(t, err)
	var points []string
	seen := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		if point := strings.TrimSpace(line); !seen[point] {
			seen[point] = true
			points = append(points, point)
		}
	}
	return points
}

func (p pointsOf) forget(t *testing.T) {
	t.Helper()
	must(t, os.RemoveAll(p.trace()))
}

// tread makes this process, a service, write down its steps.
func tread(folder string) {
	p := pointsOf(folder)
	var mu sync.Mutex
	failPoint = func(here string) {
		mu.Lock()
		defer mu.Unlock()
		trace, err := os.OpenFile(p.trace(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		_, _ = trace.WriteString(here + "\n")
		_ = trace.Close()
		if wanted, err := os.ReadFile(p.fatal()); err != nil || !bytes.Equal(wanted, []byte(here)) {
			return
		}
		_ = os.Remove(p.fatal()) // whoever comes next lives
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal is there
	}
	dressHands = func(o *hands.Options) {
		o.Proxy, o.Branching, o.Epochs, o.Cluster = steppedProxy{o.Proxy}, steppedBranching{o.Branching}, steppedEpochs{o.Epochs}, steppedCluster{o.Cluster}
		o.Database = steppedDatabase{o.Database}
		if o.Supervisor != nil {
			o.Supervisor = steppedSupervisor{o.Supervisor}
		}
	}
	dressKeeper = func(o *keeper.Options) { o.Store = steppedStore{o.Store} }
}

// step is a step between two points.
func step(name string, take func() error) error {
	_, err := stepTo(name, func() (struct{}, error) { return struct{}{}, take() })
	return err
}

func stepTo[T any](name string, take func() (T, error)) (T, error) {
	failPoint("before " + name)
	result, err := take()
	failPoint("after " + name)
	return result, err
}

type steppedStore struct{ keeper.Store }

func (s steppedStore) Take(ctx context.Context, a mandate.Take, facts etcd.Facts) mandate.Observation {
	o, _ := stepTo("taking the mandate", func() (mandate.Observation, error) { return s.Store.Take(ctx, a, facts), nil })
	return o
}

type steppedProxy struct{ hands.Proxy }

func (s steppedProxy) Open(ctx context.Context, pool haproxy.Pool) error {
	return step("opening "+string(pool), func() error { return s.Proxy.Open(ctx, pool) })
}

func (s steppedProxy) Close(ctx context.Context, pool haproxy.Pool) error {
	return step("closing "+string(pool), func() error { return s.Proxy.Close(ctx, pool) })
}

type steppedDatabase struct{ hands.Database }

func (s steppedDatabase) RaiseEpoch(ctx context.Context, epoch events.Epoch) error {
	return step("raising the database's epoch", func() error { return s.Database.RaiseEpoch(ctx, epoch) })
}

func (s steppedDatabase) Admit(ctx context.Context) error {
	return step("admitting", func() error { return s.Database.Admit(ctx) })
}

func (s steppedDatabase) Fence(ctx context.Context, within, pause time.Duration, refuses func(context.Context) error) (postgres.Fenced, error) {
	return stepTo("fencing", func() (postgres.Fenced, error) { return s.Database.Fence(ctx, within, pause, refuses) })
}

type steppedBranching struct{ hands.Branching }

func (s steppedBranching) Withdraw(ctx context.Context) error {
	return step("withdrawing readers", func() error { return s.Branching.Withdraw(ctx) })
}

func (s steppedBranching) Promote(ctx context.Context, within time.Duration) error {
	return step("promoting", func() error { return s.Branching.Promote(ctx, within) })
}

func (s steppedBranching) RenewSlot(ctx context.Context, name string) error {
	return step("renewing the slot", func() error { return s.Branching.RenewSlot(ctx, name) })
}

func (s steppedBranching) DropSlots(ctx context.Context) error {
	return step("dropping slots", func() error { return s.Branching.DropSlots(ctx) })
}

type steppedEpochs struct{ hands.Epochs }

func (s steppedEpochs) Raise(epoch events.Epoch) error {
	return step("raising the region's epoch", func() error { return s.Epochs.Raise(epoch) })
}

type steppedSupervisor struct{ hands.Supervisor }

func (s steppedSupervisor) StopFast(ctx context.Context) error {
	return step("stopping", func() error { return s.Supervisor.StopFast(ctx) })
}

func (s steppedSupervisor) StopImmediately(ctx context.Context) error {
	return step("stopping immediately", func() error { return s.Supervisor.StopImmediately(ctx) })
}

func (s steppedSupervisor) Start(ctx context.Context) error {
	return step("starting", func() error { return s.Supervisor.Start(ctx) })
}

type steppedCluster struct{ hands.Cluster }

func (s steppedCluster) NoteStop() error   { return step("noting the stop", s.Cluster.NoteStop) }
func (s steppedCluster) ForgetStop() error { return step("forgetting the stop", s.Cluster.ForgetStop) }
func (s steppedCluster) Follow() error     { return step("following", s.Cluster.Follow) }

func (s steppedCluster) NoteRemade(r cluster.Remade) error {
	return step("noting how it was remade", func() error { return s.Cluster.NoteRemade(r) })
}

func (s steppedCluster) ForgetRemade() error {
	return step("forgetting how it was remade", s.Cluster.ForgetRemade)
}

func (s steppedCluster) Copy(ctx context.Context, from cluster.Source) (string, error) {
	return stepTo("copying", func() (string, error) { return s.Cluster.Copy(ctx, from) })
}

func (s steppedCluster) Rewind(ctx context.Context, connInfo string, control cluster.Control, fork events.LSN) (string, error) {
	return stepTo("rewinding", func() (string, error) { return s.Cluster.Rewind(ctx, connInfo, control, fork) })
}
