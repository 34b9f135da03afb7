package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Race makes the same call to all members at once and gives the first success; the calls that are still under way are cancelled. When all
// fail, the error names each member. The call must be harmless when it takes effect more than once: a renewal under a comparison is. The
// deadline is ctx's.
func Race[T any](ctx context.Context, members []*clientv3.Client, call func(ctx context.Context, member *clientv3.Client) (T, error)) (T, error) {
	result, _, err := race(ctx, members, len(members), nil, call)
	return result, err
}

// Nearest is for calls that are made over and over while nothing is wrong: three answers to each cost three times as much and say nothing more. It is safe for
// concurrent use.
type Nearest struct {
	members  []*clientv3.Client
	patience time.Duration
	passed   atomic.Bool // the first member by; all are asked until it is the first to answer again
}

// NewNearest asks the first of the members, the own region's (see Connect), and is patient with it for so long; without patience all are asked at once.
func NewNearest(members []*clientv3.Client, patience time.Duration) *Nearest {
	return &Nearest{members: members, patience: patience}
}

// Apart asks the same members with the same patience, and remembers for itself. Where no two calls in a row may be held up, others' calls must not make it forget.
func (n *Nearest) Apart() *Nearest { return NewNearest(n.members, n.patience) }

// Members are all of them, for calls that go to all at once.
func (n *Nearest) Members() []*clientv3.Client { return n.members }

// Ask makes a call to the first member alone. When it fails, or has not answered while the patience lasts, the others are asked as well, and then all of them at once in
// each call until the first member wins again: one that falls silent costs the patience once. The first success counts, as in Race, and the call must be as harmless.
func Ask[T any](ctx context.Context, n *Nearest, call func(ctx context.Context, member *clientv3.Client) (T, error)) (T, error) {
	if len(n.members) == 1 {
		return Race(ctx, n.members, call)
	}
	alone := len(n.members)
	var late <-chan time.Time
	if n.patience > 0 && !n.passed.Load() {
		timer := time.NewTimer(n.patience)
		defer timer.Stop()
		alone, late = 1, timer.C
	}
	result, winner, err := race(ctx, n.members, alone, late, call)
	n.passed.Store(winner != 0)
	return result, err
}

// race asks so many members at once, and all of them as soon as one has failed or it is late. It says whose answer it gives, -1 for nobody's.
func race[T any](ctx context.Context, members []*clientv3.Client, atOnce int, late <-chan time.Time, call func(ctx context.Context, member *clientv3.Client) (T, error)) (result T, winner int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		member int
		result T
		err    error
	}
	outcomes := make(chan outcome, len(members))
	asked := 0
	ask := func(upTo int) {
		for ; asked < upTo; asked++ {
			go func(n int) {
				result, err := call(ctx, members[n])
				if err != nil {
					err = fmt.Errorf("ask etcd %s: %w", strings.Join(members[n].Endpoints(), ","), err)
				}
				outcomes <- outcome{n, result, err}
			}(asked)
		}
	}
	ask(atOnce)
	var none T
	var failures []error
	for len(failures) < len(members) {
		select {
		case o := <-outcomes:
			if o.err == nil {
				return o.result, o.member, nil
			}
			failures = append(failures, o.err)
			ask(len(members))
		case <-late:
			ask(len(members))
		case <-ctx.Done():
			return none, -1, errors.Join(append(failures, fmt.Errorf("ask etcd: %w", ctx.Err()))...)
		}
	}
	return none, -1, errors.Join(failures...)
}
