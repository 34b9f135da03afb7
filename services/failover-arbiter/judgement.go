package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	chassisetcd "github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/observe"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// bench is where the judgement reads and writes; *etcd.Bench is one.
type bench interface {
	Look(ctx context.Context) (failover.Read, error)
	Swap(ctx context.Context, leadership *chassisetcd.Leadership, a failover.Swap, at time.Time) error
	Reply(ctx context.Context, leadership *chassisetcd.Leadership, a failover.Reply) error
}

// judgement runs the decisions of package failover. Every arbiter hears and reads; only the elected one writes.
type judgement struct {
	bench   bench
	profile timing.Profile
	known   func() events.Epoch // the highest that this region has seen
	learn   func(events.Epoch)  // is told each epoch that is read
	wake    func()              // of the outbox
	log     *slog.Logger
	metrics *metrics

	hurry chan struct{} // room for one: reads now, because a region is seen down

	mu         sync.Mutex
	state      failover.State
	leadership *chassisetcd.Leadership // nil: this arbiter does not lead
	ignored    complaints
}

// tell gives an observation to the decisions, one at a time, and gives what they want done.
func (j *judgement) tell(o failover.Observation) []failover.Action {
	j.mu.Lock()
	defer j.mu.Unlock()
	var actions []failover.Action
	j.state, actions = failover.Decide(j.state, o, failover.Instant(clock.Now()))
	return actions
}

// hear is called by the bus.
func (j *judgement) hear(o failover.Observation) {
	before := j.alarm()
	actions := j.tell(o)
	if before < failover.Alarmed && j.alarm() == failover.Alarmed {
		select {
		case j.hurry <- struct{}{}:
		default:
		}
	}
	for _, action := range actions {
		if ignored, ok := action.(failover.Ignored); ok {
			j.ignore(ignored.Observer, ignored.Reason, nil)
		}
	}
}

// ignore counts what counts for nothing, and says so once a minute.
func (j *judgement) ignore(observer events.Region, reason failover.Reason, err error) {
	j.metrics.ignored.WithLabelValues(string(reason)).Inc()
	if n := j.ignored.note(reason, clock.Now().Boot); n > 0 {
		j.log.Warn("observations that count for nothing", "reason", reason, "count", n, "newest_observer", observer, "error", err)
	}
}

// complaints keep one kind of trouble from filling the log.
type complaints struct {
	mu    sync.Mutex
	since map[failover.Reason]int64
	said  map[failover.Reason]time.Duration // on the boot clock
}

// note gives how many there were since the last time that it was said, when it is to be said again; else 0.
func (c *complaints) note(reason failover.Reason, now time.Duration) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since == nil {
		c.since, c.said = map[failover.Reason]int64{}, map[failover.Reason]time.Duration{}
	}
	c.since[reason]++
	if last, before := c.said[reason]; before && now-last < time.Minute {
		return 0
	}
	n := c.since[reason]
	c.since[reason], c.said[reason] = 0, now
	return n
}

// run reads, decides and writes until ctx ends. A write is followed by a read at once, whatever became of it.
func (j *judgement) run(ctx context.Context) error {
	reading := true
	for ctx.Err() == nil {
		read, err := j.look(ctx)
		acted := false
		if err == nil {
			for _, action := range j.tell(read) {
				acted = j.act(ctx, action) || acted
			}
		}
		if (err == nil) != reading && ctx.Err() == nil {
			reading = err == nil
			j.log.Info("reading what decisions rest on", "answered", reading, "error", err)
		}
		if acted {
			continue
		}
		timer := time.NewTimer(j.pace(read, clock.Now().Wall))
		select {
		case <-timer.C:
		case <-j.hurry:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

func (j *judgement) look(ctx context.Context) (failover.Read, error) {
	ctx, cancel := context.WithTimeout(ctx, j.profile.RenewDeadline)
	defer cancel()
	read, err := j.bench.Look(ctx)
	if err == nil && read.Failover != nil && read.Failover.Epoch > j.known() {
		j.learn(read.Failover.Epoch)
	}
	read.Known = j.known()
	return read, err
}

// pace is the time until the next read: short while a failover is under way, g while something looks wrong. Else r, and so that a read comes l after each renewal:
// how long the mandate is waited for counts from when its last revision was seen.
func (j *judgement) pace(read failover.Read, now time.Time) time.Duration {
	p := j.profile
	switch {
	case read.Failover != nil && read.Failover.Phase != state.PhaseSteady:
		return p.SeenLatency
	case j.alarm() > failover.Calm:
		return p.Tick
	case read.Mandate == nil:
		return p.Renew
	}
	next := (read.Mandate.RenewedAt.Sub(now)%p.Renew + p.Renew + p.SeenLatency) % p.Renew
	if next < p.Renew/5 {
		next += p.Renew
	}
	return next
}

func (j *judgement) alarm() failover.Alarm {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.Alarm(failover.Instant(clock.Now()))
}

// swapWithin is short: what was on its way to an etcd leader that died is lost, and nobody says so. The next read tells what became of it, and a comparison keeps a
// second copy from taking effect.
func (j *judgement) swapWithin() time.Duration { return 2 * j.profile.RenewDeadline }

// act writes what was decided, under the term in which it was; true when it tried.
func (j *judgement) act(ctx context.Context, action failover.Action) bool {
	j.mu.Lock()
	leadership := j.leadership
	j.mu.Unlock()
	if leadership == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, j.swapWithin())
	defer cancel()
	stop := context.AfterFunc(leadership.Context(), cancel) //nolint:contextcheck // the write ends with either of the two
	defer stop()
	switch a := action.(type) {
	case failover.Swap:
		if a.Term != leadership.Term {
			return false
		}
		failPoint("before " + string(a.Next.Phase))
		err := j.bench.Swap(ctx, leadership, a, clock.Now().Wall)
		failPoint("after " + string(a.Next.Phase))
		j.wrote(ctx, err, a.Why, "epoch", a.Next.Epoch, "active", a.Next.Active, "phase", a.Next.Phase)
		if err == nil {
			j.metrics.announced(a.Announce)
		}
	case failover.Reply:
		if a.Term != leadership.Term {
			return false
		}
		err := j.bench.Reply(ctx, leadership, a)
		j.wrote(ctx, err, "request "+a.ID+" is answered: "+a.Request.Answer.Reason, "accepted", a.Request.Answer.Accepted)
	default:
		return false
	}
	return true
}

func (j *judgement) wrote(ctx context.Context, err error, what string, attributes ...any) {
	outcome, level := "written", slog.LevelInfo
	switch {
	case err == nil:
		j.wake()
	case etcd.Refused(err):
		outcome = "refused"
		attributes = append(attributes, "error", err)
	default:
		outcome, level = "failed", slog.LevelWarn
		attributes = append(attributes, "error", err)
	}
	j.metrics.swaps.WithLabelValues(outcome).Inc()
	j.log.Log(ctx, level, what, append(attributes, "outcome", outcome)...)
}

// campaign leads whenever it can, until ctx ends.
func (j *judgement) campaign(ctx context.Context, store *chassisetcd.Client, election chassisetcd.Election) error {
	for {
		leadership, err := store.Campaign(ctx, election)
		if err != nil {
			return err // ctx has ended
		}
		j.log.Info("leading", "term", leadership.Term)
		j.lead(leadership, failover.Led{Term: leadership.Term})
		<-leadership.Context().Done()
		j.lead(nil, failover.Deposed{})
		j.log.Info("leading no more", "term", leadership.Term, "cause", context.Cause(leadership.Context())) //nolint:contextcheck // it is its end that is told
		if ctx.Err() != nil {
			leadership.Resign()
			return ctx.Err()
		}
	}
}

func (j *judgement) lead(leadership *chassisetcd.Leadership, o failover.Observation) {
	j.mu.Lock()
	j.leadership = leadership
	j.mu.Unlock()
	j.tell(o)
}

// status is the newest judgement.
func (j *judgement) status() failover.Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.Status(failover.Instant(clock.Now()))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// addJudgement joins the bus and makes the judgement, which every region's arbiter has.
func (a *arbiter) addJudgement(ctx context.Context, store *chassisetcd.Client) (close func(), err error) {
	conn, stream, err := natsclient.Connect(ctx, a.config.Settings, name, a.config.Region)
	if err != nil {
		return nil, err
	}
	close = func() { natsclient.Drain(conn) }
	natsclient.Observe(a.service.Metrics, conn)
	a.service.Health.Register("nats", natsclient.Check(conn))
	measured, err := bus.NewMetrics(a.service.Metrics)
	if err != nil {
		return close, err
	}
	announcements := chassisetcd.NewOutbox(store, name)
	outbox := bus.NewOutbox(announcements, bus.NewJetStream(stream, measured), a.service.Log, measured)
	origin := events.Origin{Region: events.Region(a.config.Region), Service: name}
	j := &judgement{
		bench: etcd.NewBench(a.nearest, announcements, origin, a.service.Log), profile: a.profile,
		known: func() events.Epoch { return max(a.keeper.View().Known, a.epochs.Seen()) }, learn: a.learnEpoch,
		wake: outbox.Wake, hurry: make(chan struct{}, 1), log: a.service.Log, metrics: a.metrics, state: failover.New(a.config.judging(a.profile)),
	}
	a.judgement = j
	ear := observe.Ear{Hear: j.hear, Ignore: func(observer events.Region, err error) { j.ignore(observer, failover.ReasonMalformed, err) }}
	if err := observe.Listen(conn, ear); err != nil {
		return close, err
	}
	a.service.Add("outbox", outbox.Run)
	a.service.Add("judgement", j.run)
	a.service.Add("campaign", func(ctx context.Context) error {
		return j.campaign(ctx, store, chassisetcd.Election{Key: state.KeyLeader, Candidate: name + "." + a.config.Region, TTL: a.profile.LeaderTTL, Delay: a.delay})
	})
	return close, a.addNames(j)
}

// learnEpoch keeps the epoch where no hands do. That it cannot is said, and changes nothing: etcd still has it.
func (a *arbiter) learnEpoch(epoch events.Epoch) {
	if a.hands != nil {
		return
	}
	if err := a.epochs.Raise(epoch); err != nil {
		a.service.Log.Error("the epoch is not recorded", "epoch", epoch, "error", err)
	}
}

// delay lets the active region's arbiter campaign last: it would be gone together with its region. The target's comes before it, and the one without hands first.
func (a *arbiter) delay() time.Duration {
	active := events.Region(a.config.FirstActive)
	if f := a.keeper.View().Failover; f != nil {
		active = f.Active
	}
	switch {
	case active == events.Region(a.config.Region):
		return a.profile.LeaderTTL / 2
	case a.config.holdsData():
		return a.profile.LeaderTTL / 4
	}
	return 0
}

var _ bench = (*etcd.Bench)(nil)
