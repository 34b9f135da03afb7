package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// members are cells of all etcd members at once: each is asked by a client of its own, and the first answer counts. One that a partition or a stop has taken away
// holds nothing up.
type members []*clientv3.Client

// eachMember connects to the members of regions, of all when none is named; the caller closes them.
func (o *operator) eachMember(ctx context.Context, regions ...layout.Region) (members, error) {
	if len(regions) == 0 {
		regions = layout.Regions
	}
	var all members
	for _, r := range regions {
		client, err := o.etcd(ctx, r)
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, client)
	}
	return all, nil
}

func (m members) close() {
	for _, client := range m {
		_ = client.Close()
	}
}

// Read implements cells. Reads are linearizable, so that no answer is a stale one.
func (m members) Read(ctx context.Context, key string) ([]byte, int64, error) {
	return m.first(ctx, func(ctx context.Context, c cells) ([]byte, int64, error) { return c.Read(ctx, key) })
}

// ReadBefore implements cells.
func (m members) ReadBefore(ctx context.Context, key string, before int64) ([]byte, int64, error) {
	return m.first(ctx, func(ctx context.Context, c cells) ([]byte, int64, error) { return c.ReadBefore(ctx, key, before) })
}

// Swap implements cells by refusing: a drill only looks.
func (m members) Swap(context.Context, string, int64, []byte) (bool, error) {
	return false, errors.New("a drill writes nothing into etcd")
}

func (m members) first(ctx context.Context, read func(ctx context.Context, c cells) ([]byte, int64, error)) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	type answer struct {
		value    []byte
		revision int64
		err      error
	}
	answers := make(chan answer, len(m))
	for _, client := range m {
		go func() {
			value, revision, err := read(ctx, etcdCells{client})
			answers <- answer{value, revision, err}
		}()
	}
	var all []error
	for range m {
		a := <-answers
		if a.err == nil {
			return a.value, a.revision, nil
		}
		all = append(all, a.err)
	}
	return nil, 0, errors.Join(all...)
}

// strain is how hard the machine was pressed: a timing that is missed on a starved machine says nothing about the protocol. What is unsafe is unsafe on any.
type strain struct {
	EtcdGap float64 `json:"etcd_gap_seconds"` // longest time without an answer of any member
	Overrun float64 `json:"overrun_seconds"`  // longest time that a goroutine slept beyond what it asked for
	Starved bool    `json:"starved"`
}

// What a machine may do to the timings of the local profile before they mean nothing (protocol.md: E and P).
const (
	starvedGap   = 2500 * time.Millisecond
	starvedPause = 450 * time.Millisecond
)

func (s strain) String() string {
	text := fmt.Sprintf("etcd was silent for at most %.2f s, a sleep overran by at most %.3f s", s.EtcdGap, s.Overrun)
	if s.Starved {
		text += ": **starved**"
	}
	return text
}

// observer keeps every revision of the failover's state, where the timelines parted, and the machine's strain.
type observer struct {
	cells  cells
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	course course
	forks  map[int64]events.LSN // by the timeline that was left
	strain strain
}

// observe begins; from is the state at the revision last.
func observe(ctx context.Context, c cells, from state.Failover, last int64) *observer {
	ctx, cancel := context.WithCancel(ctx)
	o := &observer{cells: c, cancel: cancel, forks: map[int64]events.LSN{}}
	o.course.add(from)
	o.wait.Go(func() { o.follow(ctx, last) })
	o.wait.Go(func() { o.feel(ctx) })
	return o
}

func (o *observer) follow(ctx context.Context, last int64) {
	heard := time.Now()
	every(ctx, pollEvery/2, func() bool {
		limited, cancel := context.WithTimeout(ctx, etcdAnswer)
		defer cancel()
		newer, revision, err := revisions(limited, o.cells, last)
		if ctx.Err() != nil {
			return true
		}
		forks := map[int64]events.LSN{}
		for _, f := range newer {
			if timeline, at, known := o.fork(limited, f); known {
				forks[timeline] = at
			}
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.strain.EtcdGap = max(o.strain.EtcdGap, seconds(time.Since(heard)))
		if err != nil {
			return false
		}
		heard, last = time.Now(), revision
		for _, f := range newer {
			o.course.add(f)
		}
		maps.Copy(o.forks, forks)
		return false
	})
}

// fork reads which timeline a promotion left, and where, from the promoted region's own report, as soon as the promotion is granted.
func (o *observer) fork(ctx context.Context, f state.Failover) (left int64, at events.LSN, known bool) {
	if f.Intent == nil || !f.Intent.Done(state.PhasePromoted) {
		return 0, 0, false
	}
	value, _, err := o.cells.Read(ctx, state.ReportKey(f.Intent.To))
	if err != nil || value == nil {
		return 0, 0, false
	}
	said, err := state.Decode[state.Report](value)
	if err != nil || said.Promotion == nil || !said.Promotion.Done || said.Promotion.Epoch != f.Intent.Epoch {
		return 0, 0, false
	}
	return int64(said.Promotion.Timeline) - 1, said.Promotion.LSN, true
}

// feel measures how late this process runs.
func (o *observer) feel(ctx context.Context) {
	const nap = 20 * time.Millisecond
	for ctx.Err() == nil {
		slept := time.Now()
		time.Sleep(nap)
		late := time.Since(slept) - nap
		o.mu.Lock()
		o.strain.Overrun = max(o.strain.Overrun, seconds(late))
		o.mu.Unlock()
	}
}

func (o *observer) last() state.Failover {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.course.states[len(o.course.states)-1]
}

// epoch is that of the last state in which a region took the writes.
func (o *observer) epoch() uint64 { return uint64(o.last().Epoch) }

// stop ends the watch. Where the fault itself was that etcd is silent, its silence is no sign of a starved machine.
func (o *observer) stop(silenced bool) {
	o.cancel()
	o.wait.Wait()
	o.strain.Starved = o.strain.EtcdGap > starvedGap.Seconds() && !silenced || o.strain.Overrun > starvedPause.Seconds()
}
