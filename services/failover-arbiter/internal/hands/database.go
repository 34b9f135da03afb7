package hands

import (
	"context"
	"errors"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

var (
	errNotLooked = errors.New("the database was not looked at yet")
	errStale     = errors.New("the database has not answered lately")
	errRejoining = errors.New("the database is made a standby of the other region")
)

// stopWithin bounds an immediate stop by the supervisor.
const stopWithin = 10 * time.Second

// keeping is what the database's loop remembers between two rounds.
type keeping struct {
	rules   rules
	served  bool // applications were let in to write, by this process or may be by one before it, and not fenced since
	started time.Time
	told    mandate.Learned
	toldAny bool
	raised  events.Epoch // recorded in file and database by this process
	facts   etcd.Facts
	failing bool

	// The proof of the last fence; void as soon as applications are let in again.
	counts     []int // of sessions
	turnedAway bool  // a new login was, before the first count
	refused    bool  // a new login was, and where the WAL ended is known
	stopped    bool  // sessions would not end otherwise
	hurried    bool  // no pause between the counts: it proves nothing but for a hand-over

	said         state.DatabaseReport
	receipt      *events.Receipt
	promotion    *state.Promotion
	rejoined     *state.Rejoined
	checkpointed events.Epoch  // whose switchover was prepared
	rejoinAt     time.Duration // not before, on the boot clock
	forgot       bool          // the note about the last rejoin, which everybody has read
	lonely       time.Duration // since when a standby that should follow does not

	mirroring
	feeding
}

// runDatabase looks at the database every r, and brings it to where the order wants it: open under the mandate, open as a standby for readers, else fenced.
func (h *Hands) runDatabase(ctx context.Context) {
	ticker := time.NewTicker(h.Every)
	defer ticker.Stop()
	var k keeping
	h.learn(ctx, &k, mandate.Learned{Epoch: h.Epochs.Seen()})
	for {
		h.round(ctx, &k)
		select {
		case <-ctx.Done():
			if k.rules != barred && !h.condition.Load().Standby {
				h.fence(context.WithoutCancel(ctx), &k)
			}
			return
		case <-h.databaseKick:
		case <-ticker.C:
		}
	}
}

// round is one look and what follows from it.
func (h *Hands) round(ctx context.Context, k *keeping) {
	look, err := timed(ctx, h.Deadline, h.Database.Look)
	looked := err
	if err == nil {
		k.facts.FlushLSN, k.facts.Timeline = look.FlushLSN, look.Timeline
		if !look.StartedAt.Equal(k.started) {
			k.started, k.rules, k.counts, k.refused = look.StartedAt, unknown, nil, false // whoever started it may have put the fenced rules in place
		}
		k.served = k.served && !look.Standby
		h.pulse(ctx, k, look)
		h.unmirrored.Note(h.mirror(ctx, k, look))
	}
	h.unfed.Note(h.feed(ctx, k, look, err))
	h.say(ctx, k, look, err)
	h.prepareSwitchover(ctx, k, look, err)
	wanted := *h.order.Load()
	before := h.condition.Load()
	h.publish(k, look, err)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !wanted.open:
		h.barUnseen(ctx, k)
	case err != nil:
	case wanted.open && look.Standby:
		err = errors.New("this region holds the mandate, but its database is a standby")
	case wanted.open:
		err = h.serve(ctx, k, wanted.epoch)
	case look.Standby:
		err = h.admit(ctx, k)
	default:
		h.tell(ctx, k)
		if k.hurried && !h.handsOver() {
			k.rules, k.hurried = unknown, false
		}
		if k.rules != barred {
			k.served = true // whoever was here before may have let applications in: only a fence says that none is left
			h.fence(ctx, k)
		}
		if k.rules == barred {
			err = h.prove(ctx, k)
		}
	}
	performed := h.perform(ctx, k, look, looked)
	if err == nil {
		err = performed
	} else if performed != nil {
		err = errors.Join(err, performed)
	}
	h.publish(k, look, err)
	if (err != nil) != k.failing {
		k.failing = err != nil
		h.Log.Info("database", "well", !k.failing, "error", err)
	}
	if after := h.condition.Load(); before.rules != after.rules || before.Standby != after.Standby || (before.err == nil) != (after.err == nil) {
		kick(h.proxyKick)
	}
}

// publish says how the database was found.
func (h *Hands) publish(k *keeping, look postgres.Condition, err error) {
	last := h.condition.Load()
	h.condition.Store(&condition{
		Condition: look, at: h.Now().Boot, err: err, rules: k.rules, facts: k.facts,
		said: k.said, receipt: k.receipt, promotion: k.promotion, rejoined: k.rejoined,
	})
	if last.said.Condition != k.said.Condition || last.receipt != k.receipt || last.promotion != k.promotion || last.rejoined != k.rejoined {
		kick(h.reportKick)
	}
}

// pulse reads the newest heartbeat of a standby; a primary's own is known.
func (h *Hands) pulse(ctx context.Context, k *keeping, look postgres.Condition) {
	if !look.Standby {
		return
	}
	if p, err := timed(ctx, h.Deadline, h.Branching.Pulse); err == nil {
		k.facts.HeartbeatNumber, k.facts.HeartbeatAt = p.Number, mandate.Instant{Wall: p.At.UTC()}
	}
}

// prepareSwitchover writes a checkpoint as soon as a switchover from here is known, while sessions are being ended: the one at the stop has less to do.
func (h *Hands) prepareSwitchover(ctx context.Context, k *keeping, look postgres.Condition, looked error) {
	f := h.State()
	if looked != nil || look.Standby || f == nil || f.Phase != state.PhaseIntent {
		return
	}
	if i := f.Intent; i.Cause == events.CauseSwitchover && i.From == h.Region && k.checkpointed != i.Epoch {
		k.checkpointed = i.Epoch
		h.checkpoint(ctx)
	}
}

// serve lets applications in under an epoch that file and database have recorded, and writes a heartbeat.
func (h *Hands) serve(ctx context.Context, k *keeping, epoch events.Epoch) error {
	if k.raised != epoch {
		if err := h.Epochs.Raise(epoch); err != nil {
			return err
		}
		_, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, h.Database.RaiseEpoch(ctx, epoch)
		})
		if errors.Is(err, postgres.ErrEpochSeen) {
			h.tell(ctx, k)
		}
		if err != nil {
			return err
		}
		k.raised = epoch
	}
	k.served = true
	k.counts, k.refused, k.stopped, k.receipt = nil, false, false, nil
	if err := h.admit(ctx, k); err != nil {
		return err
	}
	at := h.Now()
	number, err := timed(ctx, h.Deadline, func(ctx context.Context) (int64, error) {
		return h.Database.Heartbeat(ctx, postgres.Beat{At: at.Wall, Epoch: epoch, Region: h.Region})
	})
	if errors.Is(err, postgres.ErrEpochSeen) {
		h.tell(ctx, k)
	}
	if err != nil {
		return err
	}
	k.facts.HeartbeatNumber, k.facts.HeartbeatAt = number, at
	return nil
}

// admit installs the open rules once in each life of the server.
func (h *Hands) admit(ctx context.Context, k *keeping) error {
	if k.rules == admitted {
		return nil
	}
	_, err := timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Database.Admit(ctx) })
	if err != nil {
		return err
	}
	k.rules = admitted
	h.Log.Info("the database lets applications in", "through", "proxy")
	return nil
}

// tell reports what a primary knows about epochs. Before its roles are made it knows nothing, and the first mandate waits.
func (h *Hands) tell(ctx context.Context, k *keeping) {
	epoch, err := timed(ctx, h.Deadline, h.Database.Epoch)
	if err != nil {
		h.Log.Debug("the database's epoch is not known", "error", err)
		return
	}
	h.learn(ctx, k, mandate.Learned{Epoch: max(epoch, h.Epochs.Seen()), Primary: true})
}

func (h *Hands) learn(ctx context.Context, k *keeping, o mandate.Learned) {
	if k.toldAny && k.told == o {
		return
	}
	k.told, k.toldAny = o, true
	h.Learned(ctx, o)
}

func timed[T any](ctx context.Context, limit time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}
