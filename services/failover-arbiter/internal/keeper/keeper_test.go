package keeper

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
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
