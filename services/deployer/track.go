package main

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"

	book "github.com/ofitec/ofitec/services/deployer/internal/etcd"
)

// track is one credential's rollout in a term: what is known of it besides its book. One at a time is under way, since they share the two colours.
type track struct {
	Credential
	book    *book.Book
	seen    etcd.Value[state.Deployment]
	then    []rollout.Action
	outcome rollout.Outcome
	looked  time.Time // the last reading, of the version below
	version int64
	failed  rollout.Failed
	until   time.Time      // the failed action waits until then
	failing *notice.Notice // the failed action
	wishes  []wish         // that the book has not taken yet, oldest first
}

// wish is a version that a handler waits for the book to take.
type wish struct {
	rollout.Wish
	taken chan struct{} // closed when it is stored, or needs nothing
}

// track is that of a credential; nil for one that is not rolled out here.
func (t *term) track(name string) *track {
	for _, k := range t.tracks {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// underWay is the one that is rolled out; nil when there is none. Of several that were begun, as in a region that was destroyed, the one that has come further.
func (t *term) underWay() (first *track) {
	for _, k := range t.tracks {
		s := k.seen.Content
		if s.Number > 0 && !rollout.Ended(s) && (first == nil || first.seen.Content.Phase == state.DeploymentPlanned && s.Phase != state.DeploymentPlanned) {
			first = k
		}
	}
	return first
}

// levelled is when the rollout of another credential has last brought both colours to the same file; zero for never.
func (t *term) levelled(k *track) (at time.Time) {
	for _, other := range t.tracks {
		if s := other.seen.Content; other != k && t.oneFile == "" && s.Phase == state.DeploymentDone && s.Settled && s.Ended != nil && s.Ended.After(at) {
			at = *s.Ended
		}
	}
	return at
}

func (k *track) read(ctx context.Context) (err error) {
	if k.seen, err = k.book.Read(ctx); err != nil {
		return err
	}
	if number := k.seen.Content.Number; number != k.version {
		k.version, k.looked = number, time.Time{}
	}
	return nil
}

// decide takes the next step in a track's book. It was not stored when somebody else has written meanwhile: all is then read again, with the same outcome.
func (t *term) decide(ctx context.Context, k *track, traffic rollout.Traffic) (stored bool, err error) {
	before, first := k.seen.Content, t.underWay()
	o := rollout.Observation{
		Traffic: traffic, Forgotten: t.proxy.Forgotten(), Looked: k.looked, Outcome: k.outcome, Taken: first != nil && first != k || t.returning(k), Levelled: t.levelled(k),
	}
	if len(k.wishes) > 0 {
		o.Wish = &k.wishes[0].Wish
	}
	next, with, then := rollout.Decide(before, o, t.policy, time.Now())
	if next.Number > 0 && (len(with) > 0 || !reflect.DeepEqual(next, before)) {
		failPoint("before-store-" + string(next.Phase))
		if err := k.book.Store(ctx, t.leadership, k.seen, next, with); err != nil {
			if errors.Is(err, etcd.ErrConflict) {
				return false, nil
			}
			return false, err
		}
		failPoint("after-store-" + string(next.Phase))
		t.tell(ctx, before, next)
		t.outbox.Wake()
	}
	k.seen.Content, k.then, k.outcome = next, then, nil
	for _, action := range with {
		if _, heard := action.(rollout.Heard); heard {
			close(k.wishes[0].taken)
			k.wishes = k.wishes[1:]
		}
	}
	t.metrics.show(next, traffic, k.Name)
	return true, nil
}

// act does what is wanted unless it waits for its back-off. It says how long nothing is due.
func (t *term) act(ctx context.Context, k *track) (time.Duration, error) {
	s := k.seen.Content
	pause := rollout.Patient(s)
	if len(k.then) == 0 {
		return pause, nil
	}
	action := k.then[0]
	if k.failed.Action != action {
		k.failed, k.until = rollout.Failed{Action: action}, time.Time{}
		k.failing = notice.New(t.log, "action failed", nil)
	}
	if wait := time.Until(k.until); wait > 0 {
		k.outcome = k.failed // it is still the last word
		return min(wait, pause), nil
	}
	failPoint("before-" + kind(action))
	if err := k.book.Mine(ctx, t.leadership); err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, actionTimeout)
	outcome, err := t.do(bounded, k, action)
	cancel()
	t.metrics.acted(action, err)
	if ctx.Err() != nil {
		return 0, nil //nolint:nilerr // the leadership is over; what came of the action is its successor's to see
	}
	if err != nil {
		wait := backoff[min(k.failed.Count, len(backoff)-1)]
		k.failed.Count++
		k.failed.Reason, k.until = err.Error(), time.Now().Add(wait)
		k.outcome = k.failed
		k.failing.Note(err, "action", kind(action), "credential", k.Name, "number", s.Number, "attempt", k.failed.Count, "again_in", wait.String())
		return 0, nil
	}
	failPoint("after-" + kind(action))
	k.failing.Note(nil, "action", kind(action), "credential", k.Name, "number", s.Number)
	k.failed, k.until, k.outcome = rollout.Failed{}, time.Time{}, outcome
	switch o := outcome.(type) {
	case rollout.Answered:
		if !o.Ready {
			return pause, nil
		}
	case rollout.Drained:
		if o.Open != 0 {
			return pause, nil
		}
	}
	return 0, nil
}

// tell logs what has changed, and counts results.
func (t *term) tell(ctx context.Context, before, after state.Deployment) {
	t.metrics.ended(before, after)
	if before.Number == after.Number && before.Phase == after.Phase {
		return
	}
	t.log.InfoContext(ctx, "rollout moves", "credential", after.Name, "number", after.Number, "phase", after.Phase, "hot", after.Hot, "canary", after.Colour, "step", after.Step, "reason", after.Reason)
}
