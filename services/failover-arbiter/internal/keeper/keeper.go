// Package keeper runs the decisions of package mandate: it asks etcd for what they want, gives the hands their orders, and publishes the answers.
package keeper

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// Store is where the mandate stands. Each call gives the observation that it led to, within the context's deadline; it is never called twice at once.
type Store interface {
	Read(ctx context.Context) mandate.Observation
	Renew(ctx context.Context, a mandate.Renew, facts etcd.Facts) mandate.Observation
	Take(ctx context.Context, a mandate.Take, facts etcd.Facts) mandate.Observation
}

// Hands act in the region. The calls return at once; the acts follow.
type Hands interface {
	Open(epoch events.Epoch)
	Close(reason string)
	Fence(epoch events.Epoch)
	Noticed()          // another phase or epoch of the failover's state
	Facts() etcd.Facts // of the database as it was last seen
}

// Keeper holds one arbiter's state. Run is called once; all other methods may be called at any time by anyone, and none of them waits.
type Keeper struct {
	store    Store
	hands    Hands
	now      func() mandate.Instant
	log      *slog.Logger
	deadline time.Duration
	tick     time.Duration

	state        mandate.State
	observations chan mandate.Observation // never closed
	published    atomic.Pointer[View]
	tally        func(outcome string, took time.Duration)
	silent       *notice.Notice // etcd
}

// View is what a keeper publishes after each decision.
type View struct {
	Answer    mandate.Answer
	Config    *state.Config   // what all regions must agree on; nil: none seen
	Mandate   *state.Mandate  // nil: none seen
	Failover  *state.Failover // the whole state, for the hands; nil: none seen
	Epoch     events.Epoch    // the state's, 0 when there is none
	Known     events.Epoch
	Until     time.Duration // end of the own validity on the boot clock; 0: none
	LookedAt  time.Duration // when etcd last answered, on the boot clock; 0: never
	EndsAt    time.Duration // when the seen mandate has ended for everyone, on the boot clock
	Remaining time.Duration // of the own validity, when this was published
}

// Options are what a keeper works with. Tally is told the outcome of each request to etcd: renewed, refused, failed or read.
type Options struct {
	Store    Store
	Hands    Hands // nil in a region without data
	Now      func() mandate.Instant
	Log      *slog.Logger
	Deadline time.Duration // q
	Tick     time.Duration
	Tally    func(outcome string, took time.Duration)
}

// shortest keeps a clock that stands still from making a keeper spin.
const shortest = time.Millisecond

// New makes a keeper; nothing happens before Run.
func New(settings mandate.Settings, o Options) *Keeper {
	k := &Keeper{
		store: o.Store, hands: o.Hands, now: o.Now, log: o.Log, deadline: o.Deadline, tick: o.Tick, tally: o.Tally,
		state: mandate.New(settings), observations: make(chan mandate.Observation, 16),
		silent: notice.New(o.Log, "etcd did not answer in time", func() time.Time { return o.Now().Wall }),
	}
	k.published.Store(&View{Answer: k.state.Answer()})
	return k
}

// View is the newest publication. It must not be changed.
func (k *Keeper) View() *View { return k.published.Load() }

// Learned tells what the region's files and database know. It waits only while sixteen observations are ahead.
func (k *Keeper) Learned(ctx context.Context, o mandate.Learned) {
	select {
	case k.observations <- o:
	case <-ctx.Done():
	}
}

// Run decides until ctx ends; it then gives its last orders, to close and to fence, and returns.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(k.tick)
	defer timer.Stop()
	for {
		var o mandate.Observation = mandate.Ticked{}
		select {
		case <-ctx.Done():
			k.decide(ctx, mandate.Stopped{})
			return nil
		case o = <-k.observations:
		case <-timer.C:
		}
		k.decide(ctx, o)
		timer.Reset(k.idle())
	}
}

// idle is how long nothing is due: until the decisions want to be woken, and a tick at most, in which a clock that jumped is noticed.
func (k *Keeper) idle() time.Duration {
	return max(min(k.state.Wake()-k.now().Boot, k.tick), shortest)
}

func (k *Keeper) decide(ctx context.Context, o mandate.Observation) {
	now := k.now()
	var actions []mandate.Action
	k.state, actions = mandate.Decide(k.state, o, now)
	k.publish(o, now)
	for _, action := range actions {
		k.act(ctx, action)
	}
}

// publish comes before the acts: /mandate says no before anything is closed.
func (k *Keeper) publish(o mandate.Observation, now mandate.Instant) {
	view := View{Answer: k.state.Answer(), Known: k.state.Known(), Remaining: k.state.Remaining(now), LookedAt: k.published.Load().LookedAt}
	if view.Remaining > 0 {
		view.Until = now.Boot + view.Remaining
	}
	if seen := k.state.Seen(); seen != nil {
		view.Mandate, view.Config = seen.Mandate, seen.Config
		if seen.Failover != nil {
			view.Failover, view.Epoch = seen.Failover, seen.Failover.Epoch
		}
	}
	_, view.EndsAt = k.state.EndedAt()
	last := k.published.Load().Failover
	switch o := o.(type) {
	case mandate.Seen, mandate.Renewed:
		view.LookedAt = now.Boot
		k.silent.Note(nil)
	case mandate.Failed:
		k.silent.Note(errors.New(o.Reason), "remaining", view.Remaining)
	}
	k.published.Store(&view)
	if f := view.Failover; k.hands != nil && f != nil && (last == nil || last.Phase != f.Phase || last.Epoch != f.Epoch) {
		k.hands.Noticed()
	}
}

func (k *Keeper) act(ctx context.Context, action mandate.Action) {
	switch a := action.(type) {
	case mandate.Read:
		k.ask(ctx, func(ctx context.Context) mandate.Observation { return k.store.Read(ctx) }, "read")
	case mandate.Renew:
		k.ask(ctx, func(ctx context.Context) mandate.Observation { return k.store.Renew(ctx, a, k.facts()) }, "refused")
	case mandate.Take:
		k.log.Info("nobody has ever held the mandate: taking the first one")
		k.ask(ctx, func(ctx context.Context) mandate.Observation { return k.store.Take(ctx, a, k.facts()) }, "refused")
	case mandate.Open:
		k.log.Info("holding the mandate", "epoch", a.Epoch)
		if k.hands != nil {
			k.hands.Open(a.Epoch)
		}
	case mandate.Close:
		k.log.Info("not holding the mandate", "reason", a.Reason)
		if k.hands != nil {
			k.hands.Close(a.Reason)
		}
	case mandate.Fence:
		if k.hands != nil {
			k.hands.Fence(a.Epoch)
		}
	}
}

func (k *Keeper) facts() etcd.Facts {
	if k.hands == nil {
		return etcd.Facts{}
	}
	return k.hands.Facts()
}

// ask sends one request; the decisions have but one under way, so its outcome always finds room.
func (k *Keeper) ask(ctx context.Context, request func(context.Context) mandate.Observation, seen string) {
	go func() {
		ctx, cancel := context.WithTimeout(ctx, k.deadline)
		defer cancel()
		began := k.now()
		outcome := request(ctx)
		result := seen
		switch outcome.(type) {
		case mandate.Renewed:
			result = "renewed"
		case mandate.Failed:
			result = "failed"
		}
		k.tally(result, k.now().Boot-began.Boot)
		k.observations <- outcome
	}()
}
