package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// cells is the part of etcd that a request needs: documents with their revisions, and compare-and-swap.
type cells interface {
	// Read gives a document and its mod revision; 0 and nil when there is none.
	Read(ctx context.Context, key string) (value []byte, revision int64, err error)
	// ReadBefore gives a document as it was just before a revision.
	ReadBefore(ctx context.Context, key string, before int64) (value []byte, revision int64, err error)
	// Swap replaces a document that still has the revision, 0 for one that must not be there; a nil value removes it. False: it has changed meanwhile.
	Swap(ctx context.Context, key string, revision int64, value []byte) (done bool, err error)
}

// etcdCells are cells in etcd.
type etcdCells struct{ client *clientv3.Client }

func (e etcdCells) Read(ctx context.Context, key string) ([]byte, int64, error) {
	return e.read(ctx, key)
}

func (e etcdCells) ReadBefore(ctx context.Context, key string, before int64) ([]byte, int64, error) {
	return e.read(ctx, key, clientv3.WithRev(before-1))
}

func (e etcdCells) read(ctx context.Context, key string, options ...clientv3.OpOption) ([]byte, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	answer, err := e.client.Get(ctx, key, options...)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", key, err)
	}
	if len(answer.Kvs) == 0 {
		return nil, 0, nil
	}
	return answer.Kvs[0].Value, answer.Kvs[0].ModRevision, nil
}

func (e etcdCells) Swap(ctx context.Context, key string, revision int64, value []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	change := clientv3.OpDelete(key)
	if value != nil {
		change = clientv3.OpPut(key, string(value))
	}
	answer, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(change).Commit()
	if err != nil {
		return false, fmt.Errorf("write %s: %w", key, err)
	}
	return answer.Succeeded, nil
}

// readFailover is the state that decides, and its revision; the zero state means that nobody has ever held the mandate.
func readFailover(ctx context.Context, c cells) (state.Failover, int64, error) {
	value, revision, err := c.Read(ctx, state.KeyFailover)
	if err != nil || value == nil {
		return state.Failover{}, 0, err
	}
	f, err := state.Decode[state.Failover](value)
	return f, revision, err
}

const (
	pollEvery  = 100 * time.Millisecond
	etcdAnswer = 3 * time.Second // for one request; a member that elects is asked again
)

// submit hands a request to the arbiters and waits for the leader's answer. A request that nobody answers in time is taken back, so that no leader acts on it
// when nobody expects it any more.
func submit(ctx context.Context, c cells, request state.Request, within time.Duration) (state.Request, error) {
	value, err := state.Encode(request)
	if err != nil {
		return request, err
	}
	key := state.RequestKey(request.Act.Request)
	done, err := c.Swap(ctx, key, 0, value)
	if err != nil { // it may stand there all the same, and a leader would carry it out
		now, taken := withdraw(context.WithoutCancel(ctx), c, key, request, etcdAnswer)
		if taken == nil {
			return now, nil
		}
		return request, fmt.Errorf("hand in request: %w; then: %w", err, taken)
	}
	if !done {
		return request, fmt.Errorf("hand in request: request %s is there already", request.Act.Request)
	}
	deadline, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		answered, err := answerOf(deadline, c, key)
		if err == nil && answered.Answer != nil {
			return answered, nil
		}
		select {
		case <-deadline.Done():
			return withdraw(context.WithoutCancel(ctx), c, key, request, within)
		case <-time.After(pollEvery):
		}
	}
}

func answerOf(ctx context.Context, c cells, key string) (state.Request, error) {
	limited, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	value, _, err := c.Read(limited, key)
	if err != nil {
		return state.Request{}, err
	}
	if value == nil {
		return state.Request{}, fmt.Errorf("request %s is gone", key)
	}
	return state.Decode[state.Request](value)
}

// withdraw takes an unanswered request back; when the answer came meanwhile, that is the result.
func withdraw(ctx context.Context, c cells, key string, request state.Request, waited time.Duration) (state.Request, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*etcdAnswer)
	defer cancel()
	for {
		value, revision, err := c.Read(ctx, key)
		if err != nil {
			return request, fmt.Errorf("no answer within %s, and the request %s could not be taken back: %w; it may still be carried out", waited, key, err)
		}
		if value == nil {
			return request, fmt.Errorf("no answer within %s: the request is gone", waited)
		}
		if now, err := state.Decode[state.Request](value); err == nil && now.Answer != nil {
			return now, nil
		}
		done, err := c.Swap(ctx, key, revision, nil)
		if err != nil {
			return request, fmt.Errorf("no answer within %s, and the request %s could not be taken back: %w; it may still be carried out", waited, key, err)
		}
		if done {
			return request, fmt.Errorf("no arbiter has answered within %s; the request was taken back and nothing was done. Look at ofitec status and the arbiters' logs", waited)
		}
	}
}

// errOtherWay says that a change ended, but not where it was to.
var errOtherWay = errors.New("it went another way")

// follow watches the state from a revision on until it is steady under a higher epoch, or ctx ends. What it saw is in the course either way; no revision is left out.
func follow(ctx context.Context, c cells, from state.Failover, last int64, to events.Region) (course, error) {
	var seen course
	seen.add(from)
	for {
		limited, cancel := context.WithTimeout(ctx, etcdAnswer)
		newer, revision, err := revisions(limited, c, last)
		cancel()
		if err == nil {
			last = revision
			for _, f := range newer {
				seen.add(f)
			}
		}
		now := seen.states[len(seen.states)-1]
		if now.Phase == state.PhaseSteady && now.Epoch > from.Epoch {
			if now.Active != to {
				return seen, fmt.Errorf("%w: region %s is active under epoch %d", errOtherWay, now.Active, uint64(now.Epoch))
			}
			return seen, nil
		}
		select {
		case <-ctx.Done():
			return seen, fmt.Errorf("not completed in time: phase %s, region %s active under epoch %d%s", now.Phase, now.Active, uint64(now.Epoch), heldBack(now))
		case <-time.After(pollEvery / 2):
		}
	}
}

// revisions are the states behind a revision, oldest first, and the newest one's revision.
func revisions(ctx context.Context, c cells, last int64) ([]state.Failover, int64, error) {
	value, revision, err := c.Read(ctx, state.KeyFailover)
	if err != nil || value == nil || revision == last {
		return nil, last, err
	}
	var newer []state.Failover
	for at := revision; value != nil && at > last; {
		f, err := state.Decode[state.Failover](value)
		if err != nil {
			return nil, last, err
		}
		newer = append([]state.Failover{f}, newer...)
		if value, at, err = c.ReadBefore(ctx, state.KeyFailover, at); err != nil {
			return nil, last, err
		}
	}
	return newer, revision, nil
}

func heldBack(f state.Failover) string {
	switch {
	case f.Held != nil:
		return "; held back by rule " + f.Held.Rule + " since " + f.Held.Since.Local().Format(time.TimeOnly)
	case f.Pause != nil:
		return "; paused by " + f.Pause.Act.Actor + ": " + f.Pause.Act.Reason
	}
	return ""
}

// act is what the operator does now, by name.
func act(reason string, now time.Time) events.Act {
	who := "root"
	for _, variable := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if name := strings.TrimSpace(os.Getenv(variable)); name != "" {
			who = name
			break
		}
	}
	id := now.UTC().Format("20060102T150405Z-") + strings.ToLower(rand.Text()[:6])
	return events.Act{Actor: "operator:" + who, Reason: reason, Request: id, At: now.UTC()}
}
