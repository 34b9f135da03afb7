package main

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/arbiter"
	"github.com/ofitec/ofitec/services/deployer/internal/odoo"
	"github.com/ofitec/ofitec/services/deployer/internal/prometheus"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
	"github.com/ofitec/ofitec/services/deployer/internal/vault"

	book "github.com/ofitec/ofitec/services/deployer/internal/etcd"
)

// actionTimeout bounds one action, a start and its stop included.
const actionTimeout = 3 * time.Minute

// backoff is the pause after each failure of an action in a row; the last one stays.
var backoff = []time.Duration{
	500 * time.Millisecond, // after 0.5 s
	time.Second,            // 1.5 s
	2 * time.Second,        // 3.5 s
	5 * time.Second,        // 8.5 s
	15 * time.Second,       // 23.5 s
	30 * time.Second,       // 53.5 s
	time.Minute,            // 113.5 s, and so on
}

// failPoint is called before and after each action and each write; tests end the process there.
var failPoint = func(string) {}

// deployer leads, or waits to. The fields are set once.
type deployer struct {
	policy     rollout.Policy
	credential string
	book       *book.Book
	vault      *vault.Reader
	hands      hands
	oneFile    bool // both colours read the same environment file
	proxy      proxy
	colours    *odoo.Colours
	gates      *prometheus.Server
	arbiter    *arbiter.Arbiter
	outbox     *bus.Outbox
	metrics    *metrics
	log        *slog.Logger
	listen     func(ctx context.Context, hear bus.Handler) // takes events until ctx ends
}

// campaign leads whenever it is this instance's turn, until ctx ends.
func (d *deployer) campaign(ctx context.Context, client *etcd.Client, election etcd.Election) error {
	for {
		leadership, err := client.Campaign(ctx, election)
		if err != nil {
			return err
		}
		d.log.InfoContext(ctx, "leads", "term", leadership.Term)
		cause := d.lead(leadership.Context(), leadership) //nolint:contextcheck // a leadership is a context, and ends with ctx
		d.metrics.hide()
		leadership.Resign()
		d.log.InfoContext(ctx, "leads no more", "term", leadership.Term, "cause", cause)
	}
}

// term is what one leadership knows besides the book.
type term struct {
	*deployer
	leadership *etcd.Leadership
	outcome    rollout.Outcome
	looked     time.Time // the last reading, of the version below
	version    int64
	failed     rollout.Failed
	until      time.Time      // the failed action waits until then
	silent     *notice.Notice // the proxy
	failing    *notice.Notice // the failed action
	wishes     chan wish      // never closed
	waiting    *wish          // one that the book has not taken yet
}

// wish is a version that a handler waits for the book to take.
type wish struct {
	rollout.Wish
	taken chan struct{} // closed when it is stored, or needs nothing
}

// lead hears and rolls out until the leadership ends, and says why it did. ctx is the leadership's. Only the leader takes events, so that none waits with an instance
// that may not act.
func (d *deployer) lead(ctx context.Context, leadership *etcd.Leadership) error {
	t := &term{deployer: d, leadership: leadership, wishes: make(chan wish), silent: notice.New(d.log, "nobody knows which colour has the traffic", nil)}
	held := notice.New(d.log, "cannot go on", nil)
	var hearing sync.WaitGroup
	hearing.Go(func() { d.listen(ctx, t.hear) })
	defer hearing.Wait()
	for ctx.Err() == nil {
		pause, err := t.turn(ctx)
		if errors.Is(err, etcd.ErrTermOver) {
			leadership.Resign()
			break
		}
		held.Note(err)
		if err != nil {
			pause = time.Second
		}
		t.rest(ctx, pause)
	}
	return context.Cause(ctx)
}

// rest waits for the pause, the next wish, or the end.
func (t *term) rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var wishes chan wish
	if t.waiting == nil {
		wishes = t.wishes
	}
	select {
	case <-ctx.Done():
	case <-timer.C:
	case w := <-wishes:
		t.waiting = &w
	}
}

// turn reads, decides, stores, and does one thing. It says how long nothing is due.
func (t *term) turn(ctx context.Context) (time.Duration, error) {
	seen, err := t.book.Read(ctx)
	if err != nil {
		return 0, err
	}
	if seen.Content.Number != t.version {
		t.version, t.looked = seen.Content.Number, time.Time{}
	}
	o := rollout.Observation{Traffic: t.traffic(ctx), Forgotten: t.proxy.Forgotten(), Looked: t.looked, Outcome: t.outcome}
	if t.waiting != nil {
		o.Wish = &t.waiting.Wish
	}
	next, with, then := rollout.Decide(seen.Content, o, t.policy, time.Now())
	if next.Number > 0 && (len(with) > 0 || !reflect.DeepEqual(next, seen.Content)) {
		failPoint("before-store-" + string(next.Phase))
		if err := t.book.Store(ctx, t.leadership, seen, next, with); err != nil {
			if errors.Is(err, etcd.ErrConflict) {
				return 0, nil // read again, with the same outcome
			}
			return 0, err
		}
		failPoint("after-store-" + string(next.Phase))
		t.tell(ctx, seen.Content, next)
		t.outbox.Wake()
	}
	t.outcome = nil
	for _, action := range with {
		if _, heard := action.(rollout.Heard); heard {
			close(t.waiting.taken)
			t.waiting = nil
		}
	}
	t.metrics.show(next, o.Traffic, t.credential)
	return t.act(ctx, next, then)
}

// traffic asks the proxy; its silence is told once a minute.
func (t *term) traffic(ctx context.Context) rollout.Traffic {
	traffic, err := t.proxy.Traffic(ctx)
	t.silent.Note(err)
	if err != nil {
		return rollout.Traffic{}
	}
	return traffic
}

// act does what is wanted unless it waits for its back-off.
func (t *term) act(ctx context.Context, s state.Deployment, then []rollout.Action) (time.Duration, error) {
	pause := rollout.Patient(s)
	if len(then) == 0 {
		return pause, nil
	}
	action := then[0]
	if t.failed.Action != action {
		t.failed, t.until = rollout.Failed{Action: action}, time.Time{}
		t.failing = notice.New(t.log, "action failed", nil)
	}
	if wait := time.Until(t.until); wait > 0 {
		t.outcome = t.failed // it is still the last word
		return min(wait, pause), nil
	}
	failPoint("before-" + kind(action))
	if err := t.book.Mine(ctx, t.leadership); err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, actionTimeout)
	outcome, err := t.do(bounded, action)
	cancel()
	t.metrics.acted(action, err)
	if ctx.Err() != nil {
		return 0, nil //nolint:nilerr // the leadership is over; what came of the action is its successor's to see
	}
	if err != nil {
		wait := backoff[min(t.failed.Count, len(backoff)-1)]
		t.failed.Count++
		t.failed.Reason, t.until = err.Error(), time.Now().Add(wait)
		t.outcome = t.failed
		t.failing.Note(err, "action", kind(action), "number", s.Number, "attempt", t.failed.Count, "again_in", wait.String())
		return 0, nil
	}
	failPoint("after-" + kind(action))
	t.failing.Note(nil, "action", kind(action), "number", s.Number)
	t.failed, t.until, t.outcome = rollout.Failed{}, time.Time{}, outcome
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
