package main

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/postgres"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"

	book "github.com/ofitec/ofitec/services/rotator/internal/etcd"
)

// look is how often it is looked who writes and whether somebody has called; failed actions wait by the table.
const look = time.Second

var backoff = []time.Duration{
	500 * time.Millisecond, // after 0.5 s
	time.Second,            // 1.5 s
	2 * time.Second,        // 3.5 s
	5 * time.Second,        // 8.5 s
	15 * time.Second,       // 23.5 s
	30 * time.Second,       // 53.5 s, and so on
}

// passed is told where a leader is between what it does and what it records; a test ends the process there.
var passed = func(point string) {}

// rotator leads, or waits to. The fields are set once.
type rotator struct {
	client      *etcd.Client
	credentials map[string]*rotated
	away        time.Duration // after which a region whose arbiter is silent is not waited for
	stray       time.Duration // a lease that nobody has recorded for so long is ended
	compare     time.Duration // between two comparisons of database, leases and book
	vault       *vault.Engine // of no credential
	database    postgres.Server
	fencers     *fencers
	outbox      *bus.Outbox
	metrics     *metrics
	log         *slog.Logger
	slots       chan struct{} // how many actions are under way
	endings     chan struct{} // and how many that end or compare: what keeps a credential alive does not wait behind them
}

// atOnce is how many credentials are acted on at one time: servers, and a small machine, take no more.
const atOnce = 8

// rotated is one credential. The fields are set once.
type rotated struct {
	*rotator
	policy rotation.Policy
	book   *book.Book
	store  *vault.Engine // its place in KV v2
	hands  hands
	wake   chan struct{} // never closed; holds one call at most
	absent atomic.Pointer[[]events.Region]
}

// call makes the leader look at this credential now.
func (r *rotated) call() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// campaign leads whenever it is this instance's turn, until ctx ends.
func (r *rotator) campaign(ctx context.Context, election etcd.Election) error {
	for {
		leadership, err := r.client.Campaign(ctx, election)
		if err != nil {
			return err
		}
		r.log.InfoContext(ctx, "leads", "term", leadership.Term)
		r.metrics.leader.Set(1)
		r.lead(leadership)                           //nolint:contextcheck // a leadership is a context, and ends with ctx
		cause := context.Cause(leadership.Context()) //nolint:contextcheck // the same
		r.metrics.hide()
		leadership.Resign()
		r.log.InfoContext(ctx, "leads no more", "term", leadership.Term, "cause", cause)
	}
}

// lead acts on all credentials beside each other until the leadership ends.
func (r *rotator) lead(leadership *etcd.Leadership) {
	ctx, stop := context.WithCancel(leadership.Context())
	defer stop()
	var all sync.WaitGroup
	for _, c := range r.credentials {
		all.Go(func() {
			c.lead(ctx, leadership)
			stop() // one whose term is over ends it for all
		})
	}
	all.Go(func() { r.watch(ctx) })
	all.Wait()
	r.fencers.close(ctx)
}

// term is what one leadership knows besides the book.
type term struct {
	*rotated
	leadership *etcd.Leadership
	stored     int64        // current version in KV v2, -1 while unknown
	held       vault.Secret // the one version whose secret is in memory
	holds      int64        // its number
	fence      vault.Fence
	outcome    rotation.Outcome
	failures   map[any]failure // by action, or by what else waits
	unmade     string          // why no version can be made, as others may read it; empty since one was
	looked     time.Time       // when leases were last compared
	compared   time.Time       // when users were
}

type failure struct {
	count  int
	until  time.Time
	notice *notice.Notice
}

// failed notes a failure of something, in words for people, and waits for it by the table.
func (t *term) failed(what any, words string, err error, args ...any) {
	f := t.failures[what]
	if f.notice == nil {
		f.notice = notice.New(t.log, words, nil)
	}
	t.vault.Doubt(err)
	wait := backoff[min(f.count, len(backoff)-1)]
	f.count++
	f.until = time.Now().Add(wait)
	t.failures[what] = f
	f.notice.Note(err, append(args, "attempt", f.count, "again_in", wait.String())...)
}

// well forgets the failures of something that went well.
func (t *term) well(what any) {
	t.failures[what].notice.Note(nil)
	delete(t.failures, what)
}

func (r *rotated) lead(ctx context.Context, leadership *etcd.Leadership) {
	t := &term{rotated: r, leadership: leadership, stored: -1, failures: map[any]failure{}}
	held := notice.New(r.log, "cannot go on", nil)
	for ctx.Err() == nil {
		pause, err := t.turn(ctx)
		if errors.Is(err, etcd.ErrTermOver) {
			break
		}
		held.Note(err)
		if err != nil {
			pause = look
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	t.takeBack(ctx)
}

// takeBack revokes what was made and never recorded: it would only have died by its ttl.
func (t *term) takeBack(ctx context.Context) {
	made, ok := t.outcome.(rotation.Minted)
	if !ok {
		return
	}
	t.outcome = nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := t.hands.Drop(ctx, made.Lease); err != nil {
		t.log.WarnContext(ctx, "a lease that nobody has recorded is left to its ttl", "lease", made.Lease, "error", err)
	}
}

// turn reads, decides, stores, and does one thing. It says how long nothing is due.
func (t *term) turn(ctx context.Context) (time.Duration, error) {
	page, err := t.book.Read(ctx)
	if err != nil {
		return 0, err
	}
	t.lookStored(ctx)
	t.fence = vault.Fence{Epoch: page.Epoch, Term: t.leadership.Term}
	now := time.Now()
	next, with, then := rotation.Decide(page.State.Content, rotation.Observation{
		Active: page.Active, Away: *t.absent.Load(), Epoch: page.Epoch, Held: t.holds, Stored: t.stored, Wish: page.Wish, Results: page.Results, Outcome: t.outcome, Unmade: t.unmade,
	}, t.policy, now)
	next.Term = page.State.Content.Term // the term of the last change
	if len(with) > 0 || page.Heard() || !reflect.DeepEqual(next, page.State.Content) {
		if err := t.book.Store(ctx, t.leadership, page, next, with, now); err != nil {
			if errors.Is(err, etcd.ErrConflict) {
				return 0, nil // read again, with the same outcome
			}
			return 0, err
		}
		passed("stored " + kind(t.outcome))
		t.tell(ctx, page.State.Content, next)
		t.outbox.Wake()
	}
	t.forget(ctx, next)
	t.metrics.show(next, t.policy, now)
	pause := t.act(ctx, next, then, now)
	if t.outcome == nil {
		t.reconcile(ctx, now)
	}
	if t.stored < 0 {
		pause = min(pause, look) // until Vault is there
	}
	return min(pause, t.untilComparison()), nil
}

// lookStored asks KV v2 for its current version when that is not known.
func (t *term) lookStored(ctx context.Context) {
	const what = "stored version"
	if t.stored >= 0 || time.Now().Before(t.failures[what].until) || t.vault.Ready(ctx) != nil {
		return
	}
	stored, err := t.store.Stored(ctx)
	if err != nil {
		t.failed(what, "cannot read versions from Vault", err)
		return
	}
	t.well(what)
	t.stored = stored
}

// kind names what is inside an interface; nil is "nothing".
func kind(value any) string {
	if value == nil {
		return "nothing"
	}
	return reflect.TypeOf(value).Name()
}

// tell logs what has changed.
func (t *term) tell(ctx context.Context, before, after state.Credential) {
	stages := map[int64]state.Stage{}
	for _, v := range before.Versions {
		stages[v.Number] = v.Stage
	}
	for _, v := range after.Versions {
		if stages[v.Number] != v.Stage {
			t.log.InfoContext(ctx, "version moves", "credential", after.Name, "number", v.Number, "stage", v.Stage, "user", v.User, "reason", v.Reason)
		}
	}
	if before.Alarm != after.Alarm {
		t.log.WarnContext(ctx, "alarm", "credential", after.Name, "level", after.Alarm)
	}
}

// forget drops the outcome that is stored, and the secret that has no more use.
func (t *term) forget(ctx context.Context, s state.Credential) {
	if made, ok := t.outcome.(rotation.Minted); ok {
		recorded := false
		for _, v := range s.Versions {
			recorded = recorded || v.Lease == made.Lease
		}
		if !recorded {
			t.takeBack(ctx)
		}
	}
	t.outcome = nil
	for _, v := range s.Versions {
		if v.Number == t.holds && v.Stage != state.StageMinted && v.Stage != state.StageTested {
			t.holds, t.held = 0, vault.Secret{}
		}
	}
}

// enter takes a place among what is under way; free gives it back. An end waits for none: who is ended can wait, and this credential's renewals cannot, so that
// without a place free is nil, as it is when ctx is over.
func (t *term) enter(ctx context.Context, action rotation.Action) (free func()) {
	if _, last := action.(rotation.End); last {
		return tryEnter(t.endings)
	}
	select {
	case t.slots <- struct{}{}:
		return func() { <-t.slots }
	case <-ctx.Done():
		return nil
	}
}

// tryEnter takes a place if one is free.
func tryEnter(slots chan struct{}) (free func()) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }
	default:
		return nil
	}
}

// act does the most urgent thing that is not waiting for its back-off.
func (t *term) act(ctx context.Context, s state.Credential, then []rotation.Action, now time.Time) time.Duration {
	pause := max(time.Until(rotation.Next(s, t.policy, now)), 0)
	for _, action := range then {
		if until := t.failures[action].until; now.Before(until) {
			pause = min(pause, time.Until(until))
			continue
		}
		free := t.enter(ctx, action)
		if free == nil {
			pause = min(pause, look)
			continue
		}
		outcome, err := t.do(ctx, action)
		free()
		t.metrics.acted(action, err)
		if _, mint := action.(rotation.Mint); mint {
			t.unmade = unmade(t.policy.Kind, err)
		}
		if err != nil {
			t.failed(action, "action failed", err, "action", kind(action))
			t.stored = -1 // whatever it was: look
			return 0
		}
		passed("did " + kind(action))
		t.well(action)
		t.outcome = outcome
		return 0
	}
	return max(pause, 10*time.Millisecond)
}
