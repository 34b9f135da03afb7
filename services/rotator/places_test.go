package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	chassis "github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// counted are hands that note what they are asked for.
type counted struct {
	hands
	done    []string
	refuses error
}

func (h *counted) Renew(context.Context, string, time.Duration) (time.Duration, bool, error) {
	h.done = append(h.done, "renew")
	return time.Hour, false, h.refuses
}

func (h *counted) End(_ context.Context, a rotation.End) (rotation.Ended, error) {
	h.done = append(h.done, "end")
	return rotation.Ended{Number: a.Number}, h.refuses
}

func (h *counted) Reconcile(context.Context, recorded) (differences, error) {
	h.done = append(h.done, "compare")
	return differences{}, h.refuses
}

// onePlace is a credential under a rotator with one place for what keeps credentials alive, and one for what ends them.
func onePlace(h *counted) *term {
	r := &rotator{
		metrics: newMetrics(chassis.New(name)), log: slog.New(slog.DiscardHandler), vault: vault.New(nil, "", "", ""), slots: make(chan struct{}, 1), endings: make(chan struct{}, 1),
	}
	return &term{rotated: &rotated{rotator: r, hands: h}, failures: map[any]failure{}}
}

// TestACredentialIsRenewedWhileTheEndsOfOthersTakeTheirTime has all places of ends taken, as by a database that cannot be reached.
func TestACredentialIsRenewedWhileTheEndsOfOthersTakeTheirTime(t *testing.T) {
	t.Parallel()
	h := &counted{}
	c := onePlace(h)
	c.endings <- struct{}{} // another's
	act := func(then ...rotation.Action) time.Duration {
		t.Helper()
		pause := make(chan time.Duration, 1)
		go func() { pause <- c.act(t.Context(), state.Credential{}, then, time.Now()) }()
		select {
		case pause := <-pause:
			return pause
		case <-time.After(20 * time.Second):
			t.Fatal("it waits behind another credential's end")
			return 0
		}
	}
	if pause := act(rotation.End{Number: 1}); pause > look || len(h.done) != 0 {
		t.Errorf("without a place it does %v and looks again after %s, want nothing and %s", h.done, pause, look)
	}
	act(rotation.End{Number: 1}, rotation.Renew{Number: 2})
	if !slices.Equal(h.done, []string{"renew"}) {
		t.Errorf("it does %v, want the renewal", h.done)
	}
	<-c.endings
	act(rotation.End{Number: 1})
	if !slices.Equal(h.done, []string{"renew", "end"}) || len(c.endings) != 0 || len(c.slots) != 0 {
		t.Errorf("with a place it does %v; places taken: %d and %d", h.done, len(c.endings), len(c.slots))
	}
}

// TestAnActionThatWaitsForAPlaceEndsWithTheLeadership has the other place taken for good.
func TestAnActionThatWaitsForAPlaceEndsWithTheLeadership(t *testing.T) {
	t.Parallel()
	h := &counted{}
	c := onePlace(h)
	c.slots <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.act(ctx, state.Credential{}, []rotation.Action{rotation.Renew{Number: 1}}, time.Now())
	}()
	cancel()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Fatal("it still waits")
	}
	if len(h.done) != 0 {
		t.Errorf("it does %v after its leadership", h.done)
	}
}

func TestAnActionThatFailsWaitsByTheTableAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	h := &counted{refuses: errors.New("the database is away")}
	c := onePlace(h)
	now := time.Now()
	for range 5 {
		c.act(t.Context(), state.Credential{}, []rotation.Action{rotation.End{Number: 1}, rotation.End{Number: 2}}, now)
	}
	if len(h.done) != 2 || c.failures[rotation.End{Number: 1}].count != 1 {
		t.Errorf("five looks at one time ask %d times, want once for each", len(h.done))
	}
	for count := range 3 {
		now = c.failures[rotation.End{Number: 1}].until
		before := time.Now()
		c.act(t.Context(), state.Credential{}, []rotation.Action{rotation.End{Number: 1}}, now)
		until := c.failures[rotation.End{Number: 1}].until
		if until.Before(before.Add(backoff[count+1])) || until.After(time.Now().Add(backoff[count+1])) {
			t.Errorf("after %d failures it waits %s, want %s", count+2, until.Sub(before), backoff[count+1])
		}
	}
}
