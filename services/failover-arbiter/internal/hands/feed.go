package hands

import (
	"context"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/archive"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// Feed lets a standby take WAL from the archive, or not, and says whether that is a change; the server reads it at its next reload.
type Feed interface {
	Feed(on bool) (changed bool, err error)
}

var _ Feed = archive.Archive{}

// FeedAfter is how long a standby has not streamed before it is fed: longer than a restart of the other region's PostgreSQL.
const FeedAfter = 20 * time.Second

// feeding is what the database's loop remembers of it.
type feeding struct {
	idle   time.Duration // since when the standby does not stream, on the boot clock; 0: it does
	unread bool          // what was switched, by the server
}

// feed lets a standby that was away for longer than the other region keeps WAL for it catch up from the archive. It ends as soon as the standby streams again, and with
// the first word of a failover: a promotion runs the command for WAL and timelines that nobody has, and waits for it.
func (h *Hands) feed(ctx context.Context, k *keeping, look postgres.Condition, looked error) error {
	if h.Feed == nil {
		return nil
	}
	f, now := h.State(), h.Now().Boot
	follows := looked == nil && look.Standby && f != nil && f.Active != h.Region && f.Phase != state.PhaseIntent && f.Phase != state.PhaseFenced
	switch {
	case !follows || look.Receiving:
		k.idle = 0
	case k.idle == 0:
		k.idle = now
	}
	on := k.idle != 0 && now-k.idle >= h.FeedAfter
	changed, err := h.Feed.Feed(on)
	if err != nil {
		return err
	}
	if changed {
		h.Log.Info("the standby is fed from the archive", "yes", on)
	}
	k.unread = k.unread || changed
	if k.unread && looked == nil { // a server that does not run reads it at its start
		_, err = timed(ctx, h.Deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, h.Branching.Reload(ctx) })
		k.unread = err != nil
	}
	return err
}
