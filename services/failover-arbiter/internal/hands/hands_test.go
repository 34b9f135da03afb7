package hands

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/supervisor"
)

// world is a region of which each part can be told to fail. It keeps what was done to it, in order.
type world struct {
	mu     sync.Mutex
	acts   []string
	open   map[haproxy.Pool]bool
	look   func() (postgres.Condition, error)
	fence  func(ctx context.Context) ([]int, error)
	epoch  events.Epoch
	primed []mandate.Learned

	failover   *state.Failover
	found      cluster.Condition
	ahead      postgres.Branch
	follower   postgres.Follower
	status     supervisor.Status
	lets       error // of a login
	stuck      error // of a rewind
	stuckStop  error // of a fast stop
	unwritable error // of the rules
	remade     *cluster.Remade
	noted      *cluster.Remade // of it, when a rewind began
	reported   state.Report
	wrong      []error
}

func (w *world) did(act string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.acts); n == 0 || w.acts[n-1] != act {
		w.acts = append(w.acts, act)
	}
}

func (w *world) has(act string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, done := range w.acts {
		if done == act {
			return true
		}
	}
	return false
}

type proxy struct{ *world }

func (p proxy) set(pool haproxy.Pool, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[pool] = open
}

func (p proxy) Open(_ context.Context, pool haproxy.Pool) error {
	p.set(pool, true)
	p.did("open " + string(pool))
	return nil
}

func (p proxy) Close(_ context.Context, pool haproxy.Pool) error {
	p.set(pool, false)
	p.did("close " + string(pool))
	return nil
}

func (p proxy) Opened(context.Context) (map[haproxy.Pool]bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[haproxy.Pool]bool{haproxy.Database: p.open[haproxy.Database], haproxy.Read: p.open[haproxy.Read]}, nil
}

type database struct{ *world }

func (d database) Look(context.Context) (postgres.Condition, error) { return d.look() }
func (d database) Heartbeat(context.Context, postgres.Beat) (int64, error) {
	d.did("heartbeat")
	return 1, nil
}
func (d database) Epoch(context.Context) (events.Epoch, error) { return d.epoch, nil }
func (d database) RaiseEpoch(_ context.Context, epoch events.Epoch) error {
	if epoch < d.epoch {
		return postgres.ErrEpochSeen
	}
	return nil
}
func (d database) Admit(context.Context) error { d.did("admit"); return nil }
func (d database) Bar() error {
	d.did("bar")
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unwritable
}
func (d database) Fence(ctx context.Context, _, pause time.Duration, refuses func(context.Context) error) (postgres.Fenced, error) {
	d.did("fence")
	if pause == 0 {
		d.did("fence at once")
	}
	refused := refuses(ctx) == nil
	counts, err := d.fence(ctx)
	return postgres.Fenced{Counts: counts, Refused: refused}, err
}

func (d database) WaitFor(_ context.Context, names string) (bool, error) {
	d.did("wait for " + names)
	return true, nil
}
func (d database) Follower(context.Context, string) (postgres.Follower, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.follower, nil
}

func (d database) Withdraw(context.Context) error { d.did("withdraw"); return nil }
func (d database) Promote(context.Context, time.Duration) error {
	d.did("promote")
	return nil
}
func (d database) Branch(context.Context) (postgres.Branch, error) {
	return postgres.Branch{Timeline: 2, LSN: 7}, nil
}
func (d database) RenewSlot(_ context.Context, name string) error { d.did("slot " + name); return nil }
func (d database) DropSlots(context.Context) error                { d.did("drop slots"); return nil }
func (d database) Reload(context.Context) error                   { d.did("reload"); return nil }
func (d database) Checkpoint(context.Context) error               { d.did("checkpoint"); return nil }
func (d database) Pulse(context.Context) (postgres.Pulse, error)  { return postgres.Pulse{}, nil }

type boss struct{ *world }

func (s boss) StopImmediately(context.Context) error { s.did("stop"); return nil }
func (s boss) StopFast(context.Context) error        { s.did("stop fast"); return s.stuckStop }
func (s boss) Start(context.Context) error           { s.did("start"); return nil }
func (s boss) Status(context.Context) (supervisor.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, nil
}

type door struct{ *world }

func (d door) Refuses(context.Context) error {
	d.did("try a login")
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lets
}

type files struct{ *world }

func (f files) Look() (cluster.Condition, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found, nil
}
func (f files) Control(context.Context) (cluster.Control, error) {
	return cluster.Control{ShutDown: true, Timeline: 1, End: 90}, nil
}
func (f files) NoteStop() error   { f.did("note stop"); return nil }
func (f files) ForgetStop() error { f.did("forget stop"); return nil }
func (f files) Follow() error     { f.did("follow"); return nil }
func (f files) Branch(context.Context, int) error {
	f.did("branch")
	return nil
}
func (f files) NoteRemade(r cluster.Remade) error {
	f.set(func() { f.remade = &r })
	return nil
}
func (f files) Remade() (*cluster.Remade, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remade, nil
}
func (f files) ForgetRemade() error {
	f.set(func() { f.remade = nil })
	return nil
}
func (f files) Copy(context.Context, cluster.Source) (string, error) {
	f.did("copy")
	return "kept", nil
}

func (f files) Rewind(context.Context, string, cluster.Control, events.LSN) (string, error) {
	f.did("rewind")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted = f.remade
	return "wal", f.stuck
}

type upstream struct{ *world }

func (u upstream) Prepare(context.Context, int) (postgres.Branch, error) {
	u.did("prepare")
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ahead, nil
}

type reports struct{ *world }

func (r reports) Put(_ context.Context, report state.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := report.Validate(); err != nil {
		r.wrong = append(r.wrong, err)
	}
	r.reported = report
	return nil
}

// said is the newest report.
func (w *world) said() state.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reported
}

// set changes the world while hands work on it.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

type epochs struct{}

func (epochs) Seen() events.Epoch       { return 0 }
func (epochs) Raise(events.Epoch) error { return nil }

// run starts hands on a world, at a fiftieth of the local timing.
func run(t *testing.T, w *world) *Hands {
	t.Helper()
	w.open = map[haproxy.Pool]bool{}
	if w.look == nil {
		w.look = func() (postgres.Condition, error) { return postgres.Condition{FlushLSN: 100, Timeline: 1}, nil }
	}
	if w.fence == nil {
		w.fence = func(context.Context) ([]int, error) { return []int{0, 0}, nil }
	}
	h := New(Options{
		Region: events.RegionA, Proxy: proxy{w}, Database: database{w}, Supervisor: boss{w}, Epochs: epochs{}, Now: clock.Now, Log: slog.New(slog.DiscardHandler),
		Branching: database{w}, Mirror: database{w}, Door: door{w}, Cluster: files{w}, Upstream: upstream{w}, Reports: reports{w}, Incarnation: "f.p",
		State: func() *state.Failover { w.mu.Lock(); defer w.mu.Unlock(); return w.failover },
		Learned: func(_ context.Context, o mandate.Learned) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.primed = append(w.primed, o)
		},
		Every: 10 * time.Millisecond, Deadline: 8 * time.Millisecond, FenceIn: 100 * time.Millisecond, Pause: 20 * time.Millisecond, PromoteIn: 50 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		for _, err := range w.wrong {
			t.Errorf("a report that nobody can read: %v", err)
		}
	})
	return h
}

func await(t *testing.T, w *world, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Fatalf("never: %s; done: %v", what, w.acts)
		}
	}
}

func TestADatabaseThatCannotBeFencedIsStoppedAndStartedBehindFencedRules(t *testing.T) {
	var closing sync.Map
	w := &world{fence: func(ctx context.Context) ([]int, error) {
		if _, yes := closing.Load("yes"); !yes {
			return []int{0, 0}, nil
		}
		<-ctx.Done()
		return []int{3}, ctx.Err()
	}}
	h := run(t, w)
	h.Open(1)
	await(t, w, "the proxy is opened", func() bool { return w.has("open db/local") })
	closing.Store("yes", true)
	h.Close("test")
	h.Fence(1)
	await(t, w, "PostgreSQL is stopped and started", func() bool { return w.has("stop") && w.has("start") })
	if !w.has("close db/local") {
		t.Error("the proxy was not closed")
	}
}

// openThenSilent is a database that applications were let in to, and that does not answer any more.
func openThenSilent(t *testing.T) (*world, *Hands) {
	t.Helper()
	var silent sync.Map
	w := &world{look: func() (postgres.Condition, error) {
		if _, yes := silent.Load("yes"); yes {
			return postgres.Condition{}, errors.New("no answer")
		}
		return postgres.Condition{}, nil
	}}
	h := run(t, w)
	h.Open(1)
	await(t, w, "the proxy is opened", func() bool { return w.has("open db/local") })
	silent.Store("yes", true)
	return w, h
}

func TestASilentDatabaseIsStoppedThoughItsRulesCannotBeWritten(t *testing.T) {
	w, h := openThenSilent(t)
	w.set(func() { w.unwritable = errors.New("no space left on device") })
	h.Close("test")
	await(t, w, "it is stopped", func() bool { return w.has("stop") })
	time.Sleep(50 * time.Millisecond)
	if w.has("start") {
		t.Error("started behind rules that let applications in")
	}
}

func TestADatabaseThatWasOpenAndGoesSilentIsStopped(t *testing.T) {
	w, h := openThenSilent(t)
	time.Sleep(150 * time.Millisecond)
	if w.has("stop") {
		t.Error("stopped under the mandate: its restart budget is not the fence's matter")
	}
	h.Close("test")
	await(t, w, "it is stopped", func() bool { return w.has("bar") && w.has("stop") })
}

func TestAStandbyThatRestartsIsNeverStopped(t *testing.T) {
	var silent sync.Map
	w := &world{look: func() (postgres.Condition, error) {
		if _, yes := silent.Load("yes"); yes {
			return postgres.Condition{}, errors.New("no answer")
		}
		return postgres.Condition{Standby: true}, nil
	}}
	h := run(t, w)
	await(t, w, "readers are let in", func() bool { return w.has("open read/local") })
	silent.Store("yes", true)
	await(t, w, "readers are out", func() bool { return w.has("close read/local") })
	time.Sleep(200 * time.Millisecond)
	if w.has("stop") || w.has("fence") {
		t.Error("a standby was stopped or fenced because it did not answer")
	}
	if yes, why := h.Standby(); yes || why != "no answer" {
		t.Errorf("/standby would say %t, %q", yes, why)
	}
}

func TestAnOrderToOpenDoesNotWaitForAFence(t *testing.T) {
	w := &world{fence: func(ctx context.Context) ([]int, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	h := run(t, w)
	await(t, w, "the fence is under way", func() bool { return w.has("fence") })
	h.Open(1)
	await(t, w, "it is open", func() bool { return w.has("open db/local") })
	if w.has("stop") {
		t.Error("stopped by an abandoned fence")
	}
}

func TestADatabaseThatHasSeenAHigherEpochIsNotOpened(t *testing.T) {
	w := &world{epoch: 4}
	h := run(t, w)
	h.Open(3)
	await(t, w, "the higher epoch is told", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.primed) > 0 && w.primed[len(w.primed)-1] == mandate.Learned{Epoch: 4, Primary: true}
	})
	time.Sleep(50 * time.Millisecond)
	if w.has("admit") || w.has("open db/local") || w.has("heartbeat") {
		t.Errorf("opened: %v", w.acts)
	}
}

func TestAPoolOpenedByAStrayHandIsClosed(t *testing.T) {
	w := &world{}
	run(t, w)
	await(t, w, "the fence is made", func() bool { return w.has("fence") })
	proxy{w}.set(haproxy.Database, true)
	await(t, w, "it is closed", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.open[haproxy.Database] })
}

func TestAPrimaryThatARestartedArbiterCannotFenceIsStopped(t *testing.T) {
	w := &world{fence: func(ctx context.Context) ([]int, error) {
		<-ctx.Done()
		return []int{3}, ctx.Err()
	}}
	run(t, w) // never ordered to open, so it has let nobody in
	await(t, w, "PostgreSQL is stopped and started", func() bool { return w.has("stop") && w.has("start") })
}

func TestASilentDatabaseThatARestartedArbiterHasNeverSeenIsStoppedOnlyIfItMayServe(t *testing.T) {
	for name, c := range map[string]struct {
		state string
		files cluster.Condition
		stop  bool
	}{
		"a primary that was ready":       {"ready", cluster.Condition{Exists: true}, true},
		"a primary that starts":          {"starting", cluster.Condition{Exists: true}, false},
		"a primary that was stopped":     {"stopped", cluster.Condition{Exists: true}, false},
		"a standby that was ready":       {"ready", cluster.Condition{Exists: true, Standby: true}, false},
		"a cluster that is being remade": {"ready", cluster.Condition{Exists: true, InProgress: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{status: supervisor.Status{State: c.state}, found: c.files, look: func() (postgres.Condition, error) {
				return postgres.Condition{}, errors.New("no answer")
			}}
			run(t, w)
			await(t, w, "the fenced rules are in place", func() bool { return w.has("bar") })
			if c.stop {
				await(t, w, "it is stopped", func() bool { return w.has("stop") })
			}
			time.Sleep(200 * time.Millisecond)
			stops := 0
			w.set(func() {
				for _, act := range w.acts {
					if act == "stop" {
						stops++
					}
				}
			})
			if want := map[bool]int{true: 1}[c.stop]; stops != want {
				t.Errorf("stopped %d times, want %d", stops, want)
			}
		})
	}
}

func TestAPrimaryThatWasFencedAndGoesSilentIsNotStopped(t *testing.T) {
	var silent sync.Map
	w := &world{status: supervisor.Status{State: supervisor.Ready}, found: cluster.Condition{Exists: true}, look: func() (postgres.Condition, error) {
		if _, yes := silent.Load("yes"); yes {
			return postgres.Condition{}, errors.New("no answer")
		}
		return postgres.Condition{StartedAt: time.Unix(1, 0)}, nil
	}}
	h := run(t, w)
	await(t, w, "it is fenced", func() bool { return h.Counts().Fences.Load() > 0 })
	silent.Store("yes", true)
	time.Sleep(200 * time.Millisecond)
	if w.has("stop") {
		t.Error("stopped although nobody can be in it")
	}
}
