package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// requestsAtMost bounds what is read of the requests; the newest are.
const requestsAtMost = 256

// Bench is where the arbiters sit in judgement: it reads what decisions rest on, and writes what they come to, under the term of whoever leads.
// It is safe for concurrent use. Deadlines are the context's.
type Bench struct {
	nearest *etcd.Nearest
	outbox  *etcd.Outbox
	origin  events.Origin
	log     *slog.Logger

	mu       sync.Mutex
	requests []failover.Requested // as they were at newest
	newest   int64                // mod revision of the request that was written last
	spoiled  map[string]int64     // keys that could not be read, and at which revision that was said
	known    map[string]document  // what was decoded last: most of it does not change between two reads
}

// document is what stood under a key at a revision.
type document struct {
	revision int64
	content  any
}

// NewBench makes a bench over one client a member. The events of origin go through the outbox.
func NewBench(nearest *etcd.Nearest, outbox *etcd.Outbox, origin events.Origin, log *slog.Logger) *Bench {
	return &Bench{nearest: nearest, outbox: outbox, origin: origin, log: log, spoiled: map[string]int64{}, known: map[string]document{}}
}

// Look reads everything in one linearizable transaction; only the requests, when there are new ones, take a second one. Known is left to the caller.
func (b *Bench) Look(ctx context.Context) (failover.Read, error) {
	newest := append(clientv3.WithLastRev(), clientv3.WithKeysOnly())
	asked := append(view(), clientv3.OpGet(state.KeyActive), clientv3.OpGet(state.PrefixReport, clientv3.WithPrefix()), clientv3.OpGet(state.PrefixReq, newest...))
	found, err := etcd.Ask(ctx, b.nearest, func(ctx context.Context, member *clientv3.Client) ([]*etcdserverpb.ResponseOp, error) {
		response, err := member.Txn(ctx).Then(asked...).Commit()
		if err != nil {
			return nil, err
		}
		return response.Responses, nil
	})
	if err != nil {
		return failover.Read{}, fmt.Errorf("read the failover's state: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	read := failover.Read{Reports: map[events.Region]failover.Reported{}}
	var problems [3]error
	read.Failover, read.FailoverRevision, problems[0] = recall[state.Failover](b, found[0].GetResponseRange().Kvs)
	read.Mandate, read.MandateRevision, problems[1] = recall[state.Mandate](b, found[1].GetResponseRange().Kvs)
	read.Config, _, problems[2] = recall[state.Config](b, found[2].GetResponseRange().Kvs)
	if err := errors.Join(problems[:]...); err != nil {
		return failover.Read{}, err
	}
	if active := found[3].GetResponseRange().Kvs; len(active) > 0 {
		read.Active = string(active[0].Value)
	}
	for _, kv := range found[4].GetResponseRange().Kvs {
		report, revision, err := recall[state.Report](b, []*mvccpb.KeyValue{kv})
		if err == nil && string(kv.Key) != state.ReportKey(report.Region) {
			err = fmt.Errorf("it is of region %s", report.Region)
		}
		if err != nil {
			b.say(kv, err)
			continue
		}
		read.Reports[report.Region] = failover.Reported{Report: *report, Revision: revision}
	}
	var last int64
	if requests := found[5].GetResponseRange().Kvs; len(requests) > 0 {
		last = requests[0].ModRevision
	}
	read.Requests, err = b.pending(ctx, last)
	return read, err
}

// recall is what stands under a key, decoded once for each revision. What it points to must not be changed.
func recall[T state.Document](b *Bench, found []*mvccpb.KeyValue) (*T, int64, error) {
	if len(found) == 0 {
		return nil, 0, nil
	}
	key, revision := string(found[0].Key), found[0].ModRevision
	if last, known := b.known[key]; known && last.revision == revision {
		return last.content.(*T), revision, nil
	}
	content, revision, err := one[T](found)
	if err == nil {
		b.known[key] = document{revision, content}
	}
	return content, revision, err
}

// pending reads the requests when one was written since they were read last.
func (b *Bench) pending(ctx context.Context, last int64) ([]failover.Requested, error) {
	if last == b.newest {
		return b.requests, nil
	}
	response, err := etcd.Ask(ctx, b.nearest, func(ctx context.Context, member *clientv3.Client) (*clientv3.GetResponse, error) {
		return member.Get(ctx, state.PrefixReq, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(requestsAtMost))
	})
	if err != nil {
		return nil, fmt.Errorf("read requests: %w", err)
	}
	var requests []failover.Requested
	for _, kv := range response.Kvs {
		request, err := state.Decode[state.Request](kv.Value)
		if err != nil {
			b.say(kv, err)
			continue
		}
		requests = append(requests, failover.Requested{ID: strings.TrimPrefix(string(kv.Key), state.PrefixReq), Request: request, Revision: kv.ModRevision})
	}
	slices.Reverse(requests)
	b.requests, b.newest = requests, last
	return requests, nil
}

// say says once of each revision that a document cannot be read; nothing else waits for it.
func (b *Bench) say(kv *mvccpb.KeyValue, err error) {
	if b.spoiled[string(kv.Key)] != kv.ModRevision {
		b.spoiled[string(kv.Key)] = kv.ModRevision
		b.log.Error("a document counts for nothing", "key", string(kv.Key), "revision", kv.ModRevision, "error", err)
	}
}

// Swap writes a step with all that belongs to it, or nothing. A refusal wraps etcd.ErrConflict or etcd.ErrTermOver. An event that cannot be made is left out and
// said in the log: an outage does not wait for its announcement.
func (b *Bench) Swap(ctx context.Context, leadership *etcd.Leadership, a failover.Swap, at time.Time) error {
	var conditions []clientv3.Cmp
	var effects []clientv3.Op
	if a.Mandate != 0 {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(state.KeyMandate), "=", a.Mandate))
	}
	if a.Active != "" {
		active, err := state.EncodeActive(a.Active)
		if err != nil {
			return err
		}
		effects = append(effects, clientv3.OpPut(state.KeyActive, string(active)))
	}
	if a.Reply != nil {
		document, err := state.Encode(a.Reply.Request)
		if err != nil {
			return err
		}
		key := state.RequestKey(a.Reply.ID)
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", a.Reply.Revision))
		effects = append(effects, clientv3.OpPut(key, string(document)))
	}
	for _, announcement := range a.Announce {
		op, err := b.announce(announcement, at)
		if err != nil {
			b.log.Error("an event is lost", "error", err)
			continue
		}
		effects = append(effects, op)
	}
	return swap(ctx, b.nearest.Members(), state.KeyFailover, a.Over, a.Next, etcd.Under(leadership), etcd.If(conditions...), etcd.And(effects...))
}

// Reply answers a request that changes nothing.
func (b *Bench) Reply(ctx context.Context, leadership *etcd.Leadership, a failover.Reply) error {
	return swap(ctx, b.nearest.Members(), state.RequestKey(a.ID), a.Revision, a.Request, etcd.Under(leadership))
}

func (b *Bench) announce(a failover.Announcement, at time.Time) (clientv3.Op, error) {
	var options []events.Option
	if a.Cause != "" {
		options = append(options, events.Correlated(a.Cause, a.Cause))
	}
	event, err := events.New(b.origin, at, a.Payload, options...)
	if err != nil {
		return clientv3.Op{}, err
	}
	return b.outbox.Announce(event)
}

// swap sends a compare-and-swap to all members: the comparison makes the copies harmless. The copy that took effect may be the one whose answer is lost, while the others are refused:
// then our own document stands there.
func swap[T state.Document](ctx context.Context, members []*clientv3.Client, key string, over int64, next T, options ...etcd.SwapOption) error {
	codec := etcd.Codec[T]{Encode: func(v T) ([]byte, error) { return state.Encode(v) }, Decode: state.Decode[T]}
	_, err := etcd.Race(ctx, members, func(ctx context.Context, member *clientv3.Client) (etcd.Value[T], error) {
		return etcd.NewCell(member, key, codec).CompareAndSwap(ctx, etcd.Value[T]{Revision: over}, next, options...)
	})
	if !Refused(err) {
		return err
	}
	written, encoding := state.Encode(next)
	found, reading := etcd.Race(ctx, members, func(ctx context.Context, member *clientv3.Client) (*clientv3.GetResponse, error) {
		return member.Get(ctx, key)
	})
	switch {
	case errors.Join(encoding, reading) != nil:
		return fmt.Errorf("%v; whether a copy of it was written is not known: %w", err, errors.Join(encoding, reading)) //nolint:errorlint // it is no refusal any more
	case len(found.Kvs) == 1 && found.Kvs[0].ModRevision > over && bytes.Equal(found.Kvs[0].Value, written):
		return nil
	}
	return err
}

// Refused says whether a swap surely wrote nothing.
func Refused(err error) bool {
	return errors.Is(err, etcd.ErrConflict) || errors.Is(err, etcd.ErrTermOver)
}
