package keeper

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	chassisetcd "github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// away is an etcd that never answers.
type away struct{}

func (away) fail(ctx context.Context) mandate.Observation {
	<-ctx.Done()
	return mandate.Failed{Reason: ctx.Err().Error()}
}
func (a away) Read(ctx context.Context) mandate.Observation { return a.fail(ctx) }
func (a away) Renew(ctx context.Context, _ mandate.Renew, _ etcd.Facts) mandate.Observation {
	return a.fail(ctx)
}
func (a away) Take(ctx context.Context, _ mandate.Take, _ etcd.Facts) mandate.Observation {
	return a.fail(ctx)
}

func TestAnEtcdThatIsAwayIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		began := time.Now()
		requests := 0
		k := New(mandate.Settings{Region: "a", Validity: 5 * time.Second, Renew: 500 * time.Millisecond, Look: 100 * time.Millisecond}, Options{
			Store: away{}, Log: slog.New(slog.NewTextHandler(&out, nil)), Deadline: 400 * time.Millisecond, Tick: 100 * time.Millisecond,
			Now:   func() mandate.Instant { return mandate.Instant{Boot: time.Since(began) + time.Hour, Wall: time.Now()} },
			Tally: func(string, time.Duration) { requests++ },
		})
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if said := strings.Count(out.String(), "etcd did not answer in time"); said != 3 || requests < 100 {
			t.Errorf("told %d times of %d failures in 150 s, want 3:\n%s", said, requests, out.String())
		}
	})
}

// once renews one time, and is away from then on.
type once struct {
	away
	now  func() mandate.Instant
	sent mandate.Instant
}

func (*once) Read(context.Context) mandate.Observation {
	return mandate.Seen{
		Failover: &state.Failover{Epoch: 1, Active: "a", Phase: state.PhaseSteady}, FailoverRevision: 1,
		Mandate: &state.Mandate{Owner: "a", Epoch: 1, Incarnation: "f.p"}, MandateRevision: 2,
	}
}

func (o *once) Renew(ctx context.Context, a mandate.Renew, _ etcd.Facts) mandate.Observation {
	if o.sent.Boot != 0 {
		return o.fail(ctx)
	}
	o.sent = o.now()
	return mandate.Renewed{Number: a.Number, Sent: o.sent, Revision: 3, FailoverRevision: 1}
}

// doors note when they were opened and closed.
type doors struct {
	now            func() mandate.Instant
	opened, closed time.Duration
	noticed        int
}

func (d *doors) Open(events.Epoch)   { d.opened = d.now().Boot }
func (d *doors) Close(string)        { d.closed = d.now().Boot }
func (*doors) Fence(events.Epoch)    {}
func (d *doors) Noticed()            { d.noticed++ }
func (*doors) Facts() (f etcd.Facts) { return f }

func TestItClosesAtTheMomentAtWhichFOfTheMandateIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() mandate.Instant { return mandate.Instant{Boot: time.Since(began) + time.Hour, Wall: time.Now()} }
		store, hands := &once{now: now}, &doors{now: now}
		k := New(mandate.Settings{Region: "a", Incarnation: mandate.Incarnation{Folder: "f", Process: "p"}, Validity: 5 * time.Second, Fence: 1490 * time.Millisecond, Renew: 500 * time.Millisecond}, Options{
			Store: store, Hands: hands, Log: slog.New(slog.DiscardHandler), Deadline: 400 * time.Millisecond, Tick: 200 * time.Millisecond, Now: now, Tally: func(string, time.Duration) {},
		})
		k.Learned(t.Context(), mandate.Learned{Epoch: 1, Primary: true})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if left := store.sent.Boot + 5*time.Second - hands.closed; hands.opened < store.sent.Boot || left != 1490*time.Millisecond || hands.noticed != 1 {
			t.Errorf("renewed at %s, opened at %s, closed with %s left; told of the state %d times", store.sent.Boot, hands.opened, left, hands.noticed)
		}
	})
}

// hampered is an etcd whose own member is silent in the renewals that the test says, while the others take nearly all of q to answer.
type hampered struct {
	once
	nearest *chassisetcd.Nearest
	own     *clientv3.Client
	silent  func(renewal int) bool
	takes   time.Duration

	asked, lost int
	sent        mandate.Instant
	longest     time.Duration // between two renewals that succeeded
}

func (h *hampered) Renew(ctx context.Context, a mandate.Renew, _ etcd.Facts) mandate.Observation {
	sent, n := h.now(), h.asked
	h.asked++
	_, err := chassisetcd.Ask(ctx, h.nearest, func(ctx context.Context, member *clientv3.Client) (struct{}, error) {
		late := time.After(h.takes)
		switch {
		case member != h.own:
		case h.silent(n):
			late = nil
		default:
			return struct{}{}, nil
		}
		select {
		case <-late:
			return struct{}{}, nil
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	})
	if err != nil {
		h.lost++
		return mandate.Failed{Reason: err.Error()}
	}
	if h.sent.Boot != 0 {
		h.longest = max(h.longest, sent.Boot-h.sent.Boot)
	}
	h.sent = sent
	return mandate.Renewed{Number: a.Number, Sent: sent, Revision: int64(3 + n), FailoverRevision: 1}
}

func TestAHolderUnderASilentMemberLosesAtMostOneRenewalAndNeverItsMandate(t *testing.T) {
	for _, p := range []timing.Profile{timing.Local(), timing.WAN()} {
		for _, c := range []struct {
			name   string
			silent func(renewal int) bool
			takes  time.Duration
			lost   func(asked, lost int) bool
		}{
			{"it stays silent", func(n int) bool { return n >= 3 }, p.RenewDeadline - p.Patience() - time.Millisecond, func(_, lost int) bool { return lost == 0 }},
			{"it stays silent, the others are slow", func(n int) bool { return n >= 3 }, p.RenewDeadline - time.Millisecond, func(_, lost int) bool { return lost == 1 }},
			{"it is silent whenever it is asked alone", func(n int) bool { return n%2 == 1 }, p.RenewDeadline - time.Millisecond, func(asked, lost int) bool { return lost == asked/2 }},
		} {
			t.Run(p.Name+": "+c.name, func(t *testing.T) {
				members := []*clientv3.Client{clientv3.NewCtxClient(t.Context()), clientv3.NewCtxClient(t.Context()), clientv3.NewCtxClient(t.Context())}
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					now := func() mandate.Instant { return mandate.Instant{Boot: time.Since(began) + time.Hour, Wall: time.Now()} }
					store, hands := &hampered{once: once{now: now}, nearest: chassisetcd.NewNearest(members, p.Patience()), own: members[0], silent: c.silent, takes: c.takes}, &doors{now: now}
					k := New(mandate.Settings{Region: "a", Incarnation: mandate.Incarnation{Folder: "f", Process: "p"}, Validity: p.Mandate, Delta: p.Delta, Fence: p.Fence, Renew: p.Renew}, Options{
						Store: store, Hands: hands, Log: slog.New(slog.DiscardHandler), Deadline: p.RenewDeadline, Tick: p.Tick, Now: now, Tally: func(string, time.Duration) {},
					})
					k.Learned(t.Context(), mandate.Learned{Epoch: 1, Primary: true})
					ctx, cancel := context.WithTimeout(t.Context(), 40*p.Renew+p.Renew/2)
					defer cancel()
					go func() { _ = k.Run(ctx) }()
					time.Sleep(40 * p.Renew)
					synctest.Wait()
					if hands.opened == 0 || hands.closed > hands.opened || store.asked < 39 || !c.lost(store.asked, store.lost) || store.longest > 2*p.Renew {
						t.Errorf("opened at %s, closed at %s; of %d renewals %d were lost, %s at most between two", hands.opened, hands.closed, store.asked, store.lost, store.longest)
					}
					cancel()
					synctest.Wait()
				})
			})
		}
	}
}
