package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events/bus"
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
	policy      rollout.Policy
	credentials []Credential
	open        func(credential string) *book.Book
	vault       *vault.Reader
	hands       hands
	oneFile     oneFile
	oldCompose  bool
	proxy       proxy
	colours     *odoo.Colours
	gates       *prometheus.Server
	arbiter     *arbiter.Arbiter
	outbox      *bus.Outbox
	metrics     *metrics
	log         *slog.Logger
	listen      func(ctx context.Context, hear bus.Handler) // takes events until ctx ends
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

// term is what one leadership knows besides the books.
type term struct {
	*deployer
	leadership *etcd.Leadership
	tracks     []*track
	silent     *notice.Notice // the proxy
	wishes     chan wish      // never closed
}

// lead hears and rolls out until the leadership ends, and says why it did. ctx is the leadership's. Only the leader takes events, so that none waits with an instance
// that may not act.
func (d *deployer) lead(ctx context.Context, leadership *etcd.Leadership) error {
	t := &term{deployer: d, leadership: leadership, wishes: make(chan wish), silent: notice.New(d.log, "nobody knows which colour has the traffic", nil)}
	for _, credential := range d.credentials {
		t.tracks = append(t.tracks, &track{Credential: credential, book: d.open(credential.Name)})
	}
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
	select {
	case <-ctx.Done():
	case <-timer.C:
	case w := <-t.wishes:
		k := t.track(w.Credential.Name)
		k.wishes = append(k.wishes, w)
	}
}

// turn reads, decides, stores, and does one thing. It says how long nothing is due.
func (t *term) turn(ctx context.Context) (time.Duration, error) {
	for _, k := range t.tracks {
		if err := k.read(ctx); err != nil {
			return 0, err
		}
		if err := t.oneFile.forget(k.seen.Content); err != nil {
			return 0, err
		}
	}
	traffic := t.traffic(ctx)
	for _, k := range t.tracks {
		stored, err := t.decide(ctx, k, traffic)
		if err != nil || !stored {
			return 0, err
		}
	}
	if k := t.underWay(); k != nil {
		return t.act(ctx, k)
	}
	pause := time.Second
	for _, k := range t.tracks {
		wait, err := t.act(ctx, k)
		if err != nil || wait == 0 {
			return 0, err
		}
		pause = min(pause, wait)
	}
	return pause, nil
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
