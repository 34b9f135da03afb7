// Package hands carries out a region's orders on its database proxy and its PostgreSQL. It works towards what is ordered, over and over, so that a proxy or
// a database that restarts in between ends up in the same place. The proxies, the database and the reports have a loop each: closing never waits for a database,
// and nothing waits for a report.
package hands

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/supervisor"
)

// Proxy is the region's database proxy.
type Proxy interface {
	Open(ctx context.Context, pool haproxy.Pool) error
	Close(ctx context.Context, pool haproxy.Pool) error
	Opened(ctx context.Context) (map[haproxy.Pool]bool, error)
}

// Database is the region's PostgreSQL.
type Database interface {
	Look(ctx context.Context) (postgres.Condition, error)
	Heartbeat(ctx context.Context, b postgres.Beat) (number int64, err error)
	Epoch(ctx context.Context) (events.Epoch, error)
	RaiseEpoch(ctx context.Context, epoch events.Epoch) error
	Admit(ctx context.Context) error
	Bar() error
	Fence(ctx context.Context, within, pause time.Duration, refuses func(context.Context) error) (postgres.Fenced, error)
}

// Branching is what makes a primary of the region's PostgreSQL.
type Branching interface {
	Withdraw(ctx context.Context) error
	Promote(ctx context.Context, within time.Duration) error
	Branch(ctx context.Context) (postgres.Branch, error)
	RenewSlot(ctx context.Context, name string) error
	DropSlots(ctx context.Context) error
	Checkpoint(ctx context.Context) error
	Pulse(ctx context.Context) (postgres.Pulse, error)
	Reload(ctx context.Context) error
}

// Mirror is whom commits of the region's PostgreSQL wait for.
type Mirror interface {
	WaitFor(ctx context.Context, names string) (changed bool, err error)
	Follower(ctx context.Context, name string) (postgres.Follower, error)
}

// Door is tried as an application would.
type Door interface {
	Refuses(ctx context.Context) error
}

// Supervisor starts and stops PostgreSQL's process.
type Supervisor interface {
	StopImmediately(ctx context.Context) error
	StopFast(ctx context.Context) error
	Start(ctx context.Context) error
	Status(ctx context.Context) (supervisor.Status, error)
}

// Cluster is the files of the region's PostgreSQL.
type Cluster interface {
	Look() (cluster.Condition, error)
	Control(ctx context.Context) (cluster.Control, error)
	NoteStop() error
	ForgetStop() error
	NoteRemade(r cluster.Remade) error
	Remade() (*cluster.Remade, error)
	ForgetRemade() error
	Follow() error
	Branch(ctx context.Context, timeline int) error
	Copy(ctx context.Context, from cluster.Source) (kept string, err error)
	Rewind(ctx context.Context, connInfo string, control cluster.Control, fork events.LSN) (kept string, err error)
}

// Upstream is the other region's PostgreSQL.
type Upstream interface {
	Prepare(ctx context.Context, timeline int) (postgres.Branch, error)
}

// Reports is where the region reports.
type Reports interface {
	Put(ctx context.Context, report state.Report) error
}

// Epochs is the region's own memory of epochs.
type Epochs interface {
	Seen() events.Epoch
	Raise(epoch events.Epoch) error
}

var (
	_ Proxy      = (*haproxy.Proxy)(nil)
	_ Database   = (*postgres.Server)(nil)
	_ Branching  = (*postgres.Server)(nil)
	_ Mirror     = (*postgres.Server)(nil)
	_ Door       = postgres.Door{}
	_ Supervisor = (*supervisor.Supervisor)(nil)
	_ Cluster    = (*cluster.Cluster)(nil)
	_ Upstream   = postgres.Upstream{}
	_ Reports    = (*etcd.Reports)(nil)
)

// Options are what hands work with.
type Options struct {
	Region     events.Region
	Proxy      Proxy
	Database   Database
	Branching  Branching
	Mirror     Mirror
	Witness    bool // commits wait for this arbiter, too
	Feed       Feed // nil: nothing is archived
	Door       Door
	Supervisor Supervisor // nil: a database that cannot be fenced is tried again
	Cluster    Cluster
	Upstream   Upstream
	Source     cluster.Source // the same server, for a copy of its cluster
	Epochs     Epochs

	Reports     Reports
	Incarnation string                 // of this process, for the reports
	State       func() *state.Failover // as it was read lately; nil: not known
	Now         func() mandate.Instant
	Log         *slog.Logger
	Learned     func(ctx context.Context, o mandate.Learned) // is told what the database knows whenever that changes

	Every    time.Duration // r: between two looks
	Deadline time.Duration // of one call to the database
	FenceIn  time.Duration // F: until a fence must have ended all sessions
	Pause    time.Duration // PostgreSQL's authentication_timeout; the fence's proof takes one more

	PromoteIn time.Duration // X
	FeedAfter time.Duration // how long a standby must not have streamed
}

// Hands is safe for concurrent use. Run starts the loops.
type Hands struct {
	Options
	order     atomic.Pointer[order]
	condition atomic.Pointer[condition]

	closeNow                atomic.Bool   // the order to close was not yet carried out, whatever the proxy says of its state
	promoting               atomic.Bool   // readers are out while the standby becomes a primary
	proxyKick, databaseKick chan struct{} // room for one: a kick that finds another one waiting is the same kick
	reportKick              chan struct{}

	fencing sync.Mutex
	abandon context.CancelFunc // of the fence under way; guarded by fencing

	counts Counts

	unfenced, unstopped, unclosed, unmirrored, unfed *notice.Notice
}

// order is what the arbiter wants.
type order struct {
	open  bool
	epoch events.Epoch
	since time.Duration // on the boot clock
}

// condition is how the database was last found.
type condition struct {
	postgres.Condition
	at    time.Duration // on the boot clock
	err   error
	rules rules
	facts etcd.Facts

	said      state.DatabaseReport
	receipt   *events.Receipt
	promotion *state.Promotion
	rejoined  *state.Rejoined
}

// rules are those that this process has put in force.
type rules int

const (
	unknown  rules = iota
	written        // the fenced ones, for the next start or reload
	barred         // nobody gets in
	admitted       // applications do
)

// Counts are totals since the process started.
type Counts struct {
	Openings, Closings, Fences, Failures, Stops atomic.Int64
	Promotions, Handovers, Rejoins, Reports     atomic.Int64
}

// New makes hands that are ordered to be closed; nothing happens before Run.
func New(o Options) *Hands {
	h := &Hands{Options: o, proxyKick: make(chan struct{}, 1), databaseKick: make(chan struct{}, 1), reportKick: make(chan struct{}, 1)}
	h.unfenced = notice.New(o.Log, "cannot fence", nil)
	h.unstopped = notice.New(o.Log, "cannot stop PostgreSQL, which cannot be fenced", nil)
	h.unclosed = notice.New(o.Log, "a pool of the database proxy is not closed: its own check of /mandate or /standby will do it", nil)
	h.unmirrored = notice.New(o.Log, "whom commits wait for cannot be changed or seen", nil)
	h.unfed = notice.New(o.Log, "the standby cannot be fed from the archive, or is still", nil)
	h.order.Store(&order{since: o.Now().Boot})
	h.condition.Store(&condition{err: errNotLooked, said: state.DatabaseReport{Condition: state.DatabaseUnknown, Reason: errNotLooked.Error()}})
	return h
}

// Counts gives the totals.
func (h *Hands) Counts() *Counts { return &h.counts }

// Open orders applications in. The proxies follow when the database has let them in.
func (h *Hands) Open(epoch events.Epoch) {
	h.order.Store(&order{open: true, epoch: epoch, since: h.Now().Boot})
	h.fencing.Lock()
	if h.abandon != nil {
		h.abandon()
	}
	h.fencing.Unlock()
	kick(h.databaseKick)
}

// Close orders all sessions ended at the proxies.
func (h *Hands) Close(string) {
	last := h.order.Load()
	h.order.Store(&order{epoch: last.epoch, since: h.Now().Boot})
	h.closeNow.Store(true)
	kick(h.proxyKick)
}

// Fence orders the database closed too; Close comes before.
func (h *Hands) Fence(events.Epoch) { kick(h.databaseKick) }

// Noticed lets the database's loop act at once on another phase or epoch of the failover's state.
func (h *Hands) Noticed() { kick(h.databaseKick) }

// Facts are what a renewal says about the database.
func (h *Hands) Facts() etcd.Facts { return h.condition.Load().facts }

// Standby says whether this region may serve readers: it is not ordered open, and its database is a standby that answered lately; if not, why.
func (h *Hands) Standby() (bool, string) {
	c := h.condition.Load()
	switch {
	case h.order.Load().open:
		return false, "this region holds the mandate"
	case h.promoting.Load():
		return false, "this region is being promoted"
	case c.err != nil:
		return false, c.err.Error()
	case h.Now().Boot-c.at > h.fresh():
		return false, "the database has not answered lately"
	case !c.Standby:
		return false, "the database is no standby"
	}
	return true, ""
}

// Answers is nil when the database answered lately.
func (h *Hands) Answers() error {
	c := h.condition.Load()
	if c.err == nil && h.Now().Boot-c.at > h.fresh() {
		return errStale
	}
	return c.err
}

// fresh is how old a look may be.
func (h *Hands) fresh() time.Duration { return 3*h.Every + h.Deadline }

// Run works until ctx ends. It then closes the proxies, fences a primary, and returns.
func (h *Hands) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { h.runProxy(ctx) })
	all.Go(func() { h.runDatabase(ctx) })
	all.Go(func() { h.runReports(ctx) })
	all.Wait()
	return nil
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
