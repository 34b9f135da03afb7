package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/notice"
)

// retryAfter is the pause after an attempt at leadership that failed or was lost to another.
const retryAfter = 250 * time.Millisecond

// unwatched is the number of ttls after which a candidate reads the key again although no watch told of a change.
const unwatched = 5

var errWatchEnded = errors.New("the watch ended")

// Election is about one leader key. All candidates name the same key and ttl.
type Election struct {
	Key       string        // its create revision is the winner's term
	Candidate string        // who this is, for people; the key's value
	TTL       time.Duration // of the lease, whole seconds; etcd grants at least 2 s at its default election timeout
	// Delay is asked each time the key is seen vacant and waited before an attempt; nil is no delay. The region that writes waits, so that
	// the leader is elsewhere when that region dies.
	Delay func() time.Duration
}

// Campaign waits until the key is won. It survives outages of etcd and ends only with an error of ctx. The leadership ends by Resign, by the end
// of its lease, or with ctx.
func (c *Client) Campaign(ctx context.Context, e Election) (*Leadership, error) {
	trouble := notice.New(nil, "cannot campaign", nil)
	for ctx.Err() == nil {
		won, err := c.attempt(ctx, e)
		if ctx.Err() == nil {
			trouble.Note(err, "key", e.Key)
		}
		if won != nil {
			return won, nil
		}
		sleep(ctx, retryAfter)
	}
	return nil, fmt.Errorf("campaign for %s: %w", e.Key, ctx.Err())
}

// attempt waits for the key to be vacant and tries to win it once. Nil and nil: another candidate was faster.
func (c *Client) attempt(ctx context.Context, e Election) (*Leadership, error) {
	if err := c.awaitVacancy(ctx, e); err != nil {
		return nil, err
	}
	if e.Delay != nil {
		sleep(ctx, e.Delay())
	}
	request, cancel := context.WithTimeout(ctx, e.TTL)
	defer cancel()
	asked := time.Now()
	lease, err := Race(request, c.endpoints, func(ctx context.Context, member *clientv3.Client) (*clientv3.LeaseGrantResponse, error) {
		return member.Grant(ctx, int64(e.TTL/time.Second)) // what the slower members grant ends by itself
	})
	if err != nil {
		return nil, fmt.Errorf("grant lease for %s: %w", e.Key, err)
	}
	term, err := c.claim(request, e, lease.ID)
	if err != nil || term == 0 {
		c.revoke(ctx, lease.ID, e.TTL) // also takes back a win that we did not hear of
		return nil, err
	}
	return c.lead(ctx, e, lease, asked, term), nil
}

// claim puts the key under the lease if it is vacant, through all members at once, and returns the term that it won, or 0. Only one member's
// transaction can put the key; the others find it there under the lease, which tells the win as well.
func (c *Client) claim(ctx context.Context, e Election, lease clientv3.LeaseID) (term int64, err error) {
	return Race(ctx, c.endpoints, func(ctx context.Context, member *clientv3.Client) (int64, error) {
		response, err := member.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)).
			Then(clientv3.OpPut(e.Key, e.Candidate, clientv3.WithLease(lease)), clientv3.OpGet(e.Key)).
			Else(clientv3.OpGet(e.Key)).
			Commit()
		if err != nil {
			return 0, err
		}
		found := response.Responses[len(response.Responses)-1].GetResponseRange().Kvs
		if len(found) == 0 || found[0].Lease != int64(lease) {
			return 0, nil
		}
		return found[0].CreateRevision, nil
	})
}

// awaitVacancy returns when the key was seen not to exist. Every member is asked at once: one that is silent would cost a candidate the time
// in which the region must be moved.
func (c *Client) awaitVacancy(ctx context.Context, e Election) error {
	for {
		request, cancel := context.WithTimeout(ctx, e.TTL)
		response, err := Race(request, c.endpoints, func(ctx context.Context, member *clientv3.Client) (*clientv3.GetResponse, error) {
			return member.Get(ctx, e.Key)
		})
		cancel()
		if err != nil {
			return fmt.Errorf("read %s: %w", e.Key, err)
		}
		if len(response.Kvs) == 0 {
			return nil
		}
		c.awaitChange(ctx, e, response.Header.Revision+1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// awaitChange returns when a member tells that something happened to the key since the revision, or when some ttls have passed without a word
// of any, or when none can be watched.
func (c *Client) awaitChange(ctx context.Context, e Election, revision int64) {
	watching, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), unwatched*e.TTL)
	defer cancel()
	_, err := Race(watching, c.endpoints, func(ctx context.Context, member *clientv3.Client) (struct{}, error) {
		told := <-member.Watch(ctx, e.Key, clientv3.WithRev(revision))
		if len(told.Events) == 0 {
			return struct{}{}, fmt.Errorf("watch %s: %w", e.Key, cmp.Or(told.Err(), errWatchEnded))
		}
		return struct{}{}, nil
	})
	if err != nil && watching.Err() == nil {
		sleep(ctx, retryAfter) // no member can be watched: the next read says why
	}
}

// revoke gives a lease back, best effort: it ends by itself otherwise.
func (c *Client) revoke(ctx context.Context, lease clientv3.LeaseID, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if _, err := c.Revoke(ctx, lease); err != nil {
		slog.Debug("lease not revoked, it ends by itself", "error", err)
	}
}

// Leadership is one won term. Everything that a leader does hangs on its Context and is guarded by its term. Safe for concurrent use.
type Leadership struct {
	Term int64 // create revision of the won key; larger for each later leader

	client  *Client
	key     string
	ttl     time.Duration
	lease   clientv3.LeaseID
	context context.Context
	end     context.CancelCauseFunc
	done    chan struct{} // closed when renewing has stopped
	nearest *Nearest
}

// The causes of the end of a leadership's context (context.Cause).
var (
	ErrLeaseEnded = errors.New("the lease could not be renewed in time")
	ErrDeposed    = errors.New("the leader key was removed or replaced")
	ErrResigned   = errors.New("resigned")
)

// margin is what the holder's clock may be slow by, and the timer late, within one ttl: its deadline is that much before the earliest
// moment at which the server may end the lease.
func margin(ttl time.Duration) time.Duration { return ttl / 10 }

// lead starts the renewing of a lease that was asked for at the given time.
func (c *Client) lead(ctx context.Context, e Election, lease *clientv3.LeaseGrantResponse, asked time.Time, term int64) *Leadership {
	l := &Leadership{
		Term: term, client: c, key: e.Key, lease: lease.ID,
		ttl:     time.Duration(lease.TTL) * time.Second,
		done:    make(chan struct{}),
		nearest: NewNearest(c.endpoints, time.Duration(lease.TTL)*time.Second/12),
	}
	ctx, l.end = context.WithCancelCause(ctx)
	l.context = ctx
	go l.hold(ctx, asked)
	go l.watch()
	return l
}

// Context ends with the leadership, before any other candidate can have won.
func (l *Leadership) Context() context.Context { return l.context }

// Guard is the comparison that holds in this term only, for transactions of one's own.
func (l *Leadership) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(l.key), "=", l.Term)
}

// overIn says whether the leader key as read is another term's.
func (l *Leadership) overIn(found []*mvccpb.KeyValue) bool {
	return len(found) == 0 || found[0].CreateRevision != l.Term
}

// Resign ends the context, then gives up the key, so that the next candidate need not wait for the lease.
func (l *Leadership) Resign() {
	l.end(ErrResigned)
	<-l.done
	l.client.revoke(l.context, l.lease, l.ttl)
}

// hold renews the lease at a third of the ttl through the nearest member that answers, and ends the leadership by this process's monotonic clock: the ttl
// counts from the moment at which the last successful renewal was sent, which is before the server's own count began.
func (l *Leadership) hold(ctx context.Context, asked time.Time) {
	defer close(l.done)
	life := l.ttl - margin(l.ttl)
	deadline := asked.Add(life)
	expire := time.AfterFunc(time.Until(deadline), func() { l.end(ErrLeaseEnded) })
	defer expire.Stop()
	trouble := notice.New(nil, "cannot renew leadership", nil)
	for {
		sleep(ctx, l.ttl/3)
		if ctx.Err() != nil {
			return
		}
		sent := time.Now()
		ended, err := l.renew(ctx)
		switch {
		case ended:
			l.end(ErrLeaseEnded)
		case err != nil:
			trouble.Note(err, "key", l.key, "left", time.Until(deadline))
		case time.Now().Before(deadline): // an answer that comes after the end does not revive it
			trouble.Note(nil, "key", l.key)
			deadline = sent.Add(life)
			expire.Reset(time.Until(deadline))
		}
	}
}

// renew keeps the lease alive once; ended is true when the server has no such lease any more.
func (l *Leadership) renew(ctx context.Context) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	return Ask(ctx, l.nearest, func(ctx context.Context, member *clientv3.Client) (bool, error) {
		_, err := member.KeepAliveOnce(ctx, l.lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return true, nil
		}
		return false, err
	})
}

// watch ends the leadership as soon as the key is seen changed, by an operator's hand for instance. It is a courtesy: a watch may be late, and
// the guard is what protects writes.
func (l *Leadership) watch() {
	for response := range l.client.Watch(l.context, l.key, clientv3.WithRev(l.Term+1)) {
		if len(response.Events) > 0 {
			l.end(ErrDeposed)
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
