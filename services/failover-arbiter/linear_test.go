package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// ownership is one value that everybody reads: which region may commit, and under which epoch. It must behave as if it stood in one place: whoever reads it, or acts on it, does
// so at one moment between his asking and his answer, and these moments have an order.
type ownership struct {
	epoch events.Epoch
	owner events.Region
}

// The operations on it. A grant is a leader's transaction, read is a linearizable read of etcd; may is a region's own answer that applications may commit there, commit an
// acknowledged write: neither of them asks etcd, which is what makes them worth checking.
type (
	grant  struct{ from, to ownership }
	read   struct{ seen ownership }
	may    struct{ region events.Region }
	commit struct{ region events.Region }
)

// ownershipModel says which of them are right.
func ownershipModel(first ownership) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(s, input, _ any) (bool, any) {
			now := s.(ownership)
			switch op := input.(type) {
			case grant:
				return now == op.from, op.to
			case read:
				return now == op.seen, now
			case may:
				return now.owner == op.region, now
			case commit:
				return now.owner == op.region, now
			}
			return false, now
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%T %+v", input, input) },
	}
}

// record collects operations with the times of their call and return.
type record struct {
	mu         sync.Mutex
	began      time.Time
	operations []porcupine.Operation
}

func (r *record) add(client int, call time.Time, op any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, porcupine.Operation{ClientId: client, Input: op, Call: call.Sub(r.began).Nanoseconds(), Return: time.Since(r.began).Nanoseconds()})
}

func (r *record) count() map[string]int {
	counts := map[string]int{}
	for _, o := range r.operations {
		counts[fmt.Sprintf("%T", o.Input)]++
	}
	return counts
}

// watch records each change of the owner in etcd. When it took effect nobody knows but etcd: after the change before it was seen, and before this one is.
func (w *three) watch(ctx context.Context, r *record, first ownership, revision int64) {
	last, call := first, r.began
	for response := range w.store.Watch(ctx, state.KeyFailover, clientv3.WithRev(revision+1)) {
		for _, change := range response.Events {
			f, err := state.Decode[state.Failover](change.Kv.Value)
			if err != nil {
				w.t.Errorf("a state that is none: %v", err)
				return
			}
			if now := (ownership{f.Epoch, f.Active}); now != last {
				r.add(0, call, grant{last, now})
				last, call = now, time.Now()
			}
		}
	}
}

// ask records what everybody is told while ctx lasts: two readers of etcd, the two regions' answers, and a writer on each side.
func (w *three) inquire(ctx context.Context, r *record) (wait func()) {
	var working sync.WaitGroup
	each := func(client int, pause time.Duration, do func(n int) any) {
		working.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				call := time.Now()
				if op := do(n); op != nil {
					r.add(client, call, op)
				}
				time.Sleep(pause)
			}
		})
	}
	for client := 1; client <= 2; client++ {
		each(client, 40*time.Millisecond, func(int) any {
			limited, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			response, err := w.store.Get(limited, state.KeyFailover)
			if err != nil || len(response.Kvs) == 0 {
				return nil
			}
			f, err := state.Decode[state.Failover](response.Kvs[0].Value)
			if err != nil {
				return nil
			}
			return read{ownership{f.Epoch, f.Active}}
		})
	}
	for n, region := range events.DataRegions {
		each(3+n, 25*time.Millisecond, func(int) any {
			if status, _ := says(w.address[region], "/mandate"); status == 200 {
				return may{region}
			}
			return nil
		})
		each(5+n, 25*time.Millisecond, func(number int) any {
			if w.write(region, 1_000_000*(n+1)+number) == nil {
				return commit{region}
			}
			return nil
		})
	}
	return working.Wait
}

// TestWhoMayCommitIsOneValueToEverybody lets the active region's arbiter stand still past its mandate, wakes it, and checks the history of all reads, answers and acknowledged writes.
func TestWhoMayCommitIsOneValueToEverybody(t *testing.T) {
	w := startThree(t)
	response, err := w.store.Get(t.Context(), state.KeyFailover)
	must(t, err)
	first := ownership{1, events.RegionA}
	ctx, cancel := context.WithCancel(context.Background())
	r := &record{began: time.Now()}
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(ctx, r, first, response.Header.Revision) })
	wait := w.inquire(ctx, r)
	time.Sleep(2 * time.Second) // some history before
	must(t, w.arbiter[events.RegionA].Process.Signal(syscall.SIGSTOP))
	w.completed(events.RegionB, 2, 60*time.Second)
	must(t, w.arbiter[events.RegionA].Process.Signal(syscall.SIGCONT))
	await(t, 10*time.Second, "b takes writes", func() bool { return w.committed(r, events.RegionB) > 5 })
	if os.Getenv("OFITEC_DRILLS") != "" {
		await(t, 90*time.Second, "a is a standby again", func() bool { return w.current().Rejoin == nil })
		w.ask("back", state.Request{Verb: state.VerbSwitchover, To: events.RegionA, Epoch: 2})
		w.completed(events.RegionA, 3, 60*time.Second)
	}
	time.Sleep(time.Second) // and some after
	cancel()
	wait()
	watching.Wait()
	counts := r.count()
	t.Logf("%d operations: %v", len(r.operations), counts)
	if counts["main.grant"] == 0 || counts["main.read"] < 30 || counts["main.may"] < 20 || counts["main.commit"] < 10 {
		t.Errorf("%v: the history is too short to show anything", counts)
	}
	if result := porcupine.CheckOperationsTimeout(ownershipModel(first), r.operations, time.Minute); result != porcupine.Ok {
		t.Errorf("the history is %s: who may commit was not one value to everybody\n%+v", result, r.operations)
	}
	// The same history with one write more, in a, after b's were seen, is none.
	late := append(r.operations[:len(r.operations):len(r.operations)], porcupine.Operation{ClientId: 9, Input: commit{events.RegionA}, Call: r.first(events.RegionB), Return: r.first(events.RegionB) + 1})
	if result := porcupine.CheckOperationsTimeout(ownershipModel(first), late, time.Minute); result != porcupine.Illegal {
		t.Errorf("with a write of a's after b's first the history is %s", result)
	}
}

func (w *three) committed(r *record, region events.Region) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, o := range r.operations {
		if o.Input == any(commit{region}) {
			n++
		}
	}
	return n
}

// first is when a region's first acknowledged write had returned.
func (r *record) first(region events.Region) int64 {
	for _, o := range r.operations {
		if o.Input == any(commit{region}) {
			return o.Return + 1
		}
	}
	return 0
}

func TestTheModelOfOwnershipRefusesWhatMustNotBe(t *testing.T) {
	a, b := ownership{1, events.RegionA}, ownership{2, events.RegionB}
	op := func(client int, call, end int64, input any) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Call: call, Return: end, Input: input}
	}
	good := []porcupine.Operation{op(1, 0, 10, commit{events.RegionA}), op(2, 5, 30, grant{a, b}), op(3, 20, 40, may{events.RegionB}), op(1, 41, 50, commit{events.RegionB}), op(4, 42, 43, read{b})}
	if !porcupine.CheckOperations(ownershipModel(a), good) {
		t.Error("a right history is refused")
	}
	for name, wrong := range map[string]porcupine.Operation{
		"a commit in a after b was seen to own it": op(5, 44, 45, commit{events.RegionA}),
		"a region that still says yes":             op(5, 44, 45, may{events.RegionA}),
		"a read of what was":                       op(5, 51, 52, read{a}),
		"a second grant over the same":             op(5, 44, 60, grant{a, b}),
	} {
		if porcupine.CheckOperations(ownershipModel(a), append(good[:len(good):len(good)], wrong)) {
			t.Errorf("%s is taken", name)
		}
	}
}
